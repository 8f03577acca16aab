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
_HEAD = (100.0, 700.0)  # mm, from a face cut out closely to a bust
_GUESSED_SIZE = 250.0  # mm: of a head with its neck


def millimetres(points: np.ndarray, landmarks: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """Finds the millimetres of one unit: by the landmarks' distances where there are landmarks, else by the size.

    Args:
        points: (N, 3) in the file's unit.
        landmarks: name -> (3,) in the same unit.

    Returns:
        The factor, and a remark on how it was found; "" where the unit is mm.

    Raises:
        MeshError: the points lie all in one place, or reach beyond all numbers.
    """
    for (one, other), mean in _SPANS.items():
        if one in landmarks and other in landmarks and (gap := np.linalg.norm(landmarks[one] - landmarks[other])) > 0:
            return _by_landmarks(mean / float(gap))
    return _by_size(_size(points))


def _by_landmarks(ratio: float) -> tuple[float, str]:
    for name, factor in _UNITS.items():
        if 1 / _MOST_FROM_SPAN <= ratio / factor <= _MOST_FROM_SPAN:
            return factor, "" if name == "mm" else f"the unit is {name} by the distances of the landmarks"
    return ratio, "the unit is none of mm, cm, m: scaled so that the landmarks are as far apart as a mean adult's"


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
