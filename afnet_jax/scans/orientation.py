"""Orientation of a surface and its texture: clockwise triangles, mirrored texture maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_CELL = 5.0  # mm: of the places at which the foremost triangle is looked up
_SPIKE, _TIMES_USUAL = 30.0, 8.0  # mm, and times the median triangle: longer ones are no face's
_MOST_STEPS = 12  # parts of an edge: triangles beyond 6 cm are no face's


_EYES = (("right_eye_outer", "right_eye_inner"), ("left_eye_inner", "left_eye_outer"))
_BELOW = (
    "mouth_right",
    "mouth_left",
    "upper_lip_outer",
    "lower_lip_outer",
    "chin",
    "right_nose_wing",
    "left_nose_wing",
)


def front_of(landmarks: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Returns the (3, 3) rotation that turns a face towards the camera, None where landmarks do not tell.

    Its rows are the directions to the face's left, to its top and to its front: x' = x @ rotation.T is seen from +z'.
    """
    eyes = [[landmarks[name] for name in side if name in landmarks] for side in _EYES]
    below = [landmarks[name] for name in _BELOW if name in landmarks]
    if not all(eyes) or not below:
        return None
    right, left, under = (np.mean(each, axis=0) for each in (*eyes, below))
    across, up = left - right, (left + right) / 2 - under
    front = np.cross(across, up)
    if not np.linalg.norm(across) or not np.linalg.norm(front) > 1e-6 * np.linalg.norm(across) * np.linalg.norm(up):
        return None
    x, z = across / np.linalg.norm(across), front / np.linalg.norm(front)
    return np.stack([x, np.cross(z, x), z])


def clockwise_share(points: np.ndarray, triangles: np.ndarray) -> float:
    """Returns the share of the surface seen from the camera (+z) whose triangles run clockwise, by area.

    A closed head shows its back as much as its face, so only the foremost triangle of each cell of 5 mm counts. Flanks
    of spikes, which run any way, stand before the face: triangles far longer than most do not count.

    Args:
        points: (N, 3) mm.
        triangles: (T, 3) indices.
    """
    longest = np.linalg.norm(points[triangles] - points[triangles[:, [1, 2, 0]]], axis=2).max(axis=1)
    triangles = triangles[longest <= max(_SPIKE, _TIMES_USUAL * np.median(longest))]
    area, seen = _areas(points[triangles][..., :2]), _foremost(points, triangles)
    return _share(np.abs(area[seen]), area[seen] < 0)


def mirrored_share(points: np.ndarray, triangles: np.ndarray, uv: np.ndarray, uv_triangles: np.ndarray) -> float:
    """Returns the share of the surface seen from the camera that shows its part of the picture mirrored, by area.

    However a chart is turned in the picture, x y and u v (from the top) have opposite handedness. A v that counts from
    the bottom mirrors it. So does a picture that is itself stored mirrored and looked up rightly, which cannot be told
    apart; a picture turned by 180 degrees looks the same as one that is not.

    Args:
        points, triangles: see Scan.
        uv: (M, 2), v from the picture's top.
        uv_triangles: (T, 3) indices into uv.
    """
    seen = _foremost(points, triangles)
    area, place = _areas(points[triangles[seen]][..., :2]), _areas(uv[uv_triangles[seen]].astype(np.float64))
    return _share(np.abs(area) * (place != 0), area * place > 0)


def unrolled_share(points: np.ndarray, triangles: np.ndarray, uv: np.ndarray, uv_triangles: np.ndarray) -> float:
    """Returns the share of a surface that shows its part of the picture mirrored, seen from where triangles run
    counter-clockwise: `mirrored_share` without a camera.

    Args:
        points, triangles: see Scan.
        uv: (M, 2), v from the picture's top.
        uv_triangles: (T, 3) indices into uv.
    """
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    place = _areas(uv[uv_triangles].astype(np.float64))
    return _share(np.linalg.norm(np.cross(b - a, c - a), axis=1) * (place != 0), place > 0)


def _areas(corners: np.ndarray) -> np.ndarray:
    """(T,) doubled areas of (T, 3, 2) triangles, positive where counter-clockwise in axes to the right and up."""
    (bx, by), (cx, cy) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    return bx * cy - by * cx


def _foremost(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Indices of the triangles that are the foremost of a cell; where triangles are large, at places inside them."""
    corners = points[triangles]
    extent = (corners[..., :2].max(axis=1) - corners[..., :2].min(axis=1)).max(axis=1)
    steps = np.clip(np.ceil(extent / _CELL), 1, _MOST_STEPS).astype(int)
    which, places = [], []
    for count in np.unique(steps):
        chosen = np.flatnonzero(steps == count)
        inside = np.einsum("pk,tkc->tpc", _lattice(count), corners[chosen])
        which.append(np.repeat(chosen, inside.shape[1]))
        places.append(inside.reshape(-1, 3))
    triangle, place = np.concatenate(which), np.concatenate(places)
    column, row = np.floor((place[:, :2] - place[:, :2].min(axis=0)) / _CELL).astype(np.int64).T
    cell = column * (row.max() + 1) + row
    order = np.lexsort((place[:, 2], cell))
    return np.unique(triangle[order[np.append(np.diff(cell[order]) > 0, True)]])


def _lattice(steps: int) -> np.ndarray:
    """(P, 3) barycentric coordinates of the middles of a triangle's parts, `steps` along each edge."""
    row, column = np.divmod(np.arange(steps * steps), steps)
    keep = row + column < steps
    b, c = (row[keep] + 1 / 3) / steps, (column[keep] + 1 / 3) / steps
    return np.stack([1 - b - c, b, c], axis=1)


def _share(weights: np.ndarray, chosen: np.ndarray) -> float:
    total = weights.sum()
    return float(weights[chosen].sum() / total) if total else 0.0
