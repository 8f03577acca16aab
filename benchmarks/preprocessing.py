"""Preprocessing measured: gridfit beside pygridfit, and scans prepared per second.

Every program runs in a process of its own, in turn with its peer, so that neither time nor memory of one is charged
to the other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from afnet_jax.errors import AFNetError
from afnet_jax.scans.databases import DATABASES
from afnet_jax.scans.raw_folder import files_below

_MEASURE = """
import json, resource, sys, time
import numpy as np
{imports}
problem = np.load(sys.argv[1])
x, y, z, xnodes, ynodes = (problem[name] for name in ("x", "y", "z", "xnodes", "ynodes"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
heights = {call}
seconds = time.perf_counter() - start
memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
np.save(sys.argv[2], heights)
print(json.dumps({{"seconds": seconds, "mib": memory}}))
"""
_OURS = (
    "from afnet_jax.preprocessing import gridfit",
    "gridfit(x, y, z, xnodes, ynodes, interpolation='{interpolation}', regularizer='{regularizer}')",
)
_PEER = (
    "import pygridfit",
    "pygridfit.GridFit(x, y, z, xnodes, ynodes, interp='{interpolation}', regularizer='{peer}').fit().zgrid",
)
_PEERS_NAMES = {"gradient": "gradient", "laplacian": "diffusion"}


def benchmark_gridfit(peer_python: Path | None, repeats: int = 5, points: int = 36_000, nodes: int = 224) -> list[dict]:
    """Times gridfit, and pygridfit where an interpreter that has it is given, on one problem the size of a face.

    Args:
        peer_python: interpreter of an environment with pygridfit 0.1.7 (BSD-3), or None.
        repeats: runs of each; medians are reported.

    Returns:
        One row per interpolation and regularizer: seconds of each, the MiB that solving added to the peak of its
        process, how many times faster this project's is, and the largest difference in mm.
    """
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        np.savez(problem, **_face_like_problem(points, nodes))
        return [
            _compared(problem, interpolation, regularizer, peer_python, repeats)
            for interpolation in ("triangle", "bilinear")
            for regularizer in ("gradient", "laplacian")
        ]


def _face_like_problem(points: int, nodes: int) -> dict[str, np.ndarray]:
    """Noisy points within an ellipse that leaves the corners of the grid empty, as a face does; mm."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-70, 70, 2 * points), rng.uniform(-90, 90, 2 * points)
    inside = (x / 70) ** 2 + (y / 90) ** 2 < 1
    x, y = x[inside][:points], y[inside][:points]
    z = 40 * np.cos(x / 60) * np.cos(y / 80) + 20 * np.exp(-(x**2 + y**2) / 200) + rng.normal(0, 0.3, len(x))
    along = np.linspace(-112, 112, nodes)
    return {"x": x, "y": y, "z": z, "xnodes": along, "ynodes": along}


def _compared(problem: Path, interpolation: str, regularizer: str, peer_python: Path | None, repeats: int) -> dict:
    kind = {"interpolation": interpolation, "regularizer": regularizer, "peer": _PEERS_NAMES[regularizer]}
    programs = {"ours": (Path(sys.executable), _program(_OURS, kind))}
    if peer_python:
        programs["pygridfit"] = peer_python, _program(_PEER, kind)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, (python, program) in programs.items():
            runs[name].append(_run(python, program, problem, problem.with_name(f"{name}.npy")))
    row = {"interpolation": interpolation, "regularizer": regularizer}
    for name, each in runs.items():
        row |= {f"{name}_{key}": statistics.median(run[key] for run in each) for key in ("seconds", "mib")}
    if peer_python:
        ours, peers = (np.load(problem.with_name(f"{name}.npy")) for name in ("ours", "pygridfit"))
        row["speedup"] = row["pygridfit_seconds"] / row["ours_seconds"]
        row["max_difference_mm"] = float(np.abs(ours - peers).max())
    print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    return row


def _program(parts: tuple[str, str], kind: dict[str, str]) -> str:
    imports, call = parts
    return _MEASURE.format(imports=imports, call=call.format(**kind))


def _run(python: Path, program: str, problem: Path, heights: Path) -> dict[str, float]:
    one_core = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [python, "-c", program, problem, heights], capture_output=True, text=True, env=one_core, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AFNetError(f"{python}: the benchmark's program failed: {reason}; has it pygridfit==0.1.7?")
    return json.loads(done.stdout.strip().splitlines()[-1])


def benchmark_prepare(raw: Path, workers: Sequence[int], repeats: int = 1) -> list[dict]:
    """Times preparing a folder of raw scans, from the first file to the finished data set.

    Returns:
        One row per number of processes: seconds, scans per second, how that compares with as many times the rate of
        the first row's, and the largest peak of memory among the processes, MiB.
    """
    found = {name: sum(1 for path in files_below(raw) if each.scan_id(path)) for name, each in DATABASES.items()}
    database = max(found, key=lambda name: found[name])
    scans = found[database]
    rows: list[dict] = []
    for count in workers:
        runs = [_prepared(database, raw, count) for _ in range(repeats)]
        seconds = statistics.median(run["seconds"] for run in runs)
        row = {"processes": count, "scans": scans, "seconds": seconds, "scans_per_second": scans / seconds}
        first = rows[0] if rows else row
        linear = first["scans_per_second"] * count / first["processes"]
        row["share_of_linear"] = row["scans_per_second"] / linear
        row["peak_mib_of_a_process"] = max(run["mib"] for run in runs)
        rows.append(row)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    return rows


_PREPARE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.perf_counter() - start
mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"status": done.returncode, "told": done.stderr[-300:], "seconds": seconds, "mib": mib}))
"""


def _prepared(database: str, raw: Path, workers: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "afnet_jax.commands.main", "prepare", f"--database={database}"]
        command += [f"--raw={raw}", f"--data_dir={folder}", f"--workers={workers}"]
        done = subprocess.run([sys.executable, "-c", _PREPARE, *command], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    if result["status"]:
        raise AFNetError(f"{raw}: preparing failed: {result['told']}")
    return result
