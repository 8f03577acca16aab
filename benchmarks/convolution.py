"""Convolutions measured: every shape of a ResNet18, with one set of weights per fold."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from afnet_jax.models.convolution import convolve, lowering

# Of one ResNet18 trunk: stage, image's edge over input's, channels in and out, window, stride.
_SHAPES = (
    ("stem", 1, 3, 64, 7, 2), ("1", 4, 64, 64, 3, 1), ("2", 4, 64, 128, 3, 2), ("2", 4, 64, 128, 1, 2),
    ("2", 8, 128, 128, 3, 1), ("3", 8, 128, 256, 3, 2), ("3", 8, 128, 256, 1, 2), ("3", 16, 256, 256, 3, 1),
    ("4", 16, 256, 512, 3, 2), ("4", 16, 256, 512, 1, 2), ("4", 32, 512, 512, 3, 1),
)  # fmt: skip


def benchmark_convolutions(
    *, folds: int, batch: int, image_sizes: Sequence[int], lowerings: Sequence[str], repeats: int
) -> list[dict]:
    """ms per fold of forward and both gradients, one row per convolution shape and size.

    "slowdown" is the time per FLOP of a program of one fold beside that of the best shape of the same stage, at any
    of the sizes.

    Args:
        folds: sets of weights.
        batch: scans of each fold's batch.
        image_sizes: edges of the images, pixels.
        lowerings: to measure for several folds at once, names of `convolution.LOWERINGS`.
        repeats: runs, of which the best counts.
    """
    rows = []
    for image_size, shape in itertools.product(image_sizes, _SHAPES):
        stage, share, channels, features, window, stride = shape
        edge = image_size // share
        keys = jax.random.split(jax.random.key(0))
        inputs = jax.random.normal(keys[0], (folds, batch, edge, edge, channels))
        kernel = jax.random.normal(keys[1], (folds, window, window, channels, features))
        row = {"image_size": image_size, "stage": stage, "edge": edge, "channels": channels, "features": features}
        row |= {"window": window, "stride": stride}
        gflop = 6e-9 * batch * (-(-edge // stride)) ** 2 * window**2 * channels * features
        row["one alone"] = _ours_ms("per_fold", inputs[:1], kernel[:1], stride, repeats)
        for name in lowerings:
            row[name] = _ours_ms(name, inputs, kernel, stride, repeats)
        row["PyTorch"] = _torch_ms(batch, edge, channels, features, window, stride, repeats)
        row["GFLOP/s alone"] = 1000 * gflop / row["one alone"]
        rows.append(row)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    for row in rows:
        best = max(other["GFLOP/s alone"] for other in rows if other["stage"] == row["stage"])
        row["slowdown"] = best / row["GFLOP/s alone"]
    return rows


def _best_ms(function: Callable[[], object], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
        if sum(times) > 10:  # some lowerings are slower by a hundred: once is enough
            break
    return 1000 * min(times)


def _ours_ms(name: str, inputs, kernel, stride: int, repeats: int) -> float:
    pad = kernel.shape[1] // 2

    def loss(x, w):
        return jnp.sum(convolve(x, w, (stride, stride), ((pad, pad), (pad, pad))) ** 2)

    with lowering(name):
        step = jax.jit(jax.vmap(jax.grad(loss, (0, 1)))).lower(inputs, kernel).compile()
    return _best_ms(lambda: jax.block_until_ready(step(inputs, kernel)), repeats) / len(inputs)


def _torch_ms(batch: int, edge: int, channels: int, features: int, window: int, stride: int, repeats: int):
    try:
        import torch
    except ImportError:
        return None
    layer = torch.nn.Conv2d(channels, features, window, stride, window // 2, bias=False)
    inputs = torch.randn(batch, channels, edge, edge, requires_grad=True)

    def step():
        layer.zero_grad()
        (layer(inputs) ** 2).sum().backward()

    return _best_ms(step, repeats)
