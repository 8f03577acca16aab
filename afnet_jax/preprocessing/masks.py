"""Masks of the salient regions (paper, section II-B: eyes with brows, nose, mouth), drawn from the landmarks.

Only names that both databases give are used, so that a mask means the same in either.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.spatial

from afnet_jax.geometry.alignment import TEMPLATE, AlignmentFault
from afnet_jax.geometry.rendering import Grid

MASK_SIZES = (56, 28)

# Convex hulls of these points, grown by a margin (mm). The bridge of the nose lies between the inner eye corners.
REGIONS = (
    (("right_brow_outer", "right_brow_middle", "right_brow_inner", "right_eye_outer", "right_eye_inner"), 7.0),
    (("left_brow_outer", "left_brow_middle", "left_brow_inner", "left_eye_outer", "left_eye_inner"), 7.0),
    (("right_bridge", "left_bridge", "right_nose_wing", "nose_tip", "left_nose_wing"), 5.0),
    (("mouth_right", "mouth_left", "upper_lip_outer", "lower_lip_outer"), 6.0),
)
BRIDGE = 0.3  # half-width of the bridge as a share of the distance between the inner eye corners
SOFT_EDGE = 4.0  # mm over which a mask falls from 1 to 0


def salient_masks(landmarks: Mapping[str, np.ndarray], grid: Grid) -> dict[int, np.ndarray]:
    """Draws the masks at a quarter and an eighth of the grid's resolution.

    Args:
        landmarks: name -> (≥2,) canonical mm; a name that is missing is taken from the template.
        grid: the 224 × 224 grid of the maps.

    Returns:
        {56: (56, 56) float32, 28: (28, 28) float32} in [0, 1]; each pixel is the mean over its block of the grid.
    """
    points = {name: np.asarray(landmarks.get(name, TEMPLATE[name]), dtype=np.float64)[:2] for name in TEMPLATE}
    middle = (points["right_eye_inner"] + points["left_eye_inner"]) / 2
    for side in ("right", "left"):
        points[f"{side}_bridge"] = middle + 2 * BRIDGE * (points[f"{side}_eye_inner"] - middle)
    blocks = grid.size // 2  # drawn at half of the grid's resolution: the soft edge is wider than that
    at = 2 * np.arange(blocks) + 0.5
    x, y = np.meshgrid(grid.origin[0] + grid.step * at, grid.origin[1] - grid.step * at)
    mask = np.zeros((blocks, blocks))
    for names, margin in REGIONS:
        distance = _hull_distance(np.stack([points[name] for name in names]), x, y)
        mask = np.maximum(mask, np.clip(0.5 + (margin - distance) / SOFT_EDGE, 0, 1))
    return {size: _block_mean(mask, size) for size in MASK_SIZES}


def inner_face(landmarks: Mapping[str, np.ndarray], grid: Grid, margin: float = 0.0) -> np.ndarray:
    """Returns the hull of brows, eyes, nose, mouth and chin, grown by a margin.

    Args:
        landmarks: name -> (≥2,) mm in the grid's frame, three at least that TEMPLATE knows and not all on a line.
        grid: the pixels.
        margin: mm.

    Returns:
        (size, size) bool.
    """
    names = [name for name in TEMPLATE if name in landmarks]
    return _hull_distance(np.stack([landmarks[name][:2] for name in names]), *np.meshgrid(grid.x, grid.y)) <= margin


def _hull_distance(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from the convex hull of (K, 2) corners, mm; negative inside.

    Raises:
        AlignmentFault: they lie at one place or on one line.
    """
    try:
        hull = corners[scipy.spatial.ConvexHull(corners).vertices]  # counter-clockwise
    except scipy.spatial.QhullError:
        told = "landmarks of one region lie at one place or on one line: mark them anew, or leave them out"
        raise AlignmentFault(told) from None
    inside, nearest = np.full(x.shape, np.inf), np.full(x.shape, np.inf)
    for start, end in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        (ex, ey), dx, dy = end - start, x - start[0], y - start[1]
        along = np.clip((dx * ex + dy * ey) / (ex**2 + ey**2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(dx - along * ex, dy - along * ey))
        inside = np.minimum(inside, ex * dy - ey * dx)
    return np.where(inside > 0, -nearest, nearest)


def _block_mean(mask: np.ndarray, size: int) -> np.ndarray:
    block = len(mask) // size
    return mask.reshape(size, block, size, block).mean(axis=(1, 3)).astype(np.float32)
