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
        edge: mm, median length of the triangles' edges.
    """

    points: np.ndarray
    triangles: np.ndarray
    noise: float
    edge: float


def clean_surface(points: np.ndarray, triangles: np.ndarray, config: SurfaceConfig) -> CleanSurface:
    """Judges each point and each triangle of a mesh, in any pose.

    Args:
        points: (N, 3) mm.
        triangles: (T, 3) indices, counter-clockwise from outside.
    """
    edge = _median_edge(points, triangles)
    bound = max(config.spike, config.spike_edges * edge)
    offset = _standing_off(points, triangles)
    spikes = np.abs(offset) > bound
    good = ~spikes
    noise = float(np.median(np.abs(offset[good])) / 0.6745) if good.any() else 0.0
    kept = good[triangles].all(axis=1)
    for _ in range(config.rounds - 1):
        if not spikes.any():
            break
        near = _surroundings(spikes, triangles)
        spikes = good & near & (np.abs(_standing_off(points, triangles[kept & near[triangles].any(axis=1)])) > bound)
        good &= ~spikes
        kept = good[triangles].all(axis=1)
    kept &= _longest_edges(points, triangles) <= max(config.max_edge, config.max_edge_ratio * edge)
    good &= _in_large_part(len(points), triangles[kept], config.min_part)
    return CleanSurface(good, kept & good[triangles].all(axis=1), noise, edge)


def _surroundings(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) bool: points that share a triangle with the given ones, and those that share one with these."""
    for _ in range(2):
        grown = np.zeros_like(points)
        grown[triangles[points[triangles].any(axis=1)]] = True
        points = grown
    return points


def _median_edge(points: np.ndarray, triangles: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points[triangles[:, 0]] - points[triangles[:, 1]], axis=1)))


def _longest_edges(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    squared = [np.einsum("ij,ij->i", side, side) for side in (b - a, c - b, a - c)]
    return np.sqrt(np.maximum(np.maximum(squared[0], squared[1]), squared[2]))


def _neighbours(count: int, triangles: np.ndarray) -> scipy.sparse.csr_array:
    """(N, N) sparse pattern of the mesh's edges."""
    heads = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    tails = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    return scipy.sparse.coo_array((np.ones(len(heads)), (heads, tails)), shape=(count, count)).tocsr()


def _standing_off(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) mm along the normal from the median of each point's neighbours; inf for points without triangles."""
    used = np.zeros(len(points), dtype=bool)
    used[triangles] = True
    number = np.cumsum(used) - 1
    distance = np.full(len(points), np.inf)
    if used.any():
        distance[used] = _standing_off_all(points[used], number[triangles])
    return distance


def _standing_off_all(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    edges = _neighbours(len(points), triangles)
    normals = _smooth_normals(points, triangles, edges)
    degree = np.diff(edges.indptr)
    owner = np.repeat(np.arange(len(points)), degree)
    along = np.einsum("ij,ij->i", points, normals)[owner]
    offsets = np.einsum("ij,ij->i", points[edges.indices], normals[owner]) - along
    table = np.full((len(points), degree.max()), np.inf, dtype=np.float32)
    table[owner, np.arange(len(owner)) - edges.indptr[owner]] = offsets
    table.sort(axis=1)
    rows = np.arange(len(points))
    return (table[rows, (degree - 1) // 2] + table[rows, degree // 2]) / 2


def _smooth_normals(points: np.ndarray, triangles: np.ndarray, edges: scipy.sparse.csr_array) -> np.ndarray:
    """(N, 3) normals averaged over the faces, each counting once, and again over the neighbours' neighbours.

    Unit normals, unlike area-weighted ones, keep a spike's long flanks from outvoting the surface round it.
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    faces = _unit(np.cross(b - a, c - a))
    normals = np.stack(
        [sum(np.bincount(triangles[:, k], faces[:, axis], len(points)) for k in range(3)) for axis in range(3)], axis=1
    )
    for _ in range(2):
        normals = _unit(normals + edges @ normals)
    return normals


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)), 1e-12)[:, None]


def _in_large_part(count: int, triangles: np.ndarray, smallest: int) -> np.ndarray:
    _, part = scipy.sparse.csgraph.connected_components(_neighbours(count, triangles), directed=False)
    return np.bincount(part)[part] >= smallest
