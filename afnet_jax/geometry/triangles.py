"""Geometry of single triangles: where they look, how large and how long they are."""

from __future__ import annotations

import numpy as np


def area_vectors(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Returns the (T, 3) normals of triangles given by (T, 3) indices, each as long as twice the area."""
    a = points[triangles[:, 0]]
    ux, uy, uz = (points[triangles[:, 1]] - a).T
    vx, vy, vz = (points[triangles[:, 2]] - a).T
    # np.cross takes several times as long.
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=1)


def longest_edges(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Returns the length of each triangle's longest edge, (T,)."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    squared = [np.einsum("ij,ij->i", side, side) for side in (b - a, c - b, a - c)]
    return np.sqrt(np.maximum(np.maximum(squared[0], squared[1]), squared[2]))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns (N, 3) vectors at length 1; those without a length stay zero."""
    return vectors / lengths(vectors, least=1e-12)[:, None]


def lengths(vectors: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Returns the (N,) lengths of vectors, none below `least`."""
    return np.maximum(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), least)
