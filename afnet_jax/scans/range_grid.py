"""The triangles of a regular grid of points."""

from __future__ import annotations

import numpy as np


def grid_triangles(grid: np.ndarray) -> np.ndarray:
    """Triangulates a range grid.

    Args:
        grid: (rows, cols) indices of points, -1 where there is none, row 0 at the bottom.

    Returns:
        (T, 3) int32, counter-clockwise seen from the camera.
    """
    a, b, c, d = (corner.ravel() for corner in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    lower, upper = np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)
    # Of a cell without a or c, whose diagonal is gone, the other diagonal's triangle is left.
    no_a, no_c = np.stack([b, c, d], axis=1)[a < 0], np.stack([a, b, d], axis=1)[c < 0]
    every = np.concatenate([lower, upper, no_a, no_c])
    return every[(every >= 0).all(axis=1)].astype(np.int32)
