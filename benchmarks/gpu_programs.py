"""Compiles every program of the project for a GPU, on a machine that needs none, and stores what is known of each.

    python -m benchmarks.gpu_programs [--programs=train,evaluate] [--folds=1,10] [--image_sizes=224] [--dtypes=bfloat16]

It needs JAX with CUDA in a venv of its own (docs/gpu_programs.md). What is stored already is not compiled again, so an
interrupted call goes on where it stopped. Nothing runs: which kernels a GPU would choose, and how long they take, stays
unknown.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import itertools
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.programs import PROGRAMS, Shape

_HERE = Path(__file__).parent
_FOLDS = {"predict": (1,), "gradcam": (10,), "export": (10,)}  # as they are called; the others as asked for
PROTOCOL_FOLD_STEPS = 1000 * 70 * 20  # the paper's BU-3DFE protocol: trainings, epochs, batches of 32 in an epoch


def main() -> None:
    arguments = _parser().parse_args()
    path = arguments.json or _HERE / f"gpu-programs-{versions()}.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    for name, shape in _wanted(arguments):
        key = _key(name, shape)
        if key in stored and not arguments.again:
            continue
        row = compile_apart(name, shape, count_bytes=False, limit=arguments.limit)
        if row["compiles"] and name.startswith("train"):
            counted = compile_apart(name, shape, count_bytes=True, limit=arguments.limit)
            row |= {k: v for k, v in counted.items() if k not in row}
        stored[key] = {"program": name, **_told(shape), **row}
        path.write_text(json.dumps(stored, indent=1) + "\n")
        print(_line(key, stored[key]), flush=True)
    print(to_table(list(stored.values())))
    if not all(row["compiles"] for row in stored.values()):
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compiles every program for a GPU, without a GPU.")
    parser.add_argument(
        "--programs", default=",".join(PROGRAMS), help="of train, train_points, evaluate, predict, gradcam, export"
    )
    parser.add_argument("--folds", default="1,5,10,20", help="of training and evaluation")
    parser.add_argument("--image_sizes", default="224,64")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument(
        "--json", type=Path, help="file of results; by default one for the versions, beside this program"
    )
    parser.add_argument("--again", action="store_true", help="compile also what is stored")
    parser.add_argument("--limit", type=int, default=1800, help="seconds that one program may take")
    return parser


def _wanted(arguments: argparse.Namespace) -> list[tuple[str, Shape]]:
    wanted = []
    asked = [tuple(map(int, part.split(","))) for part in (arguments.image_sizes, arguments.folds)]
    for dtype, size in itertools.product(arguments.dtypes.split(","), asked[0]):
        for name in arguments.programs.split(","):
            for folds in _FOLDS.get(name, asked[1]):
                wanted.append((name, Shape("cuda", folds=folds, image_size=size, dtype=dtype)))
    return wanted


def _told(shape: Shape) -> dict:
    fields = dataclasses.asdict(shape)
    return {name: fields[name] for name in ("folds", "image_size", "dtype", "batch", "steps")}


def _key(name: str, shape: Shape) -> str:
    return f"{name} {shape.dtype} {shape.image_size} px {shape.folds} folds"


def versions() -> str:
    versions = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    cuda = next((n for n in ("13", "12") if f"jax-cuda{n}-plugin" in versions), None)
    if cuda is None:
        sys.exit("JAX has no CUDA plugin here; make the venv that docs/gpu_programs.md describes, and use its python")
    return f"jax{versions['jax']}-cuda{cuda}"


def compile_apart(name: str, shape: Shape, *, count_bytes: bool, limit: int) -> dict:
    """What `gpu_compile` says, or how it ended."""
    request = json.dumps({"program": name, "shape": dataclasses.asdict(shape), "count_bytes": count_bytes})
    command = [sys.executable, "-m", "benchmarks.gpu_compile", request]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, cwd=_HERE.parent)
    except subprocess.TimeoutExpired:
        return {"compiles": False, "fault": f"took longer than {limit} s"}
    if done.returncode:
        faults = [line for line in done.stderr.splitlines() if "Check failed" in line or "Error" in line]
        return {"compiles": False, "fault": f"exit {done.returncode}: {(faults or ['no message'])[-1][-300:]}"}
    return {"compiles": True, **json.loads(done.stdout.splitlines()[-1])}


def _line(key: str, row: dict) -> str:
    if not row["compiles"]:
        return f"{key}: does NOT compile, {row['fault']}"
    moved = row.get("bytes_moved_per_fold")
    traffic = f", {sum(moved.values()) / 1e9:.2f} GB moved a fold-step" if moved else ""
    return f"{key}: compiled in {row['seconds']:.0f} s, {row['temporary_bytes'] / 1e9:.2f} GB temporary{traffic}"


def to_table(rows: list[dict]) -> str:
    """Rows as a Markdown table."""
    head = (
        "program",
        "dtype",
        "px",
        "folds",
        "compiles",
        "CPU s",
        "temporary GB",
        "GB a fold",
        "kernels",
        "convolutions",
    )
    head += ("GB moved per fold-step", "least ms", "protocol, min", "sustained ms", "protocol, min")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["program"], row["dtype"], row["image_size"], row["folds"], "yes" if row["compiles"] else "no"]
        if row["compiles"]:
            cells += [f"{row['cpu_seconds']:.0f}", f"{row['temporary_bytes'] / 1e9:.2f}"]
            cells += [f"{row['bytes_per_fold'] / 1e9:.2f}", row["kernels"], row["convolution_calls"]]
        if "bytes_moved_per_fold" in row:
            cells += [f"{sum(row['bytes_moved_per_fold'].values()) / 1e9:.2f}"]
            for key in ("least_ms_per_fold", "sustained_ms_per_fold"):
                cells += [f"{row[key]:.2f}", f"{PROTOCOL_FOLD_STEPS * row[key] / 60e3:.1f}"] if key in row else ["", ""]
        lines.append("| " + " | ".join(map(str, cells + [""] * (len(head) - len(cells)))) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
