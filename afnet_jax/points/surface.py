"""Smooth heights and colours through scattered points, from coarse to fine.

Multilevel B-spline approximation (Lee, Wolberg & Shin 1997): on each level, twice as fine as the one before, the
residuals of the points are averaged by B-spline weights and added as a B-spline surface. What a level has no points
for stays as the coarser one left it, so that holes are filled as a pyramid's push and pull fills them (Gortler et al.
1996). Points far off the level before count less and less (weights of Geman & McClure 1985).

A coarse level does not look at every pixel: it sees the points' means over blocks of half its B-splines' spacing, so
that all but the finest level together move fewer bytes than that one.

Shapes: B scans, W pixels along the grid's edge, n B-splines along an axis.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.geometry.rendering import Grid
from afnet_jax.points.visibility import SeenPoints

# Levels of heights, the coarsest first: working pixels between the B-splines; mm along the normal by which a point may
# stand off the surface of the level before to count a quarter; weight of no change, in points, which keeps a level from
# following a single point's noise. The last level but one comes twice, at last with less tolerance.
_LEVELS = ((16, 1000.0, 1e-3), (8, 40.0, 1e-3), (4, 10.0, 1e-2), (4, 6.0, 1e-2), (2, 4.0, 0.1))
_PER_BLOCK = 2  # blocks between two B-splines
_FINEST_OFF, _FINEST_DAMPING = 2.0, 0.5  # of the mean over 3 × 3 pixels that comes last
_COLOUR_LEVELS = ((8, 1e-3), (4, 1e-2))
_FINEST_COLOUR_DAMPING = 0.05
_GREY = 128.0  # the colour where no point is near
_NEARNESS = 0.25, 1.0, 0.25  # of the pixel before, the pixel itself and the one after, along an axis
_OUTLIER = 4.0  # mm off the surface along its normal beyond which a point shows no face there


def fit_heights(seen: SeenPoints, grid: Grid) -> tuple[jax.Array, jax.Array]:
    """Fits a smooth surface to the points that are seen.

    Returns:
        (B, W, W) float32 heights of the surface at the pixels' centres, mm; (B, W, W) bool, pixels with a point on it.
    """
    points, fitted = _in_blocks(seen), _Fitted(grid.size)
    for spacing, off, damping in _LEVELS:
        block = spacing // _PER_BLOCK
        heights = fitted.at(block, seen.height[None])[0]
        residual, slope = _residual(points[block], heights, grid.step * block)
        weight = _trust(points[block], residual / slope, off)
        fitted.add(spacing, jnp.concatenate([weight[None], (weight * residual)[None]]), damping)
    heights = fitted.at(1, seen.height[None])[0]
    residual, slope = _residual(seen, heights, grid.step)
    weight = _trust(seen, residual / slope, _FINEST_OFF)
    heights = heights + _local_mean(residual[None], weight, _FINEST_DAMPING)[0]
    return heights, (seen.weight > 0) & (jnp.abs(residual / slope) < _OUTLIER)


def fit_colours(seen: SeenPoints, inlier: jax.Array) -> jax.Array:
    """(3, B, W, W) float32 colours in 0 … 255 through those of the points that lie on the surface."""
    weight = inlier.astype(jnp.float32)
    sums = {1: jnp.concatenate([weight[None], weight * (seen.colours - _GREY)])}
    for block in _doubled(_COLOUR_LEVELS):
        sums[block] = _halved(sums[block // 2])
    fitted = _Fitted(weight.shape[-1])
    for spacing, damping in _COLOUR_LEVELS:
        block = spacing // _PER_BLOCK
        weights, colours = jnp.split(sums[block], [1])
        residual = colours - weights * fitted.at(block, sums[1][1:])
        fitted.add(spacing, jnp.concatenate([weights, residual]), damping)
    colours = fitted.at(1, sums[1][1:])
    return _GREY + colours + _local_mean(seen.colours - _GREY - colours, weight, _FINEST_COLOUR_DAMPING)


class _Fitted:
    """The sum of the levels so far, on pixels or on blocks of them.

    Args:
        size: W.
    """

    def __init__(self, size: int):
        self._size = size
        self._levels: list[tuple[int, jax.Array]] = []  # pixels between the B-splines, (C, B, n, n) coefficients
        self._block, self._summed, self._values = 0, 0, jnp.zeros(())  # the levels summed on blocks of that edge

    def add(self, spacing: int, sums: jax.Array, damping: float) -> None:
        """Adds a level through (1 + C, B, w, w) weights and weighted residuals of w blocks along the edge."""
        projected = _project(sums, jnp.asarray(_basis(self._size, spacing, spacing // _PER_BLOCK)))
        self._levels.append((spacing, projected[1:] / (projected[:1] + damping)))

    def at(self, block: int, like: jax.Array) -> jax.Array:
        """(C, B, w, w) values at the middles of blocks; `like` (C, B, W, W) tells C and B."""
        if block != self._block:
            edge = self._size // block
            self._block, self._summed, self._values = block, 0, jnp.zeros((*like.shape[:2], edge, edge), jnp.float32)
        if new := self._levels[self._summed :]:
            self._values, self._summed = self._values + self._sum(new, block), len(self._levels)
        return self._values

    def _sum(self, levels: Sequence[tuple[int, jax.Array]], block: int) -> jax.Array:
        """Evaluates levels together: side by side they are one product of matrices, and one image is written."""
        bases = [_basis(self._size, spacing, block) for spacing, _ in levels]
        down = [
            jnp.einsum("...nm,wn->...wm", each, jnp.asarray(basis), precision=jax.lax.Precision.HIGHEST)
            for (_, each), basis in zip(levels, bases, strict=True)
        ]
        across = jnp.asarray(np.concatenate(bases, axis=1).T)
        return jnp.matmul(jnp.concatenate(down, axis=-1), across, precision=jax.lax.Precision.HIGHEST)


def _residual(seen: SeenPoints, heights: jax.Array, step: float) -> tuple[jax.Array, jax.Array]:
    """(B, W, W) mm from the surface to the points; how much longer that is than along the normal; `step` in mm."""
    right, down = _slope(heights, 2), _slope(heights, 1)
    residual = seen.height - heights - right * seen.right - down * seen.down
    return residual, jnp.sqrt(1 + (right**2 + down**2) / step**2)


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


def _in_blocks(seen: SeenPoints) -> dict[int, SeenPoints]:
    """The points as each level sees them, by the pixels of a block: their number in a block, and their means there."""
    blocks = {1: seen}
    for block in _doubled(_LEVELS):
        blocks[block] = _means(blocks[block // 2])
    return blocks


def _doubled(levels: Sequence[tuple]) -> list[int]:
    """2, 4, … up to the pixels of the coarsest level's blocks."""
    return [2**k for k in range(1, (levels[0][0] // _PER_BLOCK).bit_length())]


def _means(seen: SeenPoints) -> SeenPoints:
    """Blocks of twice the edge, from blocks or pixels; the colours stay those of the pixels."""
    size = seen.weight.shape[-1]
    off = jnp.arange(size) % 2 - 0.5  # from the middle of the block
    parts = (seen.height, seen.right + off, seen.down + off[:, None])
    count = _halved(seen.weight)
    height, right, down = (_halved(seen.weight * part) / jnp.maximum(count, 1) for part in parts)
    return SeenPoints(count, height, right / 2, down / 2, seen.colours)


def _halved(images: jax.Array) -> jax.Array:
    """(…, W, W) -> (…, W / 2, W / 2) sums over 2 × 2 pixels."""
    half = images.shape[-1] // 2  # not sums of strided slices, which XLA may fuse with the product that follows
    return images.reshape(*images.shape[:-2], half, 2, half, 2).sum((-3, -1))


def _project(images: jax.Array, basis: jax.Array) -> jax.Array:
    """(…, W, W) -> (…, n, n) sums by the B-splines' weights."""
    across = jnp.matmul(images, basis, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("...wm,wn->...nm", across, basis, precision=jax.lax.Precision.HIGHEST)


@functools.cache
def _basis(size: int, spacing: int, block: int) -> np.ndarray:
    """(W / block, n) float32 values, at the middles of blocks of pixels, of cubic B-splines `spacing` pixels apart.

    Those of one place sum to 1.
    """
    centres = spacing * (np.arange(-1, size // spacing + 1) + 0.5) - 0.5
    middles = np.arange(size // block) * block + (block - 1) / 2
    t = np.abs(middles[:, None] - centres) / spacing
    values = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0))
    return values.astype(np.float32)


def _local_mean(residuals: jax.Array, weight: jax.Array, damping: float) -> jax.Array:
    """(C, B, W, W) means of residuals over 3 × 3 pixels, by (B, W, W) weights and nearness."""
    weighted = weight * residuals
    return _blurred(weighted) / (_blurred(weight) + damping)


def _blurred(images: jax.Array) -> jax.Array:
    """(…, W, W) sums over 3 × 3 pixels, each axis weighted by 1 4 1, over 16; 0 lies beyond the border."""
    height, width = images.shape[-2:]
    padded = jnp.pad(images, [(0, 0)] * (images.ndim - 2) + [(1, 1)] * 2)
    parts = [
        _NEARNESS[row] * _NEARNESS[column] * padded[..., row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    ]
    return functools.reduce(jnp.add, parts)
