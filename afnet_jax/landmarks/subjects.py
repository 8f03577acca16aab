"""Synthetic heads to train the detector on, drawn far more widely than those of the default data set."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from afnet_jax.landmarks import bodies
from afnet_jax.scans.scan import EXPRESSION_CODES, LANDMARKS, NEUTRAL_CODE
from afnet_jax.synthetic import sensor, template
from afnet_jax.synthetic.expression import UNITS, Activation, draw_activation
from afnet_jax.synthetic.head import shape_head
from afnet_jax.synthetic.identity import draw_person, resting_skin
from afnet_jax.synthetic.varied import exaggerated, warp

_EXAGGERATED = 0.6, 1.7  # least and most that the default subjects' deviations from the average are multiplied by
_SIZE = -0.16, 0.13  # of the whole head, fractions
# Where a name lies by definition differs between face models. The detector's names lie where the canonical pose has
# them (`geometry.alignment.TEMPLATE`), on the average over heads: template mm, of the left side.
_PLACES = {
    "brow_outer": (58.0, 42.5), "brow_middle": (38.5, 51.5), "brow_inner": (12.0, 49.0), "nose_wing": (18.3, -9.2),
    "nose_saddle": (7.5, 31.5),
}  # fmt: skip
_CHIN = (0.0, -78.0)
# Features of a resting face that the default subjects hardly vary: template place of the middle, half-widths across and
# up, and the mean and standard deviation of a movement outwards, up and forward; mm. On faces of other origins the
# corners of eyes and mouth lie lower and deeper, and brows and noses stand out more.
_FEATURES = (
    ((18.5, 29.0), (5.0, 5.0), (0.0, -1.2, 0.0), (0.7, 1.3, 1.5)),  # inner corner of the eye
    ((43.5, 29.0), (6.0, 6.0), (0.0, 0.3, -1.0), (1.2, 1.3, 1.5)),  # outer corner
    ((31.0, 31.0), (12.0, 8.0), (0.0, 0.0, 0.0), (0.0, 0.0, 2.5)),  # socket
    ((31.0, 40.0), (14.0, 5.0), (0.0, 0.0, 0.5), (0.0, 0.0, 2.0)),  # fold between lid and brow
    ((36.0, 49.0), (15.0, 8.0), (0.0, 0.0, 1.0), (0.0, 1.0, 2.2)),  # brow
    ((0.0, 46.0), (9.0, 8.0), (0.0, 0.0, -1.0), (0.0, 0.0, 1.5)),  # between the brows
    ((0.0, 30.0), (7.0, 8.0), (0.0, 0.0, 0.0), (0.0, 0.0, 2.5)),  # root of the nose
    ((7.5, 22.0), (4.0, 12.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.2)),  # its sides
    ((13.5, -4.0), (4.5, 4.5), (0.0, 0.0, 1.0), (1.0, 1.0, 2.5)),  # wings of the nose
    ((19.5, -2.0), (3.0, 6.0), (0.0, 0.0, -1.5), (0.0, 0.0, 1.2)),  # crease between wing and cheek
    ((0.0, 0.0), (9.0, 7.0), (0.0, 0.0, 0.5), (0.0, 1.5, 2.5)),  # tip of the nose
    ((0.0, -36.0), (20.0, 14.0), (0.0, 0.0, 1.0), (0.0, 0.0, 2.5)),  # muzzle
    ((27.0, -38.0), (8.0, 10.0), (0.0, 0.0, -3.0), (1.0, 1.0, 2.2)),  # corner of the mouth
    ((0.0, -44.0), (14.0, 4.0), (0.0, 0.0, 1.0), (0.0, 0.0, 1.5)),  # lower lip
    ((0.0, -55.0), (15.0, 5.0), (0.0, 0.0, 0.0), (0.0, 0.0, 2.0)),  # furrow below it
)
# Movements that belong to no parameter, so that no model of faces is learnt by heart: how many, how far each reaches,
# and the largest standard deviation; mm.
_WARP, _FINE_WARP = (14, (22.0, 60.0), 3.5), (24, (7.0, 18.0), 1.2)
_SHUT_MOUTH, _SHUT_EYES = 0.3, 0.15  # shares of heads


@dataclasses.dataclass(frozen=True)
class TrainingHead:
    """A head in its own frame: it looks along +z, y up, mm.

    Attributes:
        points: (N, 3); triangles: (T, 3).
        landmarks: (22, 3) in the order of LANDMARKS.
    """

    points: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray


def draw_head(number: int, seed: int) -> TrainingHead:
    """Draws a head with an expression and what surrounds a face; the same arguments give the same head."""
    rng = np.random.default_rng([seed, number, 0x1A])
    person = exaggerated(draw_person(number, seed), rng, _EXAGGERATED, _SIZE)
    gaze = rng.normal(0, [1.2, 0.5])
    rest = resting_skin(person) + _own_features(rng)
    head = shape_head(person, rest, _activation((seed, number), rng), (gaze[0], gaze[1]))
    points = head.points + warp(head.points, rng, _WARP) + warp(head.points, rng, _FINE_WARP)
    landmarks = template.interpolate(points, landmark_places())
    face = points.reshape(-1, 3), template.triangles()
    if rng.random() < 0.65:
        crop = sensor.draw_crop(rng) * rng.uniform(0.8, 1.15)
        face = bodies.without(face, crop.ravel() >= 1)
    around = bodies.surroundings(1 + person.shape["size"], rng) if rng.random() < 0.6 else []
    return TrainingHead(*bodies.joined([face, *around]), landmarks)


@functools.cache
def landmark_places() -> np.ndarray:
    """(22, 2) fractional (row, col) of LANDMARKS on the template's sheet."""
    places = {**template.common_places(), "chin": template.place(*_CHIN)}
    for name, (x, y) in _PLACES.items():
        places |= {f"right_{name}": template.place(-x, y), f"left_{name}": template.place(x, y)}
    return np.array([places[name] for name in LANDMARKS])


def _activation(key: tuple[int, int], rng: np.random.Generator) -> Activation:
    """Draws an emotion at any strength, or any mixture of action units, with more asymmetry than usual."""
    code = str(rng.choice([*EXPRESSION_CODES, NEUTRAL_CODE]))
    base = draw_activation(code, None if rng.random() < 0.5 or code == NEUTRAL_CODE else int(rng.integers(1, 5)), key)
    mixture = rng.uniform(0, 0.9, len(UNITS)) * (rng.random(len(UNITS)) < 0.25)
    scale = rng.uniform(0.3, 1.2)
    right = scale * base.right + mixture * (1 - 0.3 * rng.random(len(UNITS)))
    left = scale * base.left + mixture * (1 - 0.3 * rng.random(len(UNITS)))
    if rng.random() < _SHUT_MOUTH:
        right, left = (np.where(np.isin(UNITS, (10, 25, 26)), 0.0, side) for side in (right, left))
    if rng.random() < _SHUT_EYES:
        right, left = (np.where(np.equal(UNITS, 43), 3.0, side) for side in (right, left))
        return Activation(right, left)
    return Activation(np.minimum(right, 1.5), np.minimum(left, 1.5))


def _own_features(rng: np.random.Generator) -> np.ndarray:
    """(R, C, 3) mm: movements of the resting face's features."""
    moved = np.zeros((*template.SHAPE, 3))
    for place, widths, mean, deviation in _FEATURES:
        outwards, up, forward = rng.normal(mean, deviation)
        hill = template.bump(*place, *widths)
        moved += hill[..., None] * np.stack(
            np.broadcast_arrays(outwards * np.tanh(template.X / 5), up, forward), axis=-1
        )
    return moved
