"""Figures of preprocessing for tools/benchmark.py: gridfit beside pygridfit, and scans prepared per second.

Each program runs in a process of its own, on one core, in turn with its peer, so that neither time nor memory of one
is charged to the other.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from afnet_jax.errors import AFNetError
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans import read_scan

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


def benchmark_gridfit(peer_python: Path | None, repeats: int = 5, points: int = 36_000, nodes: int = 224) -> dict:
    """Times gridfit, and pygridfit where an interpreter that has it is given, on one problem the size of a face.

    Args:
        peer_python: interpreter of an environment with pygridfit 0.1.7 (BSD-3), or None.
        repeats: runs of each; medians are reported.

    Returns:
        {"triangle gradient": {"ours": {"seconds", "mib"}, "pygridfit": {…}, "speedup", "max_difference"}, …};
        mib is what solving added to the peak of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        np.savez(problem, **_face_like_problem(points, nodes))
        return {
            f"{interpolation} {regularizer}": _compared(problem, interpolation, regularizer, peer_python, repeats)
            for interpolation in ("triangle", "bilinear")
            for regularizer in ("gradient", "laplacian")
        }


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
    result = {
        name: {key: statistics.median(run[key] for run in each) for key in ("seconds", "mib")}
        for name, each in runs.items()
    }
    if peer_python:
        ours, peers = (np.load(problem.with_name(f"{name}.npy")) for name in ("ours", "pygridfit"))
        result["speedup"] = result["pygridfit"]["seconds"] / result["ours"]["seconds"]
        result["max_difference"] = float(np.abs(ours - peers).max())
    return result


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


def benchmark_preprocess(raw: Path, most: int = 24) -> dict[str, float]:
    """Times reading and preprocessing of up to `most` raw scans of a folder, one after the other, on one core.

    Returns:
        scans, read_seconds and preprocess_seconds (medians per scan), scans_per_second (both together).
    """
    paths = sorted([*raw.rglob("*_F3D.wrl"), *raw.rglob("*.bnt")])
    if not paths:
        raise AFNetError(f"{raw}: found no scans (*_F3D.wrl or *.bnt); tools/make_synthetic.py makes some")
    paths = paths[:: max(1, len(paths) // most)][:most]
    preprocess(read_scan(paths[0]))  # imports and caches are no part of it
    reading, working = [], []
    for path in paths:
        times = [time.perf_counter()]
        scan = read_scan(path)
        times.append(time.perf_counter())
        preprocess(scan)
        times.append(time.perf_counter())
        reading.append(times[1] - times[0])
        working.append(times[2] - times[1])
    return {
        "scans": len(paths),
        "read_seconds": statistics.median(reading),
        "preprocess_seconds": statistics.median(working),
        "scans_per_second": len(paths) / (sum(reading) + sum(working)),
    }
