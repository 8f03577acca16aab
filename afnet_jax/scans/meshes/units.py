"""How many millimetres a mesh file's unit has; the formats do not say (glTF does, and exporters do not heed it)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from afnet_jax.scans.meshes.surface import MeshError

_UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
# mm between landmarks of adults, the one that varies least first (Farkas 1994: ex-ex 87, en-en 33, ch-ch 52).
_SPANS = {
    ("right_eye_outer", "left_eye_outer"): 87.0,
    ("right_eye_inner", "left_eye_inner"): 33.0,
    ("mouth_right", "mouth_left"): 52.0,
}
_MOST_FROM_SPAN = 1.7  # times, either way, that a face may differ from the mean
_SCALES = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)  # from one of the units to another
_ON_SURFACE = 0.05  # times the landmarks' extent: from a landmark to the nearest point of a coarse mesh
_HEAD = (100.0, 1000.0)  # mm, from a face cut out closely to a bust and what stands round it; a decade leaves no gap
_GUESSED_SIZE = 250.0  # mm: of a head with its neck


def millimetres(points: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """Finds the millimetres of one unit: by the landmarks' distances where there are landmarks, else by the size.

    Args:
        points: (N, 3) in the file's unit.
        landmarks: name -> (3,) in the same unit.

    Returns:
        The factor, and a remark on how it was found; "" where the unit is mm.

    Raises:
        MeshError: the points lie all in one place, or reach beyond all numbers; the landmarks are in another unit.
    """
    for (one, other), mean in _SPANS.items():
        if one in landmarks and other in landmarks and (gap := np.linalg.norm(landmarks[one] - landmarks[other])) > 0:
            found = _by_landmarks(mean / float(gap))
            if found[0] != _by_size(_size(points))[0]:
                _refuse_other_unit(points, landmarks)
            return found
    return _by_size(_size(points))


def _by_landmarks(ratio: float) -> tuple[float, str]:
    for name, factor in _UNITS.items():
        if 1 / _MOST_FROM_SPAN <= ratio / factor <= _MOST_FROM_SPAN:
            return factor, "" if name == "mm" else f"the unit is {name} by the distances of the landmarks"
    return ratio, "the unit is none of mm, cm, m: scaled so that the landmarks are as far apart as a mean adult's"


def _refuse_other_unit(points: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> None:
    """Refuses landmarks that lie off the mesh and, scaled as from one unit to another, on it."""
    import scipy.spatial  # not above: it takes longer to load than all else here, and few landmarks are looked at

    tree = scipy.spatial.KDTree(points[np.isfinite(points).all(axis=1)])
    places = np.stack(list(landmarks.values()))
    extent = np.ptp(places, axis=0).max()
    off = {scale: np.median(tree.query(scale * places)[0]) / (scale * extent) for scale in (1, *_SCALES)}
    best = min(off, key=off.__getitem__)
    if off[1] > 2 * _ON_SURFACE and off[best] < _ON_SURFACE:
        raise MeshError(
            f"the landmarks are in another unit than the mesh, on which they lie when multiplied by {best:g}; write "
            f"them in the mesh's own unit"
        )


def _by_size(size: float) -> tuple[float, str]:
    for name, factor in _UNITS.items():
        if _HEAD[0] <= size * factor <= _HEAD[1]:
            return factor, "" if name == "mm" else f"the unit is taken for {name} by the size of the mesh"
    return _GUESSED_SIZE / size, (
        f"the unit is unknown: a mesh of {size:.3g} units is no head in mm, cm or m; scaled to {_GUESSED_SIZE:g} mm"
    )


def _size(points: np.ndarray) -> float:
    """The longest side of the box round the middle 98 % of the points: spikes reach far, a face does not."""
    low, high = np.percentile(points[np.isfinite(points).all(axis=1)], [1, 99], axis=0)
    size = float((high - low).max())
    if not 1e-6 < size < 1e9:
        raise MeshError(f"the mesh is {size:.3g} units large, expected a face in mm, cm or m")
    return size
