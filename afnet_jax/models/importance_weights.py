"""Importance weights (IWC), eq. 2 of the paper: how much each channel of a modality counts in the fusion.

Shapes: N scans, features (N, h, w, C), weights (N, 1, 1, C).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx


class ImportanceWeights(nnx.Module):
    """w = sigmoid(Conv(AvgPool(X)) + Conv(MaxPool(X))) (eq. 2): one weight in (0, 1) per scan and channel.

    The pools are global and share one 1×1 convolution, which starts from N(0, 0.02) with biases 0.
    """

    def __init__(self, channels: int, *, conv: Callable):
        self.conv = conv(channels, channels, (1, 1), padding=((0, 0), (0, 0)))

    def __call__(self, x: jax.Array) -> jax.Array:
        average = x.mean((1, 2), keepdims=True)
        peak = global_max(x)
        return nnx.sigmoid(self.conv(average) + self.conv(peak))


@jax.custom_vjp
def global_max(x: jax.Array) -> jax.Array:
    """Returns the largest feature of each channel: (N, h, w, C) -> (N, 1, 1, C).

    The gradient goes to the first of equals. JAX's own looks for the features that equal the maximum and divides by
    their number. Where the compiler computes the features anew for that comparison, a last bit may differ: none is
    equal, and the gradient is 0 / 0.
    """
    return x.max((1, 2), keepdims=True)


def _global_max_backward(x: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    scans, rows, cols, channels = x.shape
    first = x.reshape(scans, rows * cols, channels).argmax(1)[:, None]
    here = jnp.arange(rows * cols)[:, None] == first
    return (jnp.where(here.reshape(x.shape), grad, 0),)


global_max.defvjp(lambda x: (global_max(x), x), _global_max_backward)
