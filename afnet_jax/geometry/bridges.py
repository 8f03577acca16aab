"""Triangles that bridge steps in depth and holes, where the scanner saw no surface.

Length alone does not tell them: a mesh made of large and small triangles has long ones that lie in the surface.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from afnet_jax.geometry.triangles import area_vectors, unit

_STEEP = np.cos(np.radians(60))  # a triangle that leans more than this against the surface at a corner spans a step


def find_bridges(
    points: np.ndarray, triangles: np.ndarray, longest: np.ndarray, limit: float, ratio: float
) -> np.ndarray:
    """Judges the triangles with an edge longer than `limit`; shorter ones are surface.

    A long triangle is a bridge if it leans against the surface at one of its corners (it spans a step in depth), or if
    it spans a gap: all corners of its patch of long triangles lie on the rim of shorter ones, beside which it is long.
    A patch with a point of its own inside is surface that was sampled coarsely.

    Args:
        points: (N, 3) mm.
        triangles: (T, 3) indices, spikes left out.
        longest: (T,) mm, longest edge of each triangle.
        limit: mm.
        ratio: times the edges of the surrounding triangles that an edge must have to be long beside them.

    Returns:
        (T,) bool.
    """
    bridges = longest > limit
    if not bridges.any():
        return bridges
    long = triangles[bridges]
    on_long = np.zeros(len(points), dtype=bool)
    on_long[long] = True
    a, b, c = triangles.T
    near = ~bridges & (on_long[a] | on_long[b] | on_long[c])
    bridges[bridges] = _leans(points, long, triangles[near]) | _spans_gap(
        points, long, longest[bridges], triangles[near], ratio
    )
    return bridges


def _leans(points: np.ndarray, long: np.ndarray, short: np.ndarray) -> np.ndarray:
    """(L,) bool: steeper than _STEEP against the surface at a corner.

    The surface there is that of the short triangles, and of the long ones only where there are no others.
    """
    own = unit(area_vectors(points, long))
    at_short = _sum_at_corners(points, short, unit(area_vectors(points, short)))
    at_long = _sum_at_corners(points, long, own)
    known = (at_short != 0).any(axis=1)
    surface = unit(np.where(known[:, None], at_short, at_long))
    return (np.einsum("tc,tkc->tk", own, surface[long]) < _STEEP).any(axis=1)


def _spans_gap(points, long: np.ndarray, longest: np.ndarray, short: np.ndarray, ratio: float) -> np.ndarray:
    """(L,) bool: in a patch of long triangles without a point of its own, and long beside the short ones."""
    sides = np.median(np.linalg.norm(points[short] - points[np.roll(short, 1, axis=1)], axis=2), axis=1)
    count = np.bincount(short.ravel(), minlength=len(points))
    around = np.bincount(short.ravel(), np.repeat(sides, 3), len(points)) / np.maximum(count, 1)
    on_rim = count[long] > 0
    patch = _patches(long)
    has_own_point = np.bincount(patch, ~on_rim.all(axis=1)) > 0
    return ~has_own_point[patch] & (longest > ratio * around[long].max(axis=1))


def _patches(triangles: np.ndarray) -> np.ndarray:
    """(L,) number of the part, connected over shared edges, that each triangle belongs to."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, edge = np.unique(edges, axis=0, return_inverse=True)
    triangle = np.tile(np.arange(len(triangles)), 3)
    shape = (len(triangles), edge.max() + 1)
    incidence = scipy.sparse.coo_array((np.ones(len(triangle)), (triangle, edge.ravel())), shape=shape).tocsr()
    return scipy.sparse.csgraph.connected_components(incidence @ incidence.T, directed=False)[1]


def _sum_at_corners(points: np.ndarray, triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N, 3) sum of the triangles' normals at each of their corners."""
    corners, repeated = triangles.ravel(), np.repeat(normals, 3, axis=0)
    return np.stack([np.bincount(corners, repeated[:, axis], len(points)) for axis in range(3)], axis=1)
