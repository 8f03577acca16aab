"""What to measure first on a machine with a GPU, in one command of ten minutes.

    python -m benchmarks.measure_gpu --json=benchmarks/gpu.json
    python -m benchmarks.measure_gpu --dry_run --image_size=32 --json=runs/dry.json

In this order, each in a process of its own and stored as soon as it is there: versions and memory; a small run with its
evaluation; a prediction; bandwidth of a copy and rate of a matmul; steps of 1, 5, 10 and 17 trainings side by side;
a profile; PyTorch, eager, channels last and compiled; a round of the protocol by the main command; the other lowerings
of convolutions; rendering of raw points; float32 beside float64; steps at 64 px. What fails or takes too long is stored
as such. Called again with the same file, it goes on with what is not done.

A machine that reaches no package index gets what it lacks from a folder of wheels (--wheels), see docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.items import Item, measure

_ROOT = Path(__file__).parents[1]
# Of a dry run: trainings, scans, edge of the matrices, MiB of the copy, and how much longer all may take.
_DRY_FOLDS, _DRY_BATCH, _DRY_MATMUL, _DRY_MIB, _DRY_PATIENCE = 2, 4, 512, 16, 4


def plan(given: argparse.Namespace) -> list[Item]:
    """The measurements in their order."""
    size, small, batch = given.image_size, min(64, given.image_size), given.batch
    step = {"image_size": size, "batch": batch, "dtype": given.dtype}
    timed = {**step, "repeats": 1 if given.dry_run else 5}

    # The paper's: 60 subjects, ten folds, 70 epochs.
    protocol = {"subjects": 60, "folds": 10, "epochs": 70}
    if given.dry_run:
        protocol = {"subjects": _DRY_BATCH, "folds": _DRY_FOLDS, "epochs": _DRY_FOLDS}

    def folds(number: int) -> int:
        return min(number, _DRY_FOLDS) if given.dry_run else number

    def item(name: str, function: str, seconds: float = 150.0, **arguments) -> Item:
        command = [sys.executable, "-m", "benchmarks.gpu_items", function, json.dumps(arguments)]
        return Item(name, command, seconds * (_DRY_PATIENCE if given.dry_run else 1))

    ceilings = {"matmul": _DRY_MATMUL, "mib": _DRY_MIB} if given.dry_run else {"matmul": 8192, "mib": 2048}
    return [
        item("machine", "machine", 60),
        item("main and evaluation", "small_run", 180, workdir=str(given.workdir), image_size=small, dtype=given.dtype),
        item("predict", "prediction", 120, workdir=str(given.workdir)),
        item("ceilings", "ceilings", 60, **ceilings),
        *(item(f"{n} trainings", "steps", folds=folds(n), **timed) for n in (1, 5, 10, 17)),
        item("profile of 10 trainings", "profile", folds=folds(10), workdir=str(given.workdir), **step),
        *(
            item(f"PyTorch, {how}", "pytorch_steps", 75, how=how, **timed)
            for how in ("eager", "channels last", "compiled, channels last")
        ),
        item("a round", "whole_round", 240, workdir=str(given.workdir), **protocol, **step),
        *(item(f"5 trainings, {how}", "steps", folds=folds(5), vmapped=how, **timed) for how in ("grouped", "im2col")),
        item("points", "points", workdir=str(given.workdir), **timed),
        item("accuracy", "accuracy", 120),
        *(
            item(f"{n} trainings of {small} px", "steps", 200, folds=folds(n), **timed | {"image_size": small})
            for n in (10, 50)
        ),
    ]


def _environment(given: argparse.Namespace) -> dict[str, str]:
    """Variables of the measurements: the project and the wheels to be found, programs compiled once."""
    paths = [str(_ROOT)]
    if given.wheels:
        wheels = sorted(map(str, given.wheels.glob("*.whl")))
        if not wheels:
            sys.exit(f"error: --wheels={given.wheels}: no *.whl there")
        site = given.workdir / "site"
        install = ["pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--upgrade"]
        subprocess.run([sys.executable, "-m", *install, f"--target={site}", *wheels], check=True)
        paths.append(str(site))
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    cache = {"JAX_COMPILATION_CACHE_DIR": str(given.workdir / "compiled")}
    return {**cache, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True, type=Path, help="file to write after each measurement")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all of them together (default: 10)")
    parser.add_argument("--image_size", type=int, default=224, help="edge of the images, pixels (default: 224)")
    parser.add_argument("--batch", type=int, default=32, help="scans of a batch (default: 32)")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of the computation")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install first, from it alone")
    parser.add_argument("--workdir", type=Path, default=Path("runs/measure_gpu"), help="folder for runs and profiles")
    parser.add_argument(
        "--dry_run", action="store_true", help="few trainings and scans, float32, on whatever device there is"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.dry_run:
        given.batch, given.dtype = (
            min(given.batch, _DRY_BATCH),
            "float32",
        )  # bfloat16 takes a CPU a hundred times longer
    given.workdir = given.workdir.absolute()
    items, environment = plan(given), _environment(given)
    settings = {"image_size": given.image_size, "batch": given.batch, "dtype": given.dtype, "dry_run": given.dry_run}
    budget = {"seconds": 60 * given.minutes, "settings": settings, "environment": environment}
    first = measure(items[:1], given.json, **budget)["items"]["machine"]
    if not given.dry_run and first.get("result", {}).get("backend", "cpu") == "cpu":
        print(f"error: JAX finds no GPU here (see {given.json}); --dry_run takes what there is", file=sys.stderr)
        return 1
    content = measure(items, given.json, **budget)
    return 0 if all(outcome["status"] == "done" for outcome in content["items"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
