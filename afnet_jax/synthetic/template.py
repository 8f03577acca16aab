"""The sheet of nodes that every synthetic face is stretched from, and where eyes, mouth and landmarks lie on it.

Template coordinates are mm on an average face that looks along +z: x to the image's right, y up, the nose tip at
(0, 0). Columns are even in the arc along the cheek, x = HALF_WIDTH · sin(arc / HALF_WIDTH), so that the sides are
sampled as densely as the front. The sheet is cut along the mouth's and the eyes' line; further rows line each cut, and
open with it into mouth and eyeball.
R rows run from chin to forehead, C columns from the subject's right to the left.
"""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Mapping

import numpy as np

HALF_WIDTH = 74.0  # mm, of the average head
MOUTH_LINE, MOUTH_CORNER = -38.0, 27.0  # y of the cut, |x| of its ends
EYE_LINE, EYE_INNER, EYE_OUTER = 29.0, 18.5, 43.5
_FURTHEST_ARC = 93.0
_MOUTH_ROWS, _EYE_ROWS = 12, 9  # that line each cut
_FINE, _COARSE = 1.3, 2.3  # mm between nodes: in the face's middle, towards its rim


def _steps(*knots: tuple[float, float]) -> np.ndarray:
    """Places from the first knot's to the last's; between two knots the spacing is that of the second."""
    pieces = [np.array([knots[0][0]])]
    for (start, _), (end, spacing) in itertools.pairwise(knots):
        pieces.append(np.linspace(start, end, round((end - start) / spacing) + 1)[1:])
    return np.concatenate(pieces)


def _with_cut(y: np.ndarray, inside: np.ndarray, line: float, rows: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Puts an edge row and `rows` lining rows in before the row of y = line, which becomes the other edge."""
    at = int(np.argmin(np.abs(y - line)))
    lining = np.concatenate([[0.0], sign * np.linspace(1e-6, 1.0, rows)])
    return np.insert(y, at, np.full(rows + 1, line)), np.insert(inside, at, lining)


_BELOW = _steps((-101, 0), (-64, _COARSE), (MOUTH_LINE, _FINE))
_MIDDLE = _steps((MOUTH_LINE, 0), (EYE_LINE, _FINE))
_ABOVE = _steps((EYE_LINE, 0), (60, _FINE), (89, _COARSE))
_PLAIN = np.concatenate([_BELOW, _MIDDLE[1:], _ABOVE[1:]])
_ROW_Y, _LINING = _with_cut(_PLAIN, np.zeros(len(_PLAIN)), MOUTH_LINE, _MOUTH_ROWS, 1)
_ROW_Y, _LINING = _with_cut(_ROW_Y, _LINING, EYE_LINE, _EYE_ROWS, -1)

ARC = _steps((-_FURTHEST_ARC, 0), (-52, _COARSE), (52, _FINE), (_FURTHEST_ARC, _COARSE))[None, :]  # (1, C)
X = HALF_WIDTH * np.sin(ARC / HALF_WIDTH)  # (1, C)
Y = _ROW_Y[:, None]  # (R, 1)
SHAPE = (Y.size, X.size)

MOUTH_LINING = np.flatnonzero(_LINING > 0)  # rows, from the lower lip to the upper
EYE_LINING = np.flatnonzero(_LINING < 0)  # rows, from the lower lid to the upper
SKIN_ROWS = np.flatnonzero(_LINING == 0)
LOWER_LIP, UPPER_LIP = MOUTH_LINING[0] - 1, MOUTH_LINING[-1] + 1  # edge rows
LOWER_LID, UPPER_LID = EYE_LINING[0] - 1, EYE_LINING[-1] + 1
ABOVE_MOUTH = (np.arange(Y.size) >= UPPER_LIP)[:, None]  # (R, 1)
ABOVE_EYES = (np.arange(Y.size) >= UPPER_LID)[:, None]

# How far the cuts can open along their length, 0 at the corners and 1 in the middle; (1, C).
MOUTH_PROFILE = np.sqrt(np.maximum(1 - (X / MOUTH_CORNER) ** 2, 0))
_EYE_REACH = (np.abs(X) - (EYE_INNER + EYE_OUTER) / 2) / ((EYE_OUTER - EYE_INNER) / 2)
EYE_PROFILE = np.maximum(1 - _EYE_REACH**2, 0) ** 0.6
IN_EYE = EYE_PROFILE > 0
IN_MOUTH = MOUTH_PROFILE > 0


def bump(x: float, y: float, width: float, height: float) -> np.ndarray:
    """(R, C) Gaussian hill at (±x, y) of standard deviations width and height, mm."""
    across = np.exp(-0.5 * ((np.abs(X) - x) / width) ** 2)
    return across * np.exp(-0.5 * ((Y - y) / height) ** 2)


def ramp(y_from: float, y_to: float) -> np.ndarray:
    """(R, 1) smooth step over y: 0 at y_from, 1 at y_to."""
    t = np.clip((Y - y_from) / (y_to - y_from), 0, 1)
    return t * t * (3 - 2 * t)


def furrow(points: tuple[tuple[float, float], ...], width: float) -> np.ndarray:
    """(R, C) hill of standard deviation `width`, mm, along a line through (±x, y) points."""
    nearest = np.full(SHAPE, np.inf)
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        dx, dy = bx - ax, by - ay
        t = np.clip(((np.abs(X) - ax) * dx + (Y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, (np.abs(X) - ax - t * dx) ** 2 + (Y - ay - t * dy) ** 2)
    return np.exp(-0.5 * nearest / width**2)


@functools.cache
def triangles() -> np.ndarray:
    """(T, 3) int32 indices into the raveled nodes, counter-clockwise seen from the camera."""
    index = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int32).reshape(SHAPE)
    a, b, c, d = (corner.ravel() for corner in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def interpolate(nodes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of (R, C, K) nodes at (N, 2) fractional (row, col), on the very triangles of `triangles()`: (N, K)."""
    row, col = np.minimum(places.astype(int), np.array(SHAPE) - 2).T
    down, across = (places - np.stack([row, col], axis=1)).T[:, :, None]
    a, b, c, d = nodes[row, col], nodes[row, col + 1], nodes[row + 1, col + 1], nodes[row + 1, col]
    lower = a + across * (b - a) + down * (c - b)
    upper = a + down * (d - a) + across * (c - d)
    return np.where(across >= down, lower, upper)


def place(x: float, y: float) -> tuple[float, float]:
    """Fractional (row, col) of a template point off the cuts."""
    arc = HALF_WIDTH * np.arcsin(x / HALF_WIDTH)
    return float(np.interp(y, _ROW_Y[SKIN_ROWS], SKIN_ROWS)), float(np.interp(arc, ARC[0], np.arange(SHAPE[1])))


def _on(row: int, x: float) -> tuple[float, float]:
    return float(row), place(x, 0.0)[1]


def _mirrored(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(-x, y) for x, y in points]


def _eye(side: int) -> list[tuple[float, float]]:
    """Eight places round an eye: inner corner, upper lid outwards, outer corner, lower lid inwards."""
    inside = np.linspace(EYE_INNER, EYE_OUTER, 5)
    upper = [_on(UPPER_LID, side * x) for x in inside[1:4]]
    lower = [_on(LOWER_LID, side * x) for x in inside[3:0:-1]]
    return [_on(UPPER_LID, side * EYE_INNER), *upper, _on(UPPER_LID, side * EYE_OUTER), *lower]


BROW_UPPER = [(9.0, 48.5), (21.0, 51.5), (33.5, 52.5), (45.0, 50.0), (54.0, 44.5)]
BROW_LOWER = [(54.0, 42.5), (45.0, 45.5), (33.5, 47.0), (21.0, 45.5), (9.0, 42.5)]
_NOSE = [(-7.5, 28.0), (-10.0, 13.0), (-12.0, 5.0), (-18.0, -4.0), (-12.5, -9.5), (-5.5, -11.0)]
UPPER_LIP_OUTLINE = [(-18.0, -31.5), (-6.5, -28.3), (0.0, -29.6), (6.5, -28.3), (18.0, -31.5)]
LOWER_LIP_OUTLINE = [(19.0, -43.5), (10.5, -48.0), (0.0, -49.5), (-10.5, -48.0), (-19.0, -43.5)]
_CONTOUR = [
    (-60.0, 31.0),
    (-63.0, 11.0),
    (-62.0, -11.0),
    (-58.5, -34.0),
    (-53.0, -48.0),
    (-41.0, -63.0),
    (-22.0, -75.0),
]


@functools.cache
def bu3dfe_places() -> np.ndarray:
    """(83, 2) fractional (row, col) of BU-3DFE's landmarks, in its order."""
    corner, inner = 0.985 * MOUTH_CORNER, 0.9 * MOUTH_CORNER
    places = [*_eye(-1), *_eye(1)]
    right_brow, left_nose = _mirrored(BROW_UPPER + BROW_LOWER), _mirrored(_NOSE)
    nose = [*_NOSE, (0.0, -12.0), *(left_nose[k] for k in (5, 3, 2, 1, 0))]  # its left side has one point less
    places += [place(x, y) for x, y in right_brow + BROW_UPPER + BROW_LOWER + nose]
    places += [_on(UPPER_LIP, -corner), *(place(x, y) for x, y in UPPER_LIP_OUTLINE), _on(UPPER_LIP, corner)]
    places += [place(x, y) for x, y in LOWER_LIP_OUTLINE]
    places += [_on(UPPER_LIP, x) for x in (-inner, -11.0, 0.0, 11.0, inner)]
    places += [_on(LOWER_LIP, x) for x in (11.0, 0.0, -11.0)]
    places += [place(x, y) for x, y in [*_CONTOUR, (0.0, -81.0), *_mirrored(_CONTOUR)[::-1]]]
    return np.array(places)


@functools.cache
def multipie_places() -> np.ndarray:
    """(68, 2) fractional (row, col) of the 68-point set of Multi-PIE and iBUG, in its order."""
    corner, inner = 0.985 * MOUTH_CORNER, 0.9 * MOUTH_CORNER
    jaw = [(-65.0, 22.0), (-66.0, 4.0), (-64.0, -15.0), (-60.0, -32.0), (-53.0, -48.0), (-43.0, -61.0), (-30.0, -71.0)]
    jaw = [*jaw, (-15.0, -79.0), (0.0, -82.0)]
    brow = [(x, y + 0.5) for x, y in BROW_UPPER]
    nose = [(0.0, 28.0), (0.0, 18.0), (0.0, 9.0), (0.0, 0.0), (-13.0, -9.0), (-6.5, -11.0), (0.0, -12.0)]
    below = [*nose, (6.5, -11.0), (13.0, -9.0)]
    places = [place(x, y) for x, y in jaw + _mirrored(jaw)[-2::-1] + _mirrored(brow)[::-1] + brow + below]
    right, left = _eye(-1), _eye(1)
    places += [right[4], right[3], right[1], right[0], right[7], right[5]]
    places += [left[0], left[1], left[3], left[4], left[5], left[7]]
    places += [_on(UPPER_LIP, -corner), *(place(x, y) for x, y in UPPER_LIP_OUTLINE), _on(UPPER_LIP, corner)]
    places += [place(x, y) for x, y in LOWER_LIP_OUTLINE]
    places += [_on(UPPER_LIP, x) for x in (-inner, -11.0, 0.0, 11.0, inner)]
    return np.array(places + [_on(LOWER_LIP, x) for x in (11.0, 0.0, -11.0)])


@functools.cache
def common_places() -> Mapping[str, tuple[float, float]]:
    """Fractional (row, col) of each of `scan.LANDMARKS`; kept, and so not to be altered."""
    corner = 0.985 * MOUTH_CORNER
    middle = {"upper_lip_outer": place(0.0, -29.6), "lower_lip_outer": place(0.0, -49.5), "chin": place(0.0, -76.0)}
    middle |= {"upper_lip_inner": _on(UPPER_LIP, 0.0), "lower_lip_inner": _on(LOWER_LIP, 0.0)}
    middle |= {"nose_tip": place(0.0, 0.0)}
    for side, sign in (("right", -1), ("left", 1)):
        middle |= {
            f"{side}_brow_outer": place(sign * 54.0, 43.5), f"{side}_brow_middle": place(sign * 33.5, 49.75),
            f"{side}_brow_inner": place(sign * 9.0, 45.5), f"{side}_eye_outer": _on(UPPER_LID, sign * EYE_OUTER),
            f"{side}_eye_inner": _on(UPPER_LID, sign * EYE_INNER), f"{side}_nose_saddle": place(sign * 7.5, 30.0),
            f"{side}_nose_wing": place(sign * 18.0, -4.0), f"mouth_{side}": _on(UPPER_LIP, sign * corner),
        }  # fmt: skip
    return types.MappingProxyType(middle)
