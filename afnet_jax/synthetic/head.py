"""A person's face while showing an expression: the template's nodes in space, with eyeballs, teeth and open mouth."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from afnet_jax.synthetic import template
from afnet_jax.synthetic.expression import Shown
from afnet_jax.synthetic.identity import Person, draw_person, resting_skin
from afnet_jax.synthetic.template import ABOVE_EYES, ARC, EYE_LINE, SHAPE, X, Y, bump

_UPPER_LID_AT_REST, _LOWER_LID_AT_REST = 5.4, 2.8  # mm off the eyes' line
_LEAST_APERTURE = 0.8  # mm: eyes never shut, as the databases ask of people
_EYEBALL = np.array([17.0, 13.0, 12.5])  # mm, half axes of what the lids slide on
_LID_THICKNESS = 0.9
_CAVITY = 9.0  # mm behind the lips, where the mouth is dark
_TEETH = 4.0  # mm behind the lips
EYE_PATCHES, MOUTH_PATCH = ((-60.0, -126.0), (60.0, -126.0)), (0.0, -126.0)
TEETH_EDGE = 14.0  # mm of the mouth's patch above and below its middle, where teeth end and the dark begins


@dataclasses.dataclass(frozen=True)
class Head:
    """The clean surface. R rows, C columns of the template.

    Attributes:
        points: (R, C, 3) mm; the person looks along +z, the resting nose tip's z is 0.
        paint: (R, C, 2) where each node lies on the person's painted sheet, template mm.
        aperture: (R, C) mm that the cuts stand open at a node: 0 on the skin, >0 on the lining of an open eye or mouth.
    """

    points: np.ndarray
    paint: np.ndarray
    aperture: np.ndarray


@functools.lru_cache(maxsize=8)
def person_at_rest(subject: int, seed: int) -> tuple[Person, np.ndarray]:
    """The person and its resting skin; kept, since a person is scanned a dozen times."""
    person = draw_person(subject, seed)
    return person, resting_skin(person)


def shape_head(person: Person, rest: np.ndarray, expression: Shown, gaze: tuple[float, float]) -> Head:
    """Moves the resting skin by the action units, sets in the eyeballs and lines the mouth.

    Args:
        rest: (R, C, 3) of `resting_skin`.
        expression: what the face does.
        gaze: mm that the irises stand off the middle of the eyes, to the right and up.
    """
    points = rest + expression.moved
    paint = np.stack([np.broadcast_to(ARC, SHAPE), np.broadcast_to(Y, SHAPE)], axis=-1).astype(np.float64)
    aperture = np.zeros(SHAPE)
    for eye in range(2):
        _open_eye(eye, person, rest, expression.lids[eye], points, paint, aperture, gaze)
    _open_mouth(rest, points, paint, aperture)
    return Head(points, paint, aperture)


def _open_eye(eye, person, rest, lids, points, paint, aperture, gaze) -> None:
    """Parts the lids of one eye (0 right, 1 left) and lays the eyeball between them."""
    side = (-1, 1)[eye]
    half = np.flatnonzero(X[0] * side > 5)
    cols = slice(half[0], half[-1] + 1)
    centre = template.interpolate(rest, np.array([template.place(31.0 * side, EYE_LINE)]))[0]
    front = centre[2] + 2.0 + person.shape["eye_depth"]
    opening = 1 + person.shape["eye_opening"]
    upper, lower = _UPPER_LID_AT_REST * opening + lids[0], _LOWER_LID_AT_REST * opening + lids[1]
    lacking = max(_LEAST_APERTURE - upper - lower, 0.0) / 2
    distance = (Y - EYE_LINE) / 6
    fade = template.EYE_PROFILE[:, cols] * np.exp(-0.5 * distance**2)
    points[:, cols, 1] += np.where(ABOVE_EYES, upper + lacking, -lower - lacking) * fade
    near = np.minimum(1.7 * bump(31, EYE_LINE, 9.0, 4.6)[:, cols], 1)
    ball = _eyeball(points[:, cols], centre, front)
    points[:, cols, 2] += near * (ball + _LID_THICKNESS - points[:, cols, 2])
    low, high = points[template.LOWER_LID, cols], points[template.UPPER_LID, cols]
    fraction = np.linspace(0, 1, len(template.EYE_LINING))[:, None, None]
    lining = low + fraction * (high - low)
    behind = (template.IN_EYE[0, cols] & (fraction[..., 0] > 0) & (fraction[..., 0] < 1))[..., None]
    lining[..., 2:] = np.where(behind, _eyeball(lining, centre, front)[..., None], lining[..., 2:])
    points[template.EYE_LINING, cols] = lining
    paint[template.EYE_LINING, cols] = lining[..., :2] - centre[:2] - gaze + EYE_PATCHES[eye]
    aperture[template.EYE_LINING, cols] = np.where(template.IN_EYE[0, cols], high[:, 1] - low[:, 1], 0)


def _eyeball(points: np.ndarray, centre: np.ndarray, front: float) -> np.ndarray:
    offset = (points[..., :2] - centre[:2]) / _EYEBALL[:2]
    return front - _EYEBALL[2] * (1 - np.sqrt(np.maximum(1 - (offset**2).sum(axis=-1), 0.02)))


def _open_mouth(rest, points, paint, aperture) -> None:
    """Lines the mouth with teeth, which show where the lips part, and with a dark cavity between them."""
    low, high = points[template.LOWER_LIP], points[template.UPPER_LIP]
    resting = rest[template.UPPER_LIP, SHAPE[1] // 2, 1]
    fraction = np.linspace(0, 1, len(template.MOUTH_LINING))[:, None]
    lining = low + fraction[..., None] * (high - low)
    gap = high[:, 1] - low[:, 1]
    # The upper teeth belong to the skull. The lower ones go down with the jaw, of which the lip's middle tells.
    middle = SHAPE[1] // 2
    jaw = min(0.0, low[middle, 1] - resting + 5.0)
    upper_edge, lower_edge = resting - 1.5, resting - 2.2 + jaw
    y = lining[..., 1]
    to_upper, to_lower = upper_edge - y, y - lower_edge
    in_dark = np.clip(np.minimum(to_upper, to_lower) / 1.5, 0, 1)
    depth = _TEETH + (_CAVITY - _TEETH) * in_dark
    depth = np.minimum(depth, 1.2 * gap) * np.clip(8 * fraction * (1 - fraction), 0, 1)
    lining[..., 2] -= depth
    points[template.MOUTH_LINING] = lining
    above = to_upper < to_lower
    along = np.where(
        above, TEETH_EDGE - np.minimum(to_upper, TEETH_EDGE), np.minimum(to_lower, TEETH_EDGE) - TEETH_EDGE
    )
    paint[template.MOUTH_LINING] = np.stack([lining[..., 0], along], axis=-1) + MOUTH_PATCH
    aperture[template.MOUTH_LINING] = np.where(template.IN_MOUTH, gap, 0)


def is_mouth_lining(paint: np.ndarray) -> np.ndarray:
    """(...) bool: whether (..., 2) places of the painted sheet are inside the mouth."""
    offset = np.abs(paint - MOUTH_PATCH)
    return (offset[..., 0] < 37) & (offset[..., 1] < 22)
