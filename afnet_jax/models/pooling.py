"""The stem's max-pool."""

from __future__ import annotations

import jax
from flax import nnx


def max_pool(x: jax.Array) -> jax.Array:
    """3×3 maxima at stride 2, padded by 1 on both sides: (N, H, W, C) -> (N, H/2, W/2, C)."""
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
