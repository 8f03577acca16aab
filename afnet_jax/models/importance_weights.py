"""Importance weights (IWC), eq. 2 of the paper: how much each channel of a modality counts in the fusion.

Shapes: N scans, features (N, h, w, C), weights (N, 1, 1, C).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import nnx


class ImportanceWeights(nnx.Module):
    """w = sigmoid(Conv(AvgPool(X)) + Conv(MaxPool(X))) (eq. 2): one weight in (0, 1) per scan and channel.

    The pools are global and share one 1×1 convolution, which starts from N(0, 0.02) with biases 0.
    """

    def __init__(self, channels: int, *, conv: Callable):
        self.conv = conv(channels, channels, (1, 1), padding=((0, 0), (0, 0)))

    def __call__(self, x: jax.Array) -> jax.Array:
        average = x.mean((1, 2), keepdims=True)
        peak = x.max((1, 2), keepdims=True)
        return nnx.sigmoid(self.conv(average) + self.conv(peak))
