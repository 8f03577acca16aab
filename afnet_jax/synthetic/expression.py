"""Expressions: action units of the Facial Action Coding System as displacements of the template, and their blends.

The code of each unit, its muscles and its look are those of Ekman, Friesen and Hager (FACS, 2002); which units make an
emotion follows their table of prototypes. A unit displaces nodes by closed-form fields that are linear in its strength.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Protocol

import numpy as np

from afnet_jax.scans.scan import EXPRESSION_CODES, NEUTRAL_CODE
from afnet_jax.synthetic.template import (
    ABOVE_MOUTH,
    MOUTH_LINE,
    MOUTH_PROFILE,
    SHAPE,
    X,
    Y,
    bump,
    furrow,
    ramp,
)

# Units that every showing of an emotion has, at full strength.
EMOTIONS = {
    "AN": {4: 1.0, 5: 0.4, 7: 0.9, 23: 1.0},
    "DI": {9: 1.0, 10: 0.9, 17: 0.6},
    "FE": {1: 1.0, 2: 0.5, 4: 0.5, 5: 1.1, 20: 1.1, 25: 0.9},
    "HA": {6: 0.9, 12: 1.0},
    "SA": {1: 0.8, 4: 0.6, 15: 1.0, 43: 0.7},
    "SU": {1: 0.9, 2: 1.0, 5: 0.8, 26: 1.0},
    NEUTRAL_CODE: {},
}
# Units that some people add: (unit, full strength, share of people).
_VARIANTS = {
    "AN": ((10, 0.5, 0.3), (25, 0.8, 0.35), (17, 0.5, 0.3), (26, 0.5, 0.25)),
    "DI": ((4, 0.7, 0.5), (25, 0.9, 0.4), (7, 0.7, 0.4), (26, 0.5, 0.25)),
    "FE": ((26, 0.7, 0.6), (4, 0.5, 0.3)),
    "HA": ((25, 1.0, 0.6), (26, 0.6, 0.4), (1, 0.4, 0.2), (2, 0.5, 0.2)),
    "SA": ((17, 0.8, 0.6), (7, 0.5, 0.3), (25, 0.6, 0.25), (20, 0.3, 0.2)),
    "SU": ((25, 0.6, 0.4),),
    NEUTRAL_CODE: (),
}
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 25, 26, 43)
# Units without which an emotion would not be told: everybody uses them fully.
_TELLING = {"AN": (4, 7), "DI": (9, 10), "FE": (1, 5, 20), "HA": (6, 12), "SA": (1, 15), "SU": (2, 5), NEUTRAL_CODE: ()}
_OF_LEVEL = {1: 0.35, 2: 0.55, 3: 0.78, 4: 1.0}

# mm by which full strength moves the middle of the upper lid up and of the lower lid down.
UPPER_LID = {1: 0.3, 2: 0.3, 4: -0.8, 5: 3.3, 6: -0.8, 7: -2.2, 9: -1.0, 12: -0.4, 43: -2.6}
LOWER_LID = {5: 0.4, 6: -1.4, 7: -1.6, 9: -1.0, 12: -0.6, 26: 0.3}


class Shown(Protocol):
    """Describes what a face does, as `head.shape_head` takes it.

    Attributes:
        moved: (R, C, 3) mm that the template's nodes are moved by, lids apart.
        lids: (upper, lower) lid movement, mm, of the right eye and of the left.
    """

    @property
    def moved(self) -> np.ndarray: ...

    @property
    def lids(self) -> tuple[tuple[float, float], tuple[float, float]]: ...


@dataclasses.dataclass(frozen=True)
class Activation:
    """Strength of each of UNITS on the subject's right and left, 0 to about 1.3: (16,) each."""

    right: np.ndarray
    left: np.ndarray

    @property
    def lids(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(upper, lower) lid movement, mm, of the right eye and of the left."""
        upper, lower = (np.array([table.get(unit, 0.0) for unit in UNITS]) for table in (UPPER_LID, LOWER_LID))
        right, left = ((float(side @ upper), float(side @ lower)) for side in (self.right, self.left))
        return right, left

    @property
    def moved(self) -> np.ndarray:
        """(R, C, 3) mm that the units move the template's nodes by, lids apart."""
        return moved_by(self.right, self.left, unit_fields())


def draw_activation(expression: str, level: int | None, key: tuple[int, ...]) -> Activation:
    """Draws how the subject `key` = (seed, subject) shows an expression.

    People differ in which units of an emotion they use and how strongly, borrow a little from another emotion, have
    habits that never leave their face, and are not symmetric. A level scales all but the habits, so that displacements
    grow in proportion; without a level the strength is drawn between levels 3 and 4.
    """
    rng = np.random.default_rng([*key, 0xAC, [*EXPRESSION_CODES, NEUTRAL_CODE].index(expression)])
    strength = _strengths(expression, rng)
    other = EXPRESSION_CODES[rng.integers(len(EXPRESSION_CODES))]
    borrowed = rng.uniform(0, 0.2) if rng.random() < 0.4 and EMOTIONS[expression] else 0.0
    strength = np.maximum(strength, borrowed * _strengths(other, rng))
    scale = rng.uniform(_OF_LEVEL[3], _OF_LEVEL[4]) if level is None else _OF_LEVEL[level]
    active = scale * strength + resting_habits(key)
    lean = np.clip(rng.normal(0, 0.13, len(UNITS)), -0.4, 0.4)
    return Activation(active * (1 - lean), active * (1 + lean))


def resting_habits(key: tuple[int, ...]) -> np.ndarray:
    """(16,) strengths of the subject `key` at rest: a slight frown, raised brows, drooping or raised corners, …"""
    rng = np.random.default_rng([*key, 0xAB])
    habit = rng.uniform(0, 0.24, len(UNITS)) * (rng.random(len(UNITS)) < 0.4)
    return habit * np.isin(UNITS, (1, 2, 4, 6, 7, 12, 15, 17, 20, 23, 43))


def _strengths(expression: str, rng: np.random.Generator) -> np.ndarray:
    recipe = dict(EMOTIONS[expression])
    for unit, strength, share in _VARIANTS[expression]:
        if rng.random() < share:
            recipe[unit] = max(recipe.get(unit, 0.0), strength)
    if recipe.get(25) and 23 in recipe:
        recipe[23] *= 0.3  # lips are either pressed or parted
    how = rng.uniform(0.8, 1.25, len(UNITS))
    barely = (rng.random(len(UNITS)) < 0.1) * rng.uniform(0.4, 0.8, len(UNITS))
    how = np.where(np.isin(UNITS, _TELLING[expression]), 0.35 + 0.7 * how, how * (1 - barely))
    return np.array([recipe.get(unit, 0.0) for unit in UNITS]) * how


def moved_by(right: np.ndarray, left: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Returns (R, C, 3) mm that units move the template's nodes by, lids apart.

    Args:
        right, left: (U,) strengths on the subject's two sides.
        fields: (U, R, C, 3) mm at full strength.
    """
    both, difference = (right + left) / 2, (left - right) / 2
    lean = np.tanh(X / 9)[:, :, None]
    return np.tensordot(both, fields, 1) + lean * np.tensordot(difference, fields, 1)


@functools.cache
def unit_fields() -> np.ndarray:
    """(16, R, C, 3) float32 mm at full strength."""
    fields = {
        1: _inner_brow_raiser, 2: _outer_brow_raiser, 4: _brow_lowerer, 6: _cheek_raiser, 9: _nose_wrinkler,
        10: _upper_lip_raiser, 12: _lip_corner_puller, 15: _lip_corner_depressor, 17: _chin_raiser,
        20: _lip_stretcher, 23: _lip_tightener, 25: _lips_part, 26: _jaw_drop,
    }  # fmt: skip
    return np.stack([fields.get(unit, _nothing)() for unit in UNITS]).astype(np.float32)


def movement(across: np.ndarray | float = 0.0, up: np.ndarray | float = 0.0, forward: np.ndarray | float = 0.0):
    """(R, C, 3) of a movement away from the middle, up, and towards the camera."""
    outwards = np.tanh(X / 5) * across
    return np.stack([np.broadcast_to(part, SHAPE) for part in (outwards, up, forward)], axis=-1)


def _nothing() -> np.ndarray:
    return movement()


def upper_lip() -> np.ndarray:
    """Returns (R, C): 1 at the upper lip's middle, by the cut; 0 at the corners, below the cut and far above."""
    return ABOVE_MOUTH * MOUTH_PROFILE**0.8 * np.exp(-0.5 * ((Y - MOUTH_LINE) / 8) ** 2)


def lower_lip() -> np.ndarray:
    """Returns (R, C): the lower lip likewise."""
    return ~ABOVE_MOUTH * MOUTH_PROFILE**0.8 * np.exp(-0.5 * ((Y - MOUTH_LINE) / 10) ** 2)


def _forehead_lines(x: float, width: float) -> np.ndarray:
    return np.sin(2 * np.pi * Y / 9) * bump(x, 66, width, 10)


def _inner_brow_raiser() -> np.ndarray:
    return movement(up=8.0 * bump(12, 49, 11, 11), forward=1.3 * _forehead_lines(0, 14) + 1.0 * bump(12, 54, 8, 6))


def _outer_brow_raiser() -> np.ndarray:
    return movement(up=7.5 * bump(43, 48, 14, 10), forward=1.3 * _forehead_lines(34, 12))


def _brow_lowerer() -> np.ndarray:
    frown = furrow(((5, 37), (6, 58)), 2.2)
    lowered = bump(19, 47, 15, 9)
    return movement(-3.0 * bump(14, 47, 10, 9), -6.5 * lowered, 2.5 * bump(14, 46, 7, 5) - 3.2 * frown)


def _cheek_raiser() -> np.ndarray:
    crows_feet = sum(furrow(((48, 28), (60, 28 + dy)), 1.5) for dy in (-10, 0, 10))
    raised = bump(38, 6, 16, 10)
    return movement(up=4.5 * raised, forward=3.0 * raised - 1.6 * crows_feet - 1.0 * furrow(((20, 19), (42, 17)), 2.0))


def _nose_wrinkler() -> np.ndarray:
    lines = sum(furrow(((0, 19 + k), (14, 15 + k)), 1.5) for k in (0, 7, 14))
    up = 5.0 * bump(14, -1, 9, 9) - 4.0 * bump(13, 45, 12, 8) + 2.5 * upper_lip() + 2.0 * bump(26, 2, 10, 10)
    forward = -2.2 * lines + 2.0 * bump(16, 2, 5, 6) - 2.4 * furrow(((18, 8), (25, -8)), 2.2)
    return movement(1.5 * bump(14, -4, 6, 6), up, forward)


def _upper_lip_raiser() -> np.ndarray:
    up = 6.0 * upper_lip() + 2.5 * bump(22, -22, 12, 9)
    return movement(up=up, forward=1.5 * upper_lip() - 3.0 * furrow(((18, 2), (26, -12), (31, -26)), 2.4))


def _lip_corner_puller() -> np.ndarray:
    corner, cheek = bump(27, MOUTH_LINE, 10, 11), bump(40, -6, 14, 11)
    crease = furrow(((19, 0), (31, -14), (40, -32)), 2.2)
    return movement(8.5 * corner, 9.0 * corner + 2.5 * cheek, -5.0 * corner + 4.5 * cheek - 3.6 * crease)


def _lip_corner_depressor() -> np.ndarray:
    corner = bump(27, MOUTH_LINE - 2, 10, 9)
    crease = furrow(((29, -46), (33, -60)), 2.0)
    return movement(1.0 * corner, -8.5 * corner + 1.2 * bump(0, MOUTH_LINE, 9, 8), -1.5 * corner - 3.0 * crease)


def _chin_raiser() -> np.ndarray:
    up = 5.0 * bump(0, -66, 17, 11) + 2.5 * bump(0, MOUTH_LINE - 4, 15, 6)
    return movement(up=up, forward=3.0 * bump(0, -46, 14, 5) + 1.5 * bump(0, -68, 11, 7) - 3.0 * bump(0, -56, 14, 3))


def _lip_stretcher() -> np.ndarray:
    corner = bump(27, MOUTH_LINE - 3, 12, 12)
    return movement(8.5 * corner, -2.5 * corner, -3.0 * corner - 3.0 * furrow(((37, -30), (39, -50)), 2.4))


def _lip_tightener() -> np.ndarray:
    away = (Y - MOUTH_LINE) / 6
    thin = -3.2 * away * np.exp(-0.5 * away**2) * np.exp(-0.5 * (X / 20) ** 2)
    bulge = 2.6 * bump(0, -27, 16, 3.5) + 2.4 * bump(0, -52, 15, 3.5)
    return movement(-3.5 * bump(25, MOUTH_LINE, 10, 10), thin, bulge - 2.5 * bump(0, MOUTH_LINE, 18, 6))


def _lips_part() -> np.ndarray:
    return movement(up=2.2 * upper_lip() - 5.5 * lower_lip())


def _jaw_drop() -> np.ndarray:
    """Turns the lower face about the jaw's joints; the corners of the mouth go half-way with it."""
    along = 1 - ramp(-78, 2)
    cut = MOUTH_PROFILE * np.exp(-0.5 * ((Y - MOUTH_LINE) / 22) ** 2)
    share = np.where(ABOVE_MOUTH, along * (1 - cut), along + (1 - along) * cut)
    share = share * np.exp(-0.5 * (np.abs(X) / 62) ** 6)
    return movement(-3.5 * bump(27, MOUTH_LINE, 11, 12), -17.0 * share, -5.0 * share)
