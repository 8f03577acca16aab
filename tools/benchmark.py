"""The project's speed, measured in one run and written as JSON.

    python tools/benchmark.py convolution --json=benchmarks/convolution-cpu.json

convolution: every convolution shape of ResNet18, forward and both gradients, with each lowering, beside PyTorch where
it is installed. gridfit and prepare: tools/benchmark_preprocessing.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from afnet_jax.models.convolution import LOWERINGS, convolve, lowering

# Of one ResNet18 trunk: input edge as a share of the image's, channels in and out, window, stride.
_SHAPES = (
    (1, 3, 64, 7, 2), (4, 64, 64, 3, 1), (4, 64, 128, 3, 2), (4, 64, 128, 1, 2), (8, 128, 128, 3, 1),
    (8, 128, 256, 3, 2), (16, 256, 256, 3, 1), (16, 256, 512, 3, 2), (32, 512, 512, 3, 1),
)  # fmt: skip


def _best_ms(function: Callable[[], object], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def _ours_ms(name: str, folds: int, inputs, kernel, stride: int, pad: int, repeats: int) -> float:
    def loss(x, w):
        return jnp.sum(convolve(x, w, (stride, stride), ((pad, pad), (pad, pad))) ** 2)

    with lowering(name):
        step = jax.jit(jax.vmap(jax.grad(loss, (0, 1)))).lower(inputs, kernel).compile()
    return _best_ms(lambda: jax.block_until_ready(step(inputs, kernel)), repeats) / folds


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


def convolutions(*, folds: int, batch: int, image_size: int, repeats: int) -> list[dict]:
    """ms per fold of forward and both gradients, one row per convolution shape."""
    rows = []
    for share, channels, features, window, stride in _SHAPES:
        edge = image_size // share
        keys = jax.random.split(jax.random.key(0))
        inputs = jax.random.normal(keys[0], (folds, batch, edge, edge, channels))
        kernel = jax.random.normal(keys[1], (folds, window, window, channels, features))
        out_edge = -(-edge // stride)
        row = {"edge": edge, "channels": channels, "features": features, "window": window, "stride": stride}
        row["gflop"] = 6e-9 * batch * out_edge**2 * window**2 * channels * features
        for name in LOWERINGS:
            row[name] = _ours_ms(name, folds, inputs, kernel, stride, window // 2, repeats)
        row["pytorch"] = _torch_ms(batch, edge, channels, features, window, stride, repeats)
        rows.append(row)
        print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["convolution"])
    parser.add_argument("--json", required=True, type=Path, help="file to write")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    settings = {"folds": given.folds, "batch": given.batch, "image_size": given.image_size, "repeats": given.repeats}
    machine = {
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "jax": jax.__version__,
    }
    result = {"machine": machine, "settings": settings, "ms_per_fold": convolutions(**settings)}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
