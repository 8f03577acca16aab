"""Orthographic depth images of a surface, as the detector's networks read them.

The face's frame is the canonical one of `geometry.alignment`. A view is given by the rigid motion from the face's
or any other frame to the surface's own.
"""

from __future__ import annotations

import numpy as np

from afnet_jax.geometry.rendering import Grid, rasterize

COARSE_STEP, COARSE_SIZES = 5.0, (96, 160)  # mm per pixel; pixels, the smallest that holds the surface
FINE_STEP, FINE_SIZE, FINE_TOP = 2.2, 96, 52.0  # mm per pixel; pixels; canonical y of the first row
FACE_MIDDLE = np.array([0.0, -35.0, 10.0])  # canonical mm: the point that the coarse network looks for


def fine_grid(margin: int = 0) -> Grid:
    """Returns the upright view's grid, with so many pixels more on each side."""
    left = -FINE_STEP * (FINE_SIZE - 1) / 2
    return Grid(FINE_SIZE + 2 * margin, FINE_STEP, (left - margin * FINE_STEP, FINE_TOP + margin * FINE_STEP))


def square_grid(centre: np.ndarray, size: int, step: float) -> Grid:
    """Returns a grid whose middle is at (x, y) = centre, mm."""
    half = step * (size - 1) / 2
    return Grid(size, step, (float(centre[0]) - half, float(centre[1]) + half))


def depth_image(points: np.ndarray, triangles: np.ndarray, grid: Grid) -> np.ndarray:
    """(size, size) float32 height of what is seen along −z, NaN where nothing is."""
    return rasterize(points, triangles, grid).depth.astype(np.float32)
