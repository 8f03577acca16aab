"""Cleaning of a scanned mesh: spikes, isolated bits and triangles that bridge a gap are taken out."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph


@dataclasses.dataclass(frozen=True)
class SurfaceConfig:
    """What counts as an outlier; all chosen by measurement on surfaces whose truth is known.

    Attributes:
        spike: mm along the normal by which a point may stand off the median of its neighbours.
        spike_edges: the same in median edge lengths: coarse meshes cut corners by more. The larger bound holds.
        rounds: times the search is repeated, since a spike may hide its neighbour.
        min_part: points of a connected part below which it is an isolated bit.
        max_edge: mm, longest edge of a triangle that is surface and not a bridge over a gap; never less than
            max_edge_ratio median edges.
        max_edge_ratio: see max_edge.
    """

    spike: float = 2.0
    spike_edges: float = 0.8
    rounds: int = 3
    min_part: int = 30
    max_edge: float = 6.0
    max_edge_ratio: float = 4.0


@dataclasses.dataclass(frozen=True)
class CleanSurface:
    """What cleaning found out about a mesh of N points and T triangles.

    Attributes:
        points: (N,) bool, points to keep.
        triangles: (T,) bool, triangles to keep.
        noise: mm, robust standard deviation of the points about their neighbourhood.
    """

    points: np.ndarray
    triangles: np.ndarray
    noise: float


def clean_surface(points: np.ndarray, triangles: np.ndarray, config: SurfaceConfig) -> CleanSurface:
    """Judges each point and each triangle of a mesh, in any pose.

    Args:
        points: (N, 3) mm.
        triangles: (T, 3) indices, counter-clockwise from outside.
    """
    edge = _median_edge(points, triangles)
    good = np.ones(len(points), dtype=bool)
    kept = np.ones(len(triangles), dtype=bool)
    bound = max(config.spike, config.spike_edges * edge)
    for _ in range(config.rounds):
        offset = np.abs(_standing_off(points, triangles[kept]))
        spikes = good & (offset > bound)
        good &= ~spikes
        kept = good[triangles].all(axis=1)
        if not spikes.any():
            break
    noise = float(np.median(offset[good]) / 0.6745) if good.any() else 0.0
    kept &= _longest_edges(points, triangles) <= max(config.max_edge, config.max_edge_ratio * edge)
    good &= _in_large_part(len(points), triangles[kept], config.min_part)
    return CleanSurface(good, kept & good[triangles].all(axis=1), noise)


def _median_edge(points: np.ndarray, triangles: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points[triangles[:, 0]] - points[triangles[:, 1]], axis=1)))


def _longest_edges(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    corners = points[triangles]
    return np.sqrt(((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=2).max(axis=1))


def _neighbours(count: int, triangles: np.ndarray) -> scipy.sparse.csr_array:
    """(N, N) sparse pattern of the mesh's edges."""
    heads = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    tails = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    return scipy.sparse.coo_array((np.ones(len(heads), np.float32), (heads, tails)), shape=(count, count)).tocsr()


def _standing_off(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) mm along the normal from the median of each point's neighbours; inf for points without triangles."""
    edges = _neighbours(len(points), triangles)
    normals = _smooth_normals(points, triangles, edges)
    degree = np.diff(edges.indptr)
    owner = np.repeat(np.arange(len(points)), degree)
    offsets = ((points[edges.indices] - points[owner]) * normals[owner]).sum(axis=1)
    table = np.full((len(points), max(degree.max(), 1)), np.inf)
    table[owner, np.arange(len(owner)) - edges.indptr[owner]] = offsets
    table.sort(axis=1)
    rows = np.arange(len(points))
    return (table[rows, np.maximum(degree - 1, 0) // 2] + table[rows, degree // 2]) / 2


def _smooth_normals(points: np.ndarray, triangles: np.ndarray, edges: scipy.sparse.csr_array) -> np.ndarray:
    """(N, 3) normals averaged over the faces, each counting once, and again over the neighbours' neighbours.

    Unit normals, unlike area-weighted ones, keep a spike's long flanks from outvoting the surface round it.
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    faces /= np.maximum(np.linalg.norm(faces, axis=1, keepdims=True), 1e-12)
    normals = np.stack(
        [sum(np.bincount(triangles[:, k], faces[:, axis], len(points)) for k in range(3)) for axis in range(3)], axis=1
    )
    for _ in range(2):
        normals = normals + edges @ normals
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals


def _in_large_part(count: int, triangles: np.ndarray, smallest: int) -> np.ndarray:
    _, part = scipy.sparse.csgraph.connected_components(_neighbours(count, triangles), directed=False)
    return np.bincount(part)[part] >= smallest
