"""Finds the point that each pixel of an orthographic view sees, by a z-buffer without what shines through its gaps.

Shapes: B scans, N points of each, W pixels along the grid's edge.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.geometry.rendering import Grid
from afnet_jax.maps import Clouds

_NEAREST, _FARTHEST = 128.0, -128.0  # canonical mm along z between which points are seen
# mm in which two points of a pixel count as equally near: noise must not decide, or the nearer half of it would win.
_LAYER = 4.0
_HIDDEN = 4.0  # mm behind all that is seen round it: less may be a steep surface
_GAP = 2.0  # mm round a pixel within which a surface has points


_NOWHERE = np.iinfo(np.int32).max  # no pixel: what is written there is dropped


def gap_in_pixels(grid: Grid) -> int:
    """Returns how far from a pixel a surface has points, pixels."""
    return round(_GAP / grid.step) or 1


class SeenPoints(NamedTuple):
    """The point that each pixel sees, planes of (B, W, W) float32 but for the colours; 0 where a pixel sees none.

    Attributes:
        weight: 1 where there is a point.
        height: canonical z, mm.
        right, down: pixels from the pixel's centre to the point.
        colours: (3, B, W, W) RGB in 0 … 255, of the type that they are kept in.
    """

    weight: jax.Array
    height: jax.Array
    right: jax.Array
    down: jax.Array
    colours: jax.Array


def canonical(clouds: Clouds) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Canonical x, y and z of the points, (B, N) float32 mm each."""
    points = clouds.points.astype(jnp.float32)
    x, y, z = (points[..., k] for k in range(3))

    def along(axis: int) -> jax.Array:  # not a product of matrices, which is slow where one has three columns
        turn = clouds.rotation[:, axis, :, None]
        return x * turn[:, 0] + y * turn[:, 1] + z * turn[:, 2] + clouds.offset[:, axis, None]

    return along(0), along(1), along(2)


def nearest_points(clouds: Clouds, grid: Grid) -> SeenPoints:
    """Finds the foremost point in every pixel.

    Of one layer's points in a pixel the one with the least index is seen, so that their order must tell nothing; with
    keys that are whole numbers the result does not depend on the order in which a device scatters them.
    """
    x, y, height = canonical(clouds)
    count, each = height.shape
    pixels = grid.size**2
    col, row = (x - grid.origin[0]) / grid.step, (grid.origin[1] - y) / grid.step
    inside = (col > -0.5) & (col < grid.size - 0.5) & (row > -0.5) & (row < grid.size - 0.5)
    inside &= (height > _FARTHEST) & (height < _NEAREST)  # False for NaN
    pixel = jnp.where(inside, jnp.round(row) * grid.size + jnp.round(col), 0).astype(jnp.int32)
    number = jnp.arange(count, dtype=jnp.int32)[:, None]
    layer = (jnp.where(inside, height - _FARTHEST, 0) / _LAYER).astype(jnp.int32)
    key = layer * each + (each - 1 - jnp.arange(each, dtype=jnp.int32))
    target = jnp.where(inside, pixel + number * pixels, _NOWHERE)
    keys = jnp.full(count * pixels, -1, jnp.int32).at[target.ravel()].max(key.ravel(), mode="drop")
    keys = keys.reshape(count, pixels)
    known = keys >= 0
    index = jnp.where(known, each - 1 - keys % each, 0) + number * each
    shape = (count, grid.size, grid.size)
    found = jnp.stack([col, row, height], axis=-1).reshape(-1, 3)[index.ravel()]
    col, row, height = (jnp.where(known, found[:, k].reshape(known.shape), 0).reshape(shape) for k in range(3))
    known = known.reshape(shape)
    across = jnp.arange(grid.size, dtype=jnp.float32)
    colours = clouds.colours.reshape(-1, 3)[index.ravel()]
    weight = known & ~_is_hidden(height, known, gap_in_pixels(grid))
    weight = kept_apart(weight.astype(jnp.float32))
    return SeenPoints(
        weight, height, (col - across) * weight, (row - across[:, None]) * weight, colours.T.reshape(3, *shape)
    )


def _is_hidden(height: jax.Array, known: jax.Array, reach: int) -> jax.Array:
    """(B, W, W) bool: behind the surface that the points round it close over it.

    The surface is the grey closing of the heights: it bridges gaps between points, and leaves planes and steps alone.
    """
    nowhere = -1e3
    closed = spread_min(spread_max(jnp.where(known, height, nowhere), reach, nowhere), reach, -nowhere)
    return height < closed - _HIDDEN


def kept_apart(ones: jax.Array) -> jax.Array:
    """Returns zeros and ones as they are, as an array that is computed once.

    XLA computes cheap operations anew for each of their uses, and all that is cheap before them: on a CPU stencils of
    stencils take many times as long. A square root counts as dear.
    """
    return jnp.sqrt(ones)


def spread_max(images: jax.Array, reach: int, outside: float) -> jax.Array:
    """(B, H, W) greatest values within `reach` pixels along both axes; beyond the border lies `outside`."""
    return _spread(images, reach, jnp.maximum, outside)


def spread_min(images: jax.Array, reach: int, outside: float) -> jax.Array:
    """(B, H, W) least values within `reach` pixels along both axes; beyond the border lies `outside`."""
    return _spread(images, reach, jnp.minimum, outside)


def _spread(images: jax.Array, reach: int, choose, outside: float) -> jax.Array:
    # Not lax.reduce_window, which is slow on a CPU.
    for axis in (1, 2):
        width = [(0, 0)] * 3
        width[axis] = (reach, reach)
        padded = jnp.pad(images, width, constant_values=outside)
        size = images.shape[axis]
        parts = [jax.lax.slice_in_dim(padded, k, k + size, axis=axis) for k in range(2 * reach + 1)]
        images = parts[0]
        for part in parts[1:]:
            images = choose(images, part)
    return images
