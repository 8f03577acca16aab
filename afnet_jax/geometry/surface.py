"""Cleaning of a scanned mesh: removes spikes, isolated pieces and triangles that bridge a gap."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from afnet_jax.geometry.bridges import find_bridges
from afnet_jax.geometry.triangles import area_vectors, lengths, longest_edges, unit

# Of white noise, the spread of what a point stands off more than its neighbours do, against the spread of what it
# stands off: 1.29 to 1.31 on regular and on random meshes.
_MORE_THAN_NEIGHBOURS = 1.3
_MOST_NEIGHBOURS = 32  # of a point that is judged beside the others; the hub of a fan may have thousands


@dataclasses.dataclass(frozen=True)
class SurfaceConfig:
    """Thresholds for outliers, chosen by measurement on surfaces whose truth is known.

    Attributes:
        spike: mm along the normal by which a point may stand off the median of its neighbours.
        spike_edges: the same in median edge lengths: coarse meshes cut corners by more. The largest bound holds.
        spike_slope: the same as a share of the median edge of the ring of its neighbours: where points are far apart, a
            surface bends by more between them. It counts only in a coarse mesh.
        coarse_share: share of its area, in triangles with an edge longer than max_edge, beyond which a mesh is coarse.
        rounds: times the search is repeated, since a spike may hide its neighbour.
        min_part: points of a connected part below which it is an isolated bit.
        max_edge: mm, longest edge of a triangle that is surface and not a bridge over a gap; never less than
            max_edge_ratio median edges.
        max_edge_ratio: see max_edge.
    """

    spike: float = 2.0
    spike_edges: float = 0.8
    spike_slope: float = 0.4
    coarse_share: float = 0.25
    rounds: int = 3
    min_part: int = 30
    max_edge: float = 6.0
    max_edge_ratio: float = 4.0


@dataclasses.dataclass(frozen=True)
class CleanSurface:
    """The result of cleaning a mesh of N points and T triangles.

    Attributes:
        points: (N,) bool, points to keep.
        triangles: (T,) bool, triangles to keep.
        bridges: (T,) bool, triangles dropped since they span a step or a gap.
        longest: (T,) mm, longest edge of each triangle.
        area: (T,) mm².
        noise: mm, robust standard deviation of the points about their neighbourhood.
        edge: mm, median length of the triangles' edges.
    """

    points: np.ndarray
    triangles: np.ndarray
    bridges: np.ndarray
    longest: np.ndarray
    area: np.ndarray
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
    longest, area = longest_edges(points, triangles), lengths(area_vectors(points, triangles)) / 2
    # In a scanner's mesh large triangles are few, and most of them a spike's flanks.
    is_coarse = area[longest > config.max_edge].sum() > config.coarse_share * area.sum()
    slope = config.spike_slope if is_coarse else 0.0
    offset = _offsets(points, triangles)
    spikes = _too_far_off(offset, points, triangles, bound, slope)
    good = ~spikes
    kept = _whole(good, triangles)
    noise = _noise(offset, triangles[kept])
    for _ in range(config.rounds - 1):
        if not spikes.any():
            break
        near = _surroundings(spikes, triangles)
        around = triangles[kept & near[triangles].any(axis=1)]
        spikes = near & good
        spikes &= _too_far_off(_offsets(points, around), points, around, bound, slope)
        good &= ~spikes
        kept = _whole(good, triangles)
    limit = max(config.max_edge, config.max_edge_ratio * edge)
    bridges = np.zeros(len(triangles), dtype=bool)
    bridges[kept] = find_bridges(points, triangles[kept], longest[kept], limit, config.max_edge_ratio)
    kept &= ~bridges
    good &= _in_large_part(len(points), triangles[kept], config.min_part)
    return CleanSurface(good, kept & _whole(good, triangles), bridges, longest, area, noise, edge)


def _too_far_off(
    offset: np.ndarray, points: np.ndarray, triangles: np.ndarray, bound: float, slope: float
) -> np.ndarray:
    """(N,) bool: off by more than the bound, and by more than a share of the edges of the ring of neighbours.

    Those edges do not end in the point itself, so that a spike does not lengthen them.
    """
    far = np.abs(offset) > bound
    suspects = far & np.isfinite(offset)
    if not slope or not suspects.any():
        return far
    near = triangles[suspects[triangles].any(axis=1)]
    owner = near.ravel()
    opposite = np.linalg.norm(points[np.roll(near, -1, axis=1)] - points[np.roll(near, 1, axis=1)], axis=2).ravel()
    owner, opposite = owner[suspects[owner]], opposite[suspects[owner]]
    order = np.lexsort((opposite, owner))
    found, first, count = np.unique(owner[order], return_index=True, return_counts=True)
    far[found] = np.abs(offset[found]) > np.maximum(bound, slope * opposite[order][first + count // 2])
    return far


def _noise(offset: np.ndarray, triangles: np.ndarray) -> float:
    """Robust standard deviation of the points about their surface, mm.

    Where the surface bends, a point stands off its neighbours by about as much as they do off theirs: how far it
    stands off more than they do is noise, however large the triangles are.
    """
    if not len(triangles):
        return 0.0
    total, count = np.zeros(len(offset)), np.bincount(triangles.ravel(), minlength=len(offset))
    for corner, one, other in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        total += np.bincount(triangles[:, corner], offset[triangles[:, one]] + offset[triangles[:, other]], len(offset))
    used = count > 0
    more = offset[used] - total[used] / (2 * count[used])
    return float(np.median(np.abs(more)) / 0.6745 / _MORE_THAN_NEIGHBOURS)


def _surroundings(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) bool: points that share a triangle with the given ones, and those that share one with these."""
    for _ in range(2):
        grown = np.zeros_like(points)
        grown[triangles[points[triangles].any(axis=1)]] = True
        points = grown
    return points


def _median_edge(points: np.ndarray, triangles: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points[triangles[:, 0]] - points[triangles[:, 1]], axis=1)))


def _neighbours(count: int, triangles: np.ndarray) -> scipy.sparse.csr_array:
    """(N, N) sparse pattern of the mesh's edges."""
    heads = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    tails = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    return scipy.sparse.coo_array((np.ones(len(heads)), (heads, tails)), shape=(count, count)).tocsr()


def _offsets(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N,) mm along the normal from the median of each point's neighbours; inf for points without triangles."""
    used = np.zeros(len(points), dtype=bool)
    used[triangles] = True
    number = np.cumsum(used) - 1
    distance = np.full(len(points), np.inf)
    if used.any():
        distance[used] = _offsets_from_neighbours(points[used], number[triangles])
    return distance


def _offsets_from_neighbours(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    edges = _neighbours(len(points), triangles)
    normals = _smooth_normals(points, triangles, edges)
    degree = np.diff(edges.indptr)
    owner = np.repeat(np.arange(len(points)), degree)
    along = np.einsum("ij,ij->i", points, normals)[owner]
    offsets = np.einsum("ij,ij->i", points[edges.indices], normals[owner]) - along
    few = degree <= _MOST_NEIGHBOURS
    table = np.full((len(points), degree[few].max(initial=1)), np.inf, dtype=np.float32)
    of_few = few[owner]
    table[owner[of_few], (np.arange(len(owner)) - edges.indptr[owner])[of_few]] = offsets[of_few]
    table.sort(axis=1)
    rows, middle = np.arange(len(points)), np.where(few, degree, 0)
    medians = (table[rows, np.maximum(middle - 1, 0) // 2] + table[rows, middle // 2]) / 2
    for hub in np.flatnonzero(~few):
        medians[hub] = np.median(offsets[edges.indptr[hub] : edges.indptr[hub + 1]])
    return medians


def _smooth_normals(points: np.ndarray, triangles: np.ndarray, edges: scipy.sparse.csr_array) -> np.ndarray:
    """(N, 3) normals averaged over the faces, each counting once, and again over the neighbours' neighbours.

    Unit normals, unlike area-weighted ones, keep a spike's long flanks from outvoting the surface round it.
    """
    faces = unit(area_vectors(points, triangles))
    normals = np.stack(
        [sum(np.bincount(triangles[:, k], faces[:, axis], len(points)) for k in range(3)) for axis in range(3)], axis=1
    )
    for _ in range(2):
        normals = unit(normals + edges @ normals)
    return normals


def _in_large_part(count: int, triangles: np.ndarray, smallest: int) -> np.ndarray:
    # Two edges connect the corners of a triangle.
    heads, tails = triangles[:, :2].ravel(), triangles[:, 1:].ravel()
    graph = scipy.sparse.coo_array((np.ones(len(heads), np.int8), (heads, tails)), shape=(count, count))
    _, part = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return np.bincount(part)[part] >= smallest


def _whole(good: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(T,) bool: triangles whose corners are all good."""
    a, b, c = triangles.T
    return good[a] & good[b] & good[c]
