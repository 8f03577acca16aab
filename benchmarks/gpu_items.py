"""The measurements of `benchmarks.measure_gpu`, each called in a process of its own:

python -m benchmarks.gpu_items FUNCTION '{"argument": value, …}'

Each function returns what is stored; the last line of stdout is that as JSON.
"""

from __future__ import annotations

import collections
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp

from afnet_jax.machine import usable_cores, usable_memory
from afnet_jax.points.clouds import stack_clouds
from afnet_jax.points.rendering import render
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans import read_scan
from benchmarks.points import cloud, share_of_a_step
from benchmarks.training import matmul_peak, ours, pytorch, random_faces, row_of, time_in_turn

_ROOT = Path(__file__).parents[1]
_PACKAGES = (
    "jax",
    "jaxlib",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "torch",
)
_SUBJECTS = 4
_ACCURACY_SIZE = 64
_KERNELS = 80  # of a profile, those that take longest
# What a kernel is by its name, the first that fits.
_KINDS = (
    ("convolution, forward", "fprop"),
    ("convolution, gradient of kernels", "wgrad|ImplicitGemm"),
    ("convolution, gradient of features", "dgrad"),
    ("padding and clearing for convolutions", "Padding|Memset"),
    ("matmul", "nvjet|gemm"),
    ("sums, with what is computed on the way", "reduce"),
    ("elementwise, written fold by fold", "slice_fusion"),
    ("copy", "Memcpy|copy|transpose"),
    ("elementwise and others", ""),
)


def machine() -> dict:
    """Versions, devices, memory."""
    device = jax.local_devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "devices": jax.local_device_count(),
        "device_memory": device.memory_stats(),
        "nvidia_smi": _output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "cores": usable_cores(),
        "memory_bytes": usable_memory(),
    }


def small_run(*, workdir: str, image_size: int, dtype: str) -> dict:
    """The main command on a few synthetic subjects, then its evaluation anew."""
    run, data = Path(workdir) / "run", Path(workdir) / "data"
    settings = {
        "dataset.data_dir": data,
        "dataset.synthetic_subjects": _SUBJECTS,
        "dataset.image_size": image_size,
        "protocol.folds": 2,
        "train.epochs": 2,
        "train.batch_size": 8,
        "train.learning_rate_decay": "none",
        "model.dtype": dtype,
    }
    command = _main_command(run, settings)
    seconds = {}
    for mode in ("train", "evaluate"):
        start = time.monotonic()
        _run([*command, f"--mode={mode}"])
        seconds[f"{mode}_seconds"] = time.monotonic() - start
    summary = json.loads((run / "summary.json").read_text())
    return {"complete": summary["complete"], "accuracy": summary["accuracy"]["mean"], **summary["seconds"], **seconds}


def whole_round(
    *, workdir: str, subjects: int, folds: int, epochs: int, image_size: int, batch: int, dtype: str
) -> dict:
    """One round of the paper's protocol by the main command, on synthetic subjects: data set, training, evaluation."""
    run = Path(workdir) / "round"
    settings = {
        "dataset.data_dir": Path(workdir) / "round_data",
        "dataset.synthetic_subjects": subjects,
        "dataset.image_size": image_size,
        "protocol.folds": folds,
        "train.epochs": epochs,
        "train.batch_size": batch,
        "model.dtype": dtype,
    }
    start = time.monotonic()
    _run(_main_command(run, settings))
    seconds = time.monotonic() - start
    summary = json.loads((run / "summary.json").read_text())
    written = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    return {
        "scans": summary["scans"],
        "accuracy": summary["accuracy"]["mean"],
        **summary["seconds"],
        "command_seconds": seconds,
        "run_mib": written / 2**20,
    }


def _main_command(run: Path, settings: dict) -> list[str]:
    command = [sys.executable, "-m", "afnet_jax.main", "--config=configs/synthetic.py", f"--workdir={run}"]
    return command + [f"--config.{name}={value}" for name, value in settings.items()]


def prediction(*, workdir: str) -> dict:
    """The networks of `small_run` on raw scans."""
    scans = _scans_of_small_run(workdir)[:6]
    start = time.monotonic()
    out = _run([sys.executable, "tools/predict.py", f"--workdir={Path(workdir) / 'run'}", "--json", *map(str, scans)])
    answers = [json.loads(line) for line in out.splitlines()]
    return {"scans": len(answers), "seconds": time.monotonic() - start, "first": answers[0]["probabilities"]}


def ceilings(*, matmul: int, mib: int) -> dict:
    """What no step can exceed: GB/s of an elementwise pass over memory, bytes read and written; TFLOP/s of matmuls.

    Args:
        matmul: edge of the matrices.
        mib: of the array that is read and written.
    """
    passes = 20
    array = jax.random.normal(jax.random.key(0), (mib * 2**18,), jnp.float32)
    rewrite = jax.jit(lambda a, n: jax.lax.fori_loop(0, n, lambda _, x: x + 1, a), donate_argnums=0)
    array = jax.block_until_ready(rewrite(array, passes))
    start = time.perf_counter()
    jax.block_until_ready(rewrite(array, passes))
    rate = 2 * passes * mib * 2**20 / (time.perf_counter() - start)
    tflops = {f"{dtype}_tflops": matmul_peak(dtype, matmul) / 1000 for dtype in ("bfloat16", "float32")}
    return {"copy_gb_per_second": rate / 1e9, **tflops}


def steps(*, folds: int, image_size: int, batch: int, dtype: str, repeats: int, vmapped: str = "") -> dict:
    """Milliseconds of a training step per fold, and the device's peak memory; arguments as those of `ours`."""
    contender = ours(random_faces(image_size), batch, folds, dtype, vmapped=vmapped)
    (seconds,) = time_in_turn([contender], repeats)
    return row_of(contender, seconds, image_size, batch)


def pytorch_steps(*, how: str, image_size: int, batch: int, dtype: str, repeats: int) -> dict:
    """The same of PyTorch."""
    contender = pytorch(random_faces(image_size), batch, dtype, how)
    (seconds,) = time_in_turn([contender], repeats)
    return row_of(contender, seconds, image_size, batch)


def accuracy() -> dict:
    """One step of AFNet-M by type of computation, beside PyTorch's in float64 on the CPU: relative errors.

    At 64 px, for at less the last stage normalises so few values that gradients are rounding alone.
    `float32` is what this device computes by default (TF32, on many GPUs), `float32, highest` without such.
    """
    import numpy as np

    from tests.support import outcomes

    truth = outcomes.pytorch("afnet", _ACCURACY_SIZE, "float64")
    found = {}
    for name, precision in (("float32", None), ("float32, highest", "highest")):
        with jax.default_matmul_precision(precision):
            ours_ = outcomes.ours.__wrapped__("afnet", _ACCURACY_SIZE, "float32")
        gradients = list(outcomes.errors(ours_.gradients, truth.gradients).values())
        found[name] = {
            "logits": outcomes.relative(ours_.logits, truth.logits),
            "loss": abs(ours_.loss / truth.loss - 1),
            "median_gradient": float(np.median(gradients)),
            "worst_gradient": max(gradients),
            "worst_statistic": max(outcomes.errors(ours_.statistics, truth.statistics).values()),
        }
    return found


def profile(*, folds: int, image_size: int, batch: int, dtype: str, workdir: str) -> dict:
    """Where a call's time goes: the kernels that take longest, ms and calls. The whole trace stays in the workdir."""
    contender = ours(random_faces(image_size), batch, folds, dtype)
    contender.step()
    folder = Path(workdir) / "profile"
    with jax.profiler.trace(str(folder)):
        contender.step()
    newest = max(folder.rglob("*.xplane.pb"), key=os.path.getmtime)
    return {"folds": folds, "steps": contender.steps} | read_profile(newest, folds * contender.steps)


def read_profile(path: Path, fold_steps: int) -> dict:
    """What a trace of so many fold-steps says of the device: ms in all, by kind for a fold-step, by kernel."""
    spent: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0])
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    on_device = [plane for plane in planes if plane.name.startswith("/device:")] or planes
    for plane in on_device:
        for line in plane.lines:
            if not line.name.startswith(("Stream", "tf_XLA")):  # the other lines tell the same in other words
                continue
            for event in line.events:
                spent[event.name][0] += event.duration_ns / 1e6
                spent[event.name][1] += 1
    kinds = dict.fromkeys((kind for kind, _ in _KINDS), 0.0)
    for name, (ms, _) in spent.items():
        kinds[next(kind for kind, pattern in _KINDS if re.search(pattern, name))] += ms / fold_steps
    longest = sorted(spent.items(), key=lambda entry: -entry[1][0])[:_KERNELS]
    return {
        "ms": sum(ms for ms, _ in spent.values()),
        "calls": sum(calls for _, calls in spent.values()),
        "lines": sorted({line.name for plane in on_device for line in plane.lines})[:20],
        "ms_per_fold_step": {kind: round(ms, 4) for kind, ms in kinds.items()},
        "kernels": [{"name": name[:120], "ms": round(ms, 3), "calls": calls} for name, (ms, calls) in longest],
    }


def points(*, workdir: str, image_size: int, batch: int, dtype: str, repeats: int) -> dict:
    """Rendering of raw points beside a training step of one network, and scans rendered per second.

    The scans are those of `small_run`, as often as it takes to fill a batch.
    """
    scans = _scans_of_small_run(workdir)[:8]
    one_each = [cloud(preprocess(read_scan(path))) for path in scans]
    clouds = stack_clouds([jax.tree.map(lambda part: part[0], one_each[i % len(scans)]) for i in range(batch)])
    found = share_of_a_step(clouds, repeats, image_size=image_size, dtype=dtype, calls=8)
    program = jax.jit(render, static_argnums=1).lower(clouds, image_size).compile()
    jax.block_until_ready(program(clouds))
    start = time.perf_counter()
    jax.block_until_ready([program(clouds) for _ in range(8 * repeats)])
    return found | {"rendered_scans_per_second": 8 * repeats * batch / (time.perf_counter() - start)}


def _scans_of_small_run(workdir: str) -> list[Path]:
    """Its raw scans.

    Raises:
        FileNotFoundError: there are none, as on another machine than that of the stored small run.
    """
    scans = sorted((Path(workdir) / "data").rglob("*_F3D.wrl"))
    if not scans:
        raise FileNotFoundError(f"{workdir}/data: no scans; take 'main and evaluation' first, into a new --json")
    return scans


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _run(command: list[str]) -> str:
    """Stdout of a command of the project.

    Raises:
        RuntimeError: it failed; its last words.
    """
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


_FUNCTIONS = (
    machine,
    small_run,
    whole_round,
    prediction,
    ceilings,
    steps,
    pytorch_steps,
    accuracy,
    profile,
    points,
)

if __name__ == "__main__":
    chosen = {function.__name__: function for function in _FUNCTIONS}[sys.argv[1]]
    print(json.dumps(chosen(**json.loads(sys.argv[2]))))
