"""Masks of the salient regions from landmarks that only a compiled program knows: `preprocessing/masks.py`, traced.

Shapes: B scans, K corners of a region, M places along an edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.maps import IMAGE_SIZE, INPUT_MAPS
from afnet_jax.preprocessing.masks import BRIDGE, REGIONS, SOFT_EDGE
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.scans.scan import LANDMARKS

_LEAST_PLACES = 64  # along an edge
_PARALLEL = 1e-6  # sine of an angle that rounding alone may make, in float32


def draw_masks(landmarks: jax.Array, size: int) -> dict[str, jax.Array]:
    """Draws the masks of B scans where the images' edge is `size`.

    Args:
        landmarks: (B, 22, 3) canonical mm in the order of LANDMARKS; NaN where a scan has none of that name, which is
            then taken from the template.
        size: pixels.

    Returns:
        Name in `Maps` -> (B, edge, edge) float32 in [0, 1], each pixel the mean over its area.
    """
    edges = {name: each.edge(size) for name, each in INPUT_MAPS.items() if name.startswith("mask")}
    finest = max(edges.values())
    places = finest * max(2, -(-_LEAST_PLACES // finest))
    grid = PreprocessingConfig().grid
    at = (np.arange(places) + 0.5) * IMAGE_SIZE / places - 0.5  # pixels of preprocessing's grid
    x = jnp.asarray(grid.origin[0] + grid.step * at, jnp.float32)
    y = jnp.asarray(grid.origin[1] - grid.step * at, jnp.float32)[:, None]
    points = _corner_points(landmarks)
    mask = jnp.zeros((landmarks.shape[0], places, places), jnp.float32)
    for names, margin in REGIONS:
        distance = hull_distance(jnp.stack([points[name] for name in names], axis=1), x, y)
        mask = jnp.maximum(mask, jnp.clip(0.5 + (margin - distance) / SOFT_EDGE, 0, 1))
    return {name: _block_mean(mask, edge) for name, edge in edges.items()}


def with_template(landmarks: jax.Array) -> jax.Array:
    """Returns (…, 22, 3) landmarks, canonical mm, the template's in place of those that are NaN."""
    template = np.array([TEMPLATE[name] for name in LANDMARKS], np.float32)
    return jnp.where(jnp.isnan(landmarks), template, landmarks)


def _corner_points(landmarks: jax.Array) -> dict[str, jax.Array]:
    """Name -> (B, 2) mm of the regions' corners, the bridge of the nose among them."""
    flat = with_template(landmarks)[..., :2]
    points = {name: flat[:, number] for number, name in enumerate(LANDMARKS)}
    middle = (points["right_eye_inner"] + points["left_eye_inner"]) / 2
    for side in ("right", "left"):
        points[f"{side}_bridge"] = middle + 2 * BRIDGE * (points[f"{side}_eye_inner"] - middle)
    return points


def hull_distance(corners: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the distance from the convex hull of each scan's corners, mm; negative inside.

    Args:
        corners: (B, K, 2) mm; a handful, as each may be followed by any other along the hull.
        x: (M,) mm.
        y: (M, 1) mm.

    Returns:
        (B, M, M).
    """
    nearest = inside = jnp.float32(jnp.inf)
    for start, along, is_edge in _hull_edges(corners):
        ex, ey = along[:, 0, None, None], along[:, 1, None, None]
        dx, dy = x - start[:, 0, None, None], y - start[:, 1, None, None]
        share = jnp.clip((dx * ex + dy * ey) / jnp.maximum(ex**2 + ey**2, 1e-6), 0, 1)
        squared = (dx - share * ex) ** 2 + (dy - share * ey) ** 2
        is_edge = is_edge[:, None, None]
        nearest = jnp.minimum(nearest, jnp.where(is_edge, squared, jnp.inf))
        inside = jnp.minimum(inside, jnp.where(is_edge, ex * dy - ey * dx, jnp.inf))
    nearest = jnp.sqrt(nearest)
    return jnp.where(inside > 0, -nearest, nearest)


def _hull_edges(corners: jax.Array) -> Sequence[tuple[jax.Array, jax.Array, jax.Array]]:
    """For each corner its place, the way to the next one counter-clockwise, and whether it is a corner of the hull."""
    along = corners[:, None] - corners[:, :, None]  # (B, from, to, 2)
    # (B, from, to, other): positive where the other corner lies to the left of the way.
    left = along[:, :, :, None, 0] * along[:, :, None, :, 1] - along[:, :, :, None, 1] * along[:, :, None, :, 0]
    length = (along**2).sum(-1)
    # On the way itself lies also what comes out a little to its right: XLA may round one product and not the other.
    rounding = _PARALLEL * jnp.sqrt(length[:, :, :, None] * length[:, :, None, :])
    is_edge = (left >= -rounding).all(-1) & (length > 0)
    following = jnp.argmax(jnp.where(is_edge, length, -1.0), axis=-1)
    return [
        (
            corners[:, k],
            jnp.take_along_axis(along[:, k], following[:, k, None, None], axis=1)[:, 0],
            is_edge[:, k].any(-1),
        )
        for k in range(corners.shape[1])
    ]


def _block_mean(mask: jax.Array, edge: int) -> jax.Array:
    count, block = mask.shape[0], mask.shape[1] // edge
    return mask.reshape(count, edge, block, edge, block).mean(axis=(2, 4))
