"""The stem's max-pool, with a gradient of its own.

XLA's gradient of a pool, `select_and_scatter`, takes eight times as long on a CPU and has no fixed order of summation
on a GPU. Here each input gathers from the windows that chose it: the same numbers, run after run.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """3×3 maxima at stride 2, padded by 1 on both sides: (N, H, W, C) -> (N, H/2, W/2, C), H and W even.

    Of equal values in a window the first, row by row, takes the gradient, as in PyTorch.
    """
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, jnp.array(-jnp.inf, x.dtype), lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def largest(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`max_pool` without a gradient, and where each maximum stands, as operations that a compiler fuses into one.

    Returns:
        (N, H/2, W/2, C) maxima, and the places 0 to 8 in their windows, row by row, of the first of each; int8.
    """
    height, width = x.shape[1] // 2, x.shape[2] // 2
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    pairs = padded.reshape(x.shape[0], height + 1, 2, width + 1, 2, x.shape[3])
    taps = [
        pairs[:, i // 2 : i // 2 + height, i % 2, j // 2 : j // 2 + width, j % 2] for i in range(3) for j in range(3)
    ]
    maxima, places = taps[0], jnp.zeros(taps[0].shape, jnp.int8)
    for place, tap in enumerate(taps[1:], start=1):
        larger = tap > maxima
        maxima, places = jnp.where(larger, tap, maxima), jnp.where(larger, jnp.int8(place), places)
    return maxima, places


def _forward(x):
    maxima = max_pool(x)
    return maxima, (x, maxima)


@jax.jit
def _backward(saved, grad):
    return (_gather(_shares(*saved, grad)),)


def spread(places: jax.Array, grad: jax.Array) -> jax.Array:
    """Gradient of the maxima, (N, H/2, W/2, C), at the places they stand at -> of the features, (N, H, W, C)."""
    return _gather([[jnp.where(places == 3 * i + j, grad, 0) for j in range(3)] for i in range(3)])


def _gather(chosen):
    """Sums the windows' contributions to their 3×3 places at each input, (N, H, W, C).

    Window r covers rows 2r - 1, 2r and 2r + 1: even rows lie in one window, odd ones in two; so do columns.
    """
    below, right = (lambda windows: _next(windows, axis=1)), (lambda windows: _next(windows, axis=2))
    even_even = chosen[1][1]
    even_odd = chosen[1][2] + right(chosen[1][0])
    odd_even = chosen[2][1] + below(chosen[0][1])
    odd_odd = chosen[2][2] + right(chosen[2][0]) + below(chosen[0][2] + right(chosen[0][0]))
    even, odd = jnp.stack([even_even, even_odd], axis=3), jnp.stack([odd_even, odd_odd], axis=3)
    count, height, width, channels = even_even.shape
    return jnp.stack([even, odd], axis=2).reshape(count, 2 * height, 2 * width, channels)


max_pool.defvjp(_forward, _backward)


def _shares(x, maxima, grad):
    """Contribution of each window to its 3×3 places: its gradient at the first that holds the maximum, else 0."""
    height, width = maxima.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    taken = jnp.zeros(maxima.shape, bool)
    shares = [[None] * 3 for _ in range(3)]
    for i in range(3):
        for j in range(3):
            holds = padded[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] == maxima
            shares[i][j] = jnp.where(holds & ~taken, grad, 0)
            taken |= holds
    return shares


def _next(windows, axis):
    """The value of the window that follows along an axis, 0 after the last."""
    rest = lax.slice_in_dim(windows, 1, None, axis=axis)
    return jnp.concatenate([rest, jnp.zeros_like(lax.slice_in_dim(windows, 0, 1, axis=axis))], axis)
