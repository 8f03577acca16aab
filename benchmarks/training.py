"""Training steps to time: this project's, folds one by one or side by side with each lowering, and PyTorch's.

All contenders of a size are timed in turn, round after round, so that a machine's moods fall on all of them alike; each
takes a step untimed before the one that counts, for idle threads of the one before it spin on for a while.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.config import default_config
from afnet_jax.maps import Faces, Maps
from afnet_jax.models.convolution import lowering
from afnet_jax.training.devices import GroupProgram
from afnet_jax.training.plan import Training
from afnet_jax.training.step import Trainer

_GFLOP_PER_SCAN = 21.8 / 224**2  # of AFNet-M forward and backward, per pixel of the image
_SCANS = 64
PYTORCH = ("eager", "channels last", "compiled, channels last")


class Contender(NamedTuple):
    """A way to train: `step()` takes `steps` steps of `folds` folds and returns when they are done."""

    name: str
    folds: int
    steps: int
    step: Callable[[], None]
    compile_seconds: float
    peak_mib: float | None


def benchmark_training(
    *, image_size: int, batch: int, folds: Sequence[int], lowerings: Sequence[str], dtype: str, repeats: int
) -> list[dict]:
    """Times a training step of AFNet-M.

    Args:
        image_size: edge of the images, pixels.
        batch: scans of a batch.
        folds: numbers of folds of the engine's own choice.
        lowerings: of convolutions under `vmap`, timed with the largest number of folds that is given.
        dtype: of the computation, "float32" or "bfloat16"; PyTorch computes in the same.
        repeats: rounds, of which medians are reported.

    Returns:
        One row per contender: ms per fold-step, scans/s, GFLOP/s, share of the measured matmul peak, ratio to
        PyTorch's best, compile seconds, peak memory.
    """
    faces = random_faces(image_size)
    contenders = [*_pytorch(faces, batch, dtype)]
    contenders += [ours(faces, batch, number, dtype) for number in folds]
    contenders += [ours(faces, batch, max(folds), dtype, vmapped=name) for name in lowerings]
    seconds = time_in_turn(contenders, repeats)
    peak = matmul_peak(dtype)
    rows = [row_of(c, s, image_size, batch) for c, s in zip(contenders, seconds, strict=True)]
    for row in rows:
        row["share_of_matmul_peak"] = row["gflop_per_second"] / peak
    pytorch = [row["ms_per_fold_step"] for row in rows if row["contender"].startswith("PyTorch")]
    for row in rows:
        row["ratio_to_pytorch"] = row["ms_per_fold_step"] / min(pytorch) if pytorch else None
        told = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if v is not None)
        print("  ".join(told), flush=True)
    return rows


def time_in_turn(contenders: Sequence[Contender], repeats: int) -> list[float]:
    """Median seconds of each contender's `step`, taken round after round."""
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(repeats):
        for contender, seconds in zip(contenders, times, strict=True):
            contender.step()
            start = time.perf_counter()
            contender.step()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]


def matmul_peak(dtype: str, size: int | None = None) -> float:
    """GFLOP/s of the best of a few square matmuls of random numbers: of zeros or ones a GPU computes faster.

    Args:
        dtype: of the matrices.
        size: edge of the matrices; None for what fills the machine.
    """
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    left = jax.random.normal(jax.random.key(0), (size, size), dtype)
    multiply = jax.jit(jnp.matmul)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        jax.block_until_ready(multiply(left, left))
        times.append(time.perf_counter() - start)
    return 2e-9 * size**3 / min(times)


def row_of(contender: Contender, seconds: float, image_size: int, batch: int) -> dict:
    """What is told of a contender whose `step` took so long."""
    per_fold_step = seconds / (contender.folds * contender.steps)
    rate = batch * _GFLOP_PER_SCAN * image_size**2 / per_fold_step
    return {
        "contender": contender.name,
        "image_size": image_size,
        "batch": batch,
        "folds": contender.folds,
        "ms_per_fold_step": 1000 * per_fold_step,
        "scans_per_second": batch / per_fold_step,
        "gflop_per_second": rate,
        "compile_seconds": contender.compile_seconds,
        "peak_mib": contender.peak_mib,
    }


def random_faces(size: int) -> Faces:
    """Scans of noise, to time with."""
    rng = np.random.default_rng(0)
    maps = Maps(
        texture=rng.integers(0, 256, (_SCANS, size, size, 3), dtype=np.uint8),
        depth=rng.normal(0, 20, (_SCANS, size, size, 1)).astype(np.float16),
        mask1=rng.random((_SCANS, size // 4, size // 4, 1)).astype(np.float16),
        mask2=rng.random((_SCANS, size // 8, size // 8, 1)).astype(np.float16),
    )
    return Faces(maps, labels=rng.integers(0, 6, _SCANS, dtype=np.int32))


def ours(faces: Faces, batch: int, folds: int, dtype: str, *, vmapped: str = "") -> Contender:
    """This project's step, compiled.

    Args:
        faces: the data set.
        batch: scans of a batch.
        folds: trainings side by side.
        dtype: of the computation.
        vmapped: the lowering of convolutions to have all folds in one program with; "" for what a run does.
    """
    config = default_config()
    with config.unlocked():
        config.model.dtype = dtype
    everyone = np.arange(_SCANS, dtype=np.int32)
    group = [Training(0, fold, everyone, everyone) for fold in range(folds)]
    steps = 1 if jax.default_backend() == "cpu" else 8
    indices = np.random.default_rng(1).integers(0, _SCANS, (steps, folds, batch), dtype=np.int32)
    program = GroupProgram(Trainer(config), faces, seed=0, folds_per_call=str(folds) if vmapped else "auto")
    state = program.init(group)

    def step():
        nonlocal state
        with lowering(vmapped or "per_fold"):  # chosen when the first call compiles
            state, _ = program.train(state, group, 0, indices, np.ones((steps, folds), bool))

    step()
    name = f"ours, vmapped, {vmapped}" if vmapped else "ours, as chosen"
    return Contender(name, folds, steps, step, program.compile_seconds, _peak_mib())


def _peak_mib() -> float | None:
    stats = jax.local_devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] / 2**20 if stats and "peak_bytes_in_use" in stats else None


def _pytorch(faces: Faces, batch: int, dtype: str) -> list[Contender]:
    """One fold, as folds one after the other each cost the same: eager, and compiled where there is a GPU, too."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: nothing is compared with it")
        return []
    return [pytorch(faces, batch, dtype, name) for name in (PYTORCH if torch.cuda.is_available() else PYTORCH[:2])]


def pytorch(faces: Faces, batch: int, dtype: str, how: str) -> Contender:
    """PyTorch's step of one fold.

    Args:
        faces: the data set.
        batch: scans of a batch.
        dtype: of the computation.
        how: a name of `PYTORCH`.
    """
    import torch

    from tests.support.pytorch_reference import Reference

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Reference("afnet").to(device).train()
    forward = model
    if "channels last" in how:
        model.to(memory_format=torch.channels_last)
    if "compiled" in how:
        forward = torch.compile(model)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)
    *inputs, labels = (torch.from_numpy(np.asarray(part[:batch])).to(device) for part in jax.tree.leaves(faces))
    inputs = [inputs[0], *(part.float().nan_to_num() for part in inputs[1:])]
    steps = 8 if device == "cuda" else 1

    def step():
        for _ in range(steps):
            adam.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
                loss = torch.nn.functional.cross_entropy(forward(*inputs), labels.long())
            loss.backward()
            adam.step()
        loss.item()

    start = time.perf_counter()
    step()
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
    return Contender(f"PyTorch, {how}", 1, steps, step, time.perf_counter() - start, peak)
