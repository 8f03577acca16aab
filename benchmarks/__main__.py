"""The project's speed, measured beside its peers in one run and written as JSON.

    python -m benchmarks train --json=benchmarks/train-cpu.json
    python -m benchmarks convolution --json=benchmarks/convolution-cpu.json
    python -m benchmarks gridfit --peer=VENV/bin/python --json=benchmarks/gridfit.json
    python -m benchmarks prepare --raw=DIR --json=benchmarks/prepare.json
    python -m benchmarks stream --json=benchmarks/stream-cpu.json
    python -m benchmarks gather --prepared=DATA_SET --json=benchmarks/gather.json
    python -m benchmarks runs RUN … --json=benchmarks/runs-cpu.json
    python -m benchmarks tables

train: a training step, folds one by one and side by side, beside PyTorch. convolution: every convolution shape of
ResNet18, forward and both gradients. gridfit: beside pygridfit. prepare: raw scans to maps, with 1 and more processes.
stream: training on scans that are streamed beside such in memory. gather: finished scans to a data set, and its memory.
runs: what finished runs took and reached. tables: writes the tables of the documentation anew from the JSON files.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from afnet_jax.commands.command_line import command_parser, report_faults
from afnet_jax.errors import AFNetError
from afnet_jax.huge_pages import start_with_huge_pages
from afnet_jax.machine import usable_cores
from afnet_jax.paths import user_path

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = [_ROOT / "docs" / name for name in ("performance.md", "gpu_programs.md")]
_TABLE = re.compile(r"<!-- (benchmarks/\S+\.json) -->\n.*?<!-- end -->", re.DOTALL)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _train(given: argparse.Namespace) -> list[dict]:
    start_with_huge_pages()  # as every run does
    from benchmarks.training import benchmark_training

    rows = []
    for image_size in given.image_sizes:
        rows += benchmark_training(
            image_size=image_size,
            batch=given.batch,
            folds=given.folds,
            lowerings=given.lowerings.split(",") if given.lowerings else (),
            dtype=given.dtype,
            repeats=given.repeats,
        )
    return rows


def _convolution(given: argparse.Namespace) -> list[dict]:
    from benchmarks.convolution import benchmark_convolutions

    return benchmark_convolutions(
        folds=given.folds,
        batch=given.batch,
        image_sizes=given.image_sizes,
        lowerings=[name for name in given.lowerings.split(",") if name],
        repeats=given.repeats,
    )


def _gridfit(given: argparse.Namespace) -> list[dict]:
    from benchmarks.preprocessing import benchmark_gridfit

    return benchmark_gridfit(given.peer, repeats=given.repeats)


def _prepare(given: argparse.Namespace) -> list[dict]:
    from benchmarks.preprocessing import benchmark_prepare

    return benchmark_prepare(given.raw, workers=given.workers, repeats=given.repeats)


def _stream(given: argparse.Namespace) -> list[dict]:
    start_with_huge_pages()  # as every run does
    from benchmarks.streaming import benchmark_streaming

    return benchmark_streaming(
        scans=given.scans, image_size=given.image_size, batch=given.batch, steps=given.steps, repeats=given.repeats
    )


def _gather(given: argparse.Namespace) -> list[dict]:
    from benchmarks.gathering import benchmark_gathering

    return benchmark_gathering(given.prepared, given.scans)


def _runs(given: argparse.Namespace) -> list[dict]:
    from afnet_jax.analysis.run import load_run

    rows = []
    for workdir in given.workdirs:
        run = load_run(workdir)
        config, summary = run.config, run.summary
        rows.append(
            {
                "data": config.dataset.name,
                "network": config.variant,
                "image_size": config.dataset.image_size,
                "scans": summary["scans"],
                "rounds": summary["rounds"],
                "folds": summary["folds"],
                "epochs": config.train.epochs,
                "batch": config.train.batch_size,
                "seconds": summary["seconds"]["total"],
                "of_it_compiling": summary["seconds"]["compile"],
                "accuracy": f"{100 * summary['accuracy']['mean']:.1f} %",
            }
        )
    return rows


def _tables() -> None:
    """Each table of the documents stands between the name of its JSON file and an end mark."""

    def table(match: re.Match) -> str:
        content = json.loads((_ROOT / match[1]).read_text(encoding="utf-8"))
        if "items" in content:
            content = _steps_of(content, match[1])
        return f"<!-- {match[1]} -->\n{_markdown(content)}\n<!-- end -->"

    for document in _DOCUMENTS:
        document.write_text(_TABLE.sub(table, document.read_text(encoding="utf-8")), encoding="utf-8")


def _steps_of(content: dict, path: str) -> dict:
    """The training steps among what `benchmarks.measure_gpu` stored, as rows."""
    results = {name: item["result"] for name, item in content["items"].items() if item["status"] == "done"}
    rows = [row for row in results.values() if "ms_per_fold_step" in row and "contender" in row]
    shortest = min((row["ms_per_fold_step"] for row in rows if row["contender"].startswith("PyTorch")), default=None)
    rows = [row | {"ratio_to_pytorch": shortest and row["ms_per_fold_step"] / shortest} for row in rows]
    device, versions = results["machine"]["device"], results["machine"]["packages"]
    machine = {"device": device, "dtype": content["settings"]["dtype"]}
    machine |= {name: versions[name] for name in ("jax", "torch") if name in versions}
    return {
        "rows": rows,
        "machine": machine,
        "program": "python -m benchmarks.measure_gpu",
        "command": f"--json={path}",
    }


def _markdown(content: dict) -> str:
    columns = [key for key in content["rows"][0] if any(row[key] is not None for row in content["rows"])]
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in content["rows"]]
    machine = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
    program = content.get("program", "python -m benchmarks")
    return "\n".join([*lines, "", f"`{program} {content['command']}`; {machine}."])


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def machine(what: str) -> dict:
    """Returns what a figure was taken on, as stored beside it."""
    found = {"cores": usable_cores(), "processor": _processor(), "system": platform.system()}
    found["python"] = platform.python_version()
    if what in ("train", "convolution", "runs", "stream"):
        import jax

        device = jax.local_devices()[0].device_kind
        found |= {"backend": jax.default_backend(), "device": device, "jax": jax.__version__}
    return found


def _processor() -> str:
    """Its name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    names = re.findall(
        r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8") if info.is_file() else "", re.MULTILINE
    )
    return names[0] if names else platform.machine()


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    train, convolution, gridfit, prepare = (
        kinds.add_parser(name) for name in ("train", "convolution", "gridfit", "prepare")
    )
    stream, gather = kinds.add_parser("stream"), kinds.add_parser("gather")
    stream.add_argument("--scans", type=int, default=20_000)
    stream.add_argument("--image_size", type=int, default=64, help="edge of the images")
    stream.add_argument("--batch", type=int, default=32, help="scans of a batch")
    stream.add_argument("--steps", type=int, default=5, help="of each turn")
    gather.add_argument("--prepared", type=user_path, required=True, help="folder of a data set to copy scans of")
    gather.add_argument("--scans", type=_numbers, default=[1_000, 20_000], help="numbers of scans")
    runs = kinds.add_parser("runs")
    runs.add_argument("workdirs", nargs="+", metavar="RUN", help="folder of a finished run")
    kinds.add_parser("tables")
    train.add_argument("--image_sizes", type=_numbers, default=[64, 112, 224], help="edges of the images")
    train.add_argument("--folds", type=_numbers, default=[1, 2, 5, 10], help="numbers of folds")
    train.add_argument("--lowerings", default="", help="of convolutions under vmap: per_fold,grouped,im2col,map")
    train.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    convolution.add_argument("--image_sizes", type=_numbers, default=[32, 64, 224], help="edges of the images")
    convolution.add_argument("--folds", type=int, default=4)
    convolution.add_argument("--lowerings", default="per_fold,grouped,im2col,map", help="for the folds at once")
    for parser_ in (train, convolution):
        parser_.add_argument("--batch", type=int, default=32, help="scans of a batch")
    gridfit.add_argument("--peer", type=user_path, help="Python that has pygridfit==0.1.7 installed")
    prepare.add_argument("--raw", type=user_path, required=True, help="folder of raw scans, tools/make_synthetic.py")
    prepare.add_argument("--workers", type=_numbers, default=[1, usable_cores()], help="numbers of processes")
    for parser_ in (train, convolution, gridfit, prepare, stream, gather, runs):
        parser_.add_argument("--json", required=True, type=user_path, help="file to write")
    for parser_ in (train, convolution, gridfit, prepare, stream):
        parser_.add_argument("--repeats", type=int, default=5, help="rounds, of which medians are taken")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    given = _parser().parse_args(arguments)
    if given.what == "tables":
        return report_faults(_tables)

    def measure() -> None:
        measures = {
            "train": _train,
            "convolution": _convolution,
            "gridfit": _gridfit,
            "prepare": _prepare,
            "stream": _stream,
            "gather": _gather,
            "runs": _runs,
        }
        rows = measures[given.what](given)
        if not rows:
            raise AFNetError(f"{given.what}: nothing was measured")
        content = {"machine": machine(given.what), "command": " ".join(arguments), "rows": rows}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    return report_faults(measure)


if __name__ == "__main__":
    sys.exit(main())
