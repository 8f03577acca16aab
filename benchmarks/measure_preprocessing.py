"""Measures preprocessing on synthetic scans whose truth lies beside them (NAME_truth.npz), or on any scan.

    python -m benchmarks.measure_preprocessing --raw=DIR --json=FILE
    python -m benchmarks.measure_preprocessing --raw=DIR --reader=FILE

Prints a line per scan, then median and worst of every figure; --json writes both. What the figures mean stands in
afnet_jax/quality/evaluation.py. With --reader, which reads scans of your own, or with --own_mesh, each scan is
held to its own mesh: what preprocessing loses of it, and smooths away. With --turned, each scan (best a clean one) is
taken for a head instead, turned by 20 degrees in pitch, yaw and roll both ways and scanned again: mm between its depth
maps, where both scans show the surface. Exit code 0: all scans measured; 1: a scan was rejected or has no truth.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from afnet_jax.commands.command_line import command_parser, report_faults
from afnet_jax.errors import AFNetError
from afnet_jax.paths import user_path
from afnet_jax.preprocessing import preprocess
from afnet_jax.quality.evaluation import evaluate
from afnet_jax.quality.pose_agreement import pose_agreement
from afnet_jax.quality.truth import mesh_truth, read_truth, truth_path
from afnet_jax.scans import Scan, read_scan
from afnet_jax.scans.databases import OWN, database_of, is_scan, readable_databases, scans_of

_HIGHER_IS_BETTER = ("covered", "spikes_removed", "good_kept", "ssim")
_SHOWN = (
    "inner_rmse",
    "inner_all_rmse",
    "inner_lost",
    "hole_rmse",
    "spikes_removed",
    "good_kept",
    "ssim",
    "seconds",
)


def measure(path: Path, scan: Scan, own_mesh: bool = False) -> dict[str, float]:
    """Returns all figures of one scan; `seconds` are those of preprocessing alone, in CPU time."""
    truth = mesh_truth(scan) if own_mesh else read_truth(truth_path(path))
    start = time.process_time()
    maps = preprocess(scan)
    seconds = time.process_time() - start
    return evaluate(scan, maps, truth) | {"seconds": seconds}


def summarise(scans: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median and worst of each figure over the scans."""
    summary = {}
    for name in next(iter(scans.values())):
        if name == "spikes":  # a count, neither good nor bad
            continue
        values = np.array([figures[name] for figures in scans.values()])
        values = values[np.isfinite(values)]
        if len(values):
            worst = values.min() if name in _HIGHER_IS_BETTER else values.max()
            summary[name] = {"median": float(np.median(values)), "worst": float(worst)}
    return summary


def summarise_spikes(scans: dict[str, dict[str, float]]) -> str:
    """Share of all the set's spikes that are gone; a scan has few, so that one left weighs heavily in its own share."""
    counted = [(figures["spikes"], figures["spikes_removed"]) for figures in scans.values() if figures["spikes"]]
    total = sum(number for number, _ in counted)
    removed = sum(number * share for number, share in counted)
    return f"{removed:.0f} of {total:.0f} spikes removed ({removed / total:.1%})" if total else "no spikes"


def main() -> int:
    return report_faults(_main)


def _main() -> int:
    parser = command_parser(__doc__)
    parser.add_argument("--raw", type=user_path, required=True, help="folder with scans, searched at any depth")
    parser.add_argument("--reader", type=user_path, help="Python file that reads scans of your own, docs/own_data.md")
    parser.add_argument("--own_mesh", action="store_true", help="the scan's own mesh is the truth; goes with --reader")
    parser.add_argument("--turned", action="store_true", help="agreement over poses instead of the error")
    parser.add_argument("--json", type=user_path, help="file to write the figures to")
    args = parser.parse_args()
    databases = (database_of(OWN, args.reader),) if args.reader else readable_databases()
    paths = sorted(path for path in args.raw.rglob("*") if is_scan(path, databases))
    if not paths:
        raise AFNetError(f"{args.raw}: found no scans, expected {scans_of(databases)}; give a folder that holds some")
    scans, faults = {}, []
    for path in paths:
        try:
            scan = read_scan(path, databases=databases)
            figures = pose_agreement(scan) if args.turned else measure(path, scan, args.own_mesh or bool(args.reader))
        except AFNetError as fault:
            faults.append(str(fault))
            print(fault, file=sys.stderr)
            continue
        scans[str(path.relative_to(args.raw))] = figures
        shown = figures if args.turned else _SHOWN
        print(f"{path.stem:24s} " + "  ".join(f"{name} {figures[name]:.3f}" for name in shown))
    summary = summarise(scans) if scans else {}
    for name, both in summary.items():
        print(f"{name:18s} median {both['median']:8.3f}   worst {both['worst']:8.3f}")
    if scans and not args.turned:
        print(summarise_spikes(scans))
    if args.json:
        report = {"scans": len(scans), "rejected": faults, "summary": summary, "per_scan": scans}
        args.json.write_text(json.dumps(report, indent=1).replace("NaN", "null") + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
