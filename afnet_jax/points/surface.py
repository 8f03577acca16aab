"""Smooth heights and colours through scattered points, from coarse to fine.

Multilevel B-spline approximation (Lee, Wolberg & Shin 1997): on each level, twice as fine as the one before, the
residuals of the points are averaged by B-spline weights and added as a B-spline surface. What a level has no points
for stays as the coarser one left it, so that holes are filled as a pyramid's push and pull fills them (Gortler et al.
1996). Points far off the level before count less and less (weights of Geman & McClure 1985).

Shapes: B scans, W pixels along the grid's edge, n B-splines along an axis.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.geometry.rendering import Grid
from afnet_jax.points.visibility import SeenPoints

# Levels of heights, the coarsest first: working pixels between the B-splines; mm along the normal by which a point may
# stand off the surface of the level before to count a quarter; weight of no change, in points, which keeps a level from
# following a single point's noise. The finest level of B-splines comes twice, at last with less tolerance.
_LEVELS = ((16, 1000.0, 1e-3), (8, 40.0, 1e-3), (4, 20.0, 1e-2), (2, 6.0, 0.1), (2, 4.0, 0.1))
_FINEST_OFF, _FINEST_DAMPING = 2.0, 0.5  # of the mean over 3 × 3 pixels that comes last
_COLOUR_LEVELS = ((8, 1e-3), (4, 1e-2), (2, 0.1))
_FINEST_COLOUR_DAMPING = 0.05
_OUTLIER = 4.0  # mm off the surface along its normal beyond which a point shows no face there


def fit_heights(seen: SeenPoints, grid: Grid) -> tuple[jax.Array, jax.Array]:
    """Fits a smooth surface to the points that are seen.

    Returns:
        (B, W, W) float32 heights of the surface at the pixels' centres, mm; (B, W, W) bool, pixels with a point on it.
    """
    heights = jnp.zeros_like(seen.height)
    for spacing, off, damping in _LEVELS:
        residual, slope = _residual(seen, heights, grid)
        weight = _trust(seen, residual / slope, off)
        heights = heights + _correction(residual[None], weight, spacing, damping)[0]
    residual, slope = _residual(seen, heights, grid)
    weight = _trust(seen, residual / slope, _FINEST_OFF)
    heights = heights + _local_mean(residual[None], weight, _FINEST_DAMPING)[0]
    return heights, (seen.weight > 0) & (jnp.abs(residual / slope) < _OUTLIER)


def fit_colours(seen: SeenPoints, inlier: jax.Array) -> jax.Array:
    """(3, B, W, W) float32 colours in 0 … 255 through those of the points that lie on the surface."""
    weight = inlier.astype(jnp.float32)
    fitted = jnp.full_like(seen.colours, 128.0)
    for spacing, damping in _COLOUR_LEVELS:
        fitted = fitted + _correction(seen.colours - fitted, weight, spacing, damping)
    return fitted + _local_mean(seen.colours - fitted, weight, _FINEST_COLOUR_DAMPING)


def _residual(seen: SeenPoints, heights: jax.Array, grid: Grid) -> tuple[jax.Array, jax.Array]:
    """(B, W, W) mm from the surface to the points; how much longer that is than along the normal."""
    right, down = _slope(heights, 2), _slope(heights, 1)
    residual = seen.height - heights - right * seen.right - down * seen.down
    return residual, jnp.sqrt(1 + (right**2 + down**2) / grid.step**2)


def _slope(images: jax.Array, axis: int) -> jax.Array:
    """Central differences per pixel; 0 at the border."""
    size = images.shape[axis]
    inner = (
        jax.lax.slice_in_dim(images, 2, size, axis=axis) - jax.lax.slice_in_dim(images, 0, size - 2, axis=axis)
    ) / 2
    width = [(0, 0)] * images.ndim
    width[axis] = (1, 1)
    return jnp.pad(inner, width)


def _trust(seen: SeenPoints, off: jax.Array, far: float) -> jax.Array:
    """(B, W, W) weights of points so many mm off the surface: 1 on it, a quarter at `far`."""
    return seen.weight / (1 + (off / far) ** 2) ** 2


def _correction(residuals: jax.Array, weight: jax.Array, spacing: int, damping: float) -> jax.Array:
    """(C, B, W, W) B-spline surfaces through residuals, by (B, W, W) weights."""
    basis = jnp.asarray(_basis(weight.shape[-1], spacing))
    sums = _project(jnp.concatenate([weight[None], weight * residuals]), basis)
    return _evaluate(sums[1:] / (sums[:1] + damping), basis)


def _project(images: jax.Array, basis: jax.Array) -> jax.Array:
    """(…, W, W) -> (…, n, n) sums by the B-splines' weights."""
    across = jnp.matmul(images, basis, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("...wm,wn->...nm", across, basis, precision=jax.lax.Precision.HIGHEST)


def _evaluate(coefficients: jax.Array, basis: jax.Array) -> jax.Array:
    """(…, n, n) -> (…, W, W)."""
    down = jnp.einsum("...nm,wn->...wm", coefficients, basis, precision=jax.lax.Precision.HIGHEST)
    return jnp.matmul(down, basis.T, precision=jax.lax.Precision.HIGHEST)


@functools.cache
def _basis(size: int, spacing: int) -> np.ndarray:
    """(W, n) float32 values at the pixels of cubic B-splines, `spacing` pixels apart; those of a pixel sum to 1."""
    centres = spacing * (np.arange(-1, size // spacing + 1) + 0.5) - 0.5
    t = np.abs(np.arange(size)[:, None] - centres) / spacing
    values = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0))
    return values.astype(np.float32)


def _local_mean(residuals: jax.Array, weight: jax.Array, damping: float) -> jax.Array:
    """(C, B, W, W) means of residuals over 3 × 3 pixels, by (B, W, W) weights and nearness."""
    sums = jnp.concatenate([weight[None], weight * residuals])
    for axis in (2, 3):
        size = sums.shape[axis]
        width = [(0, 0)] * 4
        width[axis] = (1, 1)
        padded = jnp.pad(sums, width)
        before, here, after = (jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(3))
        sums = (before + 4 * here + after) / 4
    return sums[1:] / (sums[:1] + damping)
