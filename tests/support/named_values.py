"""Weights and scans that both implementations are given, computed from names, so that nothing needs to be stored."""

from __future__ import annotations

import math
import re
import zlib

import numpy as np

BRANCHES = {"t": "texture", "d": "depth", "both": "stacked", "td": "joint"}


def scans(size: int, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Texture, depth, mask-1, mask-2 and labels of synthetic scans: smooth faces on an empty background."""
    draw = np.random.RandomState(seed)  # whose stream NumPy has promised never to change
    rows, cols = np.mgrid[0:size, 0:size] / size - 0.5
    texture = np.zeros((count, size, size, 3), np.uint8)
    depth = np.full((count, size, size, 1), np.nan, np.float16)
    masks = [np.zeros((count, size // scale, size // scale, 1), np.float32) for scale in (4, 8)]
    for index in range(count):
        radius = 0.38 + 0.08 * draw.rand()
        face = rows**2 + (1.3 * cols) ** 2 < radius**2
        texture[index] = np.where(face[..., None], 90 + 160 * draw.rand(size, size, 3), 0)
        relief = -180 * (rows**2 + cols**2) + 20 * np.sin(9 * rows + 6 * draw.rand()) + draw.randn(size, size)
        depth[index, ..., 0] = np.where(face, relief, np.nan)
        for mask in masks:
            mask[index] = draw.rand(*mask.shape[1:]) * (draw.rand(*mask.shape[1:]) > 0.5)
    return texture, depth, *masks, np.arange(count, dtype=np.int32) % 6


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of a parameter or statistic of this project's network, from its name: of a size at which all matters."""
    # A prime number of draws over and over: as good as draws for each, and at once there.
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(4099).astype(np.float32)
    draw = np.resize(draw, shape)
    last, layer = name.split(".")[-1], name.split(".")[-2]
    if last == "kernel":
        return draw * math.sqrt(2 / np.prod(shape[:-1]))
    if "bn" in layer:
        return {"scale": 1 + 0.2 * draw, "bias": 0.2 * draw, "mean": 0.2 * draw, "var": np.exp(0.3 * draw)}[last]
    return (1 if ".gamma.conv2." in name else 0) + 0.1 * draw


def from_reference(name: str) -> str | None:
    """Name in the PyTorch reference -> name in this project's network; None for batch counters and constants."""
    if name.endswith("num_batches_tracked") or "." not in name:
        return None
    part, branch, *rest = name.split(".")
    last = rest[-1]
    if part == "trunk":
        inner = ".".join(rest[:-1]).replace("downsample.0", "downsample_conv").replace("downsample.1", "downsample_bn")
        norm = {"weight": "scale", "running_mean": "mean", "running_var": "var"}
        last = norm.get(last, last) if "bn" in inner else "kernel"
        return f"trunks.{BRANCHES[branch]}.{inner}.{last}"
    last = {"weight": "kernel"}.get(last, last)
    if part in ("ma", "iwc"):
        branch, layer, first = re.fullmatch(r"(t|d|both)(\d)(_0)?", branch).groups()
        place = f"{BRANCHES[branch]}.layer{layer}{first or '_1'}"
        if part == "iwc":
            return f"importance_weights.{place}.conv.{last}"
        group, convolution = rest[0].removeprefix("to_"), {"0": "conv1", "2": "conv2"}[rest[1]]
        return f"mask_attention.{place}.{group}.{convolution}.{last}"
    if part == "last":
        return f"head.logits.{BRANCHES[branch]}.{last}"
    return f"head.hidden.{BRANCHES[branch]}.{rest[0]}.{last}"
