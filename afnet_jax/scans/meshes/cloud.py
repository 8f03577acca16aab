"""A surface through a cloud of points, as depth cameras and photogrammetry give.

Points are joined to the neighbours that they have as seen from a centre inside the head: their directions from it lie
on a sphere, where the convex hull is the Delaunay triangulation (Brown 1979). The centre is that of the sphere that
fits the cloud best, which for a face alone lies some 9 cm behind it. No axis is taken for up or front. Surfaces that
lie behind one another from there, such as the back of an ear or of a nostril, are not told apart.
"""

from __future__ import annotations

import numpy as np

from afnet_jax.scans.meshes.surface import MeshError, Part, Surface

_MOST_POINTS = 100_000
_FEWEST_POINTS = 300
_LONGEST = 8.0  # times the median distance of neighbours: longer edges span a gap, not the surface
_FIT_ROUNDS = 5


def meshed(cloud: Surface) -> Surface:
    """Returns the surface through a point cloud; counter-clockwise from outside.

    Args:
        cloud: without parts. Points that are no numbers are left out; more than 100,000 are thinned evenly.

    Raises:
        MeshError: too few points, or points that do not lie round a centre.
    """
    good = np.isfinite(cloud.points).all(axis=1)
    keep = np.flatnonzero(good)
    if len(keep) < _FEWEST_POINTS:
        raise MeshError(f"a cloud of {len(keep)} points, expected at least {_FEWEST_POINTS}")
    # Coordinates beyond a float32's range overflow in squares; no unit of a face reaches there.
    keep = keep[(np.abs(cloud.points[keep]) < 1e9).all(axis=1)]
    keep = _thinned(cloud.points, keep)
    points = cloud.points[keep]
    center = center_of(points)
    arms = points - center
    distance = np.linalg.norm(arms, axis=1)
    away = distance > 1e-6 * np.median(distance)
    keep, points, arms, distance = keep[away], points[away], arms[away], distance[away]
    if len(keep) < _FEWEST_POINTS:
        raise MeshError(f"a cloud of {len(keep)} different points, expected at least {_FEWEST_POINTS}")
    triangles = _triangles(points, arms / distance[:, None])
    remarks = (*cloud.remarks, f"a surface was laid through a cloud of points ({len(triangles):,} triangles)")
    colours = None if cloud.colours is None else cloud.colours[keep]
    return Surface(points, (Part(triangles),), colours=colours, remarks=remarks)


def _thinned(points: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """One point of each cell of a grid that is just fine enough to leave at most _MOST_POINTS."""
    low, high = (np.percentile(points[keep], share, axis=0) for share in (1, 99)) if len(keep) else (0, 0)
    cell = float(np.max(high - low)) / 2000 if len(keep) else 0.0
    chosen = keep
    while len(chosen) > _MOST_POINTS and cell > 0:
        places = np.floor((points[keep] - low) / cell).clip(-1e6, 1e6).astype(np.int64)
        _, first = np.unique((places * (1, 1 << 21, 1 << 42)).sum(axis=1), return_index=True)
        chosen = keep[np.sort(first)]
        cell *= 1.3
    return chosen[:: -(-len(chosen) // _MOST_POINTS)] if len(chosen) > _MOST_POINTS else chosen


def center_of(points: np.ndarray) -> np.ndarray:
    """(3,) centre of the sphere that fits best, points far from it left out round by round."""
    middle = np.median(points, axis=0)
    size = np.median(np.linalg.norm(points - middle, axis=1)) or 1.0
    scaled = (points - middle) / size
    chosen = np.ones(len(points), dtype=bool)
    center = np.zeros(3)
    for _ in range(_FIT_ROUNDS):
        matrix = np.column_stack([2 * scaled[chosen], np.ones(chosen.sum())])
        solution, *_ = np.linalg.lstsq(matrix, (scaled[chosen] ** 2).sum(axis=1), rcond=None)
        center = solution[:3]
        gaps = np.abs(np.linalg.norm(scaled - center, axis=1) - np.sqrt(max(solution[3] + center @ center, 0)))
        chosen = gaps <= 3 * np.median(gaps) + 1e-9
        if chosen.sum() < _FEWEST_POINTS // 2:
            break
    reach = np.linalg.norm(center)
    return middle + size * center * min(1.0, 20 / reach if reach else 1.0)


def _triangles(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    import scipy.spatial  # not above: it takes longer to load than all else here, and few scans are clouds

    try:
        hull = scipy.spatial.ConvexHull(directions)
    except scipy.spatial.QhullError:
        raise MeshError("its points lie in a plane or on a line as seen from their middle, expected a face") from None
    a, b, c = hull.simplices.T
    # Qhull's facets point either way; outward is away from the centre, the origin of the directions' hull.
    normal = np.cross(directions[b] - directions[a], directions[c] - directions[a])
    inward = np.einsum("ij,ij->i", normal, hull.equations[:, :3]) < 0
    triangles = hull.simplices.copy()
    triangles[inward] = triangles[inward][:, ::-1]
    longest = np.max(
        [np.linalg.norm(points[triangles[:, k]] - points[triangles[:, k - 1]], axis=1) for k in range(3)], 0
    )
    nearest = scipy.spatial.KDTree(points).query(points, k=2)[0][:, 1]
    apart = nearest[nearest > 0]  # a point may be there twice
    triangles = triangles[longest <= _LONGEST * np.median(apart)] if len(apart) else triangles[:0]
    if not len(triangles):
        raise MeshError("its points lie too far apart to tell a surface from gaps")
    return triangles.astype(np.int64)
