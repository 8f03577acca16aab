"""Many ways to show an expression: various sets of action units, at any strength, blended, asymmetric, in any style.

The default subjects show an expression by one set of units with a few variants. What learns from them alone takes that
set for the expression. People, and models of faces by others, show it otherwise: by other units, without furrows, with
a mouth open or shut. The sets are those that the Facial Action Coding System's investigators' guide (Ekman, Friesen and
Hager, 2002) and Du, Tao and Martinez (PNAS 2014) list, and mixtures of them.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.ndimage

from afnet_jax.scans.scan import EXPRESSION_CODES
from afnet_jax.synthetic.expression import (
    LOWER_LID,
    UNITS,
    UPPER_LID,
    lower_lip,
    moved_by,
    movement,
    unit_fields,
    upper_lip,
)
from afnet_jax.synthetic.template import MOUTH_LINE, X, Y, bump

# Units beside `expression.UNITS`, which the default subjects do not use: dimpler, lower lip depressor, lip funneler.
FURTHER = (14, 16, 22)
ALL_UNITS = (*UNITS, *FURTHER)

# Expression -> (how often, {unit: strength}).
WAYS: dict[str, tuple[tuple[float, dict[int, float]], ...]] = {
    "AN": (
        (3, {4: 1.0, 7: 0.8, 23: 0.9, 5: 0.3}),
        (2, {4: 1.0, 7: 0.7, 10: 0.6, 25: 0.7, 16: 0.6}),
        (2, {4: 0.9, 7: 0.9, 15: 0.6, 17: 0.6, 23: 0.5}),
        (2, {4: 0.8, 7: 1.0, 9: 0.3, 15: 0.5}),
        (1, {4: 0.9, 7: 0.6, 23: 0.7, 17: 0.7}),
        (1, {4: 1.0, 7: 0.5, 5: 0.5, 26: 0.6, 25: 0.8, 10: 0.4}),
        (1, {4: 1.0, 7: 0.5}),
        (1, {4: 1.0, 5: 0.6, 23: 0.6, 22: 0.5, 25: 0.6}),
    ),
    "DI": (
        (3, {9: 1.0, 10: 0.9, 17: 0.6}),
        (3, {9: 0.9, 10: 1.0, 25: 0.7, 16: 0.4}),
        (2, {10: 1.0, 4: 0.5, 25: 0.6}),
        (1, {9: 1.0, 15: 0.5, 17: 0.7, 4: 0.4}),
        (2, {9: 0.9, 10: 0.8, 26: 0.5, 25: 0.6, 6: 0.5, 4: 0.4}),
        (1, {10: 0.9, 17: 0.7, 7: 0.5}),
    ),
    "FE": (
        (3, {1: 0.9, 2: 0.6, 4: 0.5, 5: 0.9, 20: 0.6, 25: 0.6, 26: 0.25}),
        (3, {1: 0.9, 2: 0.8, 5: 1.0, 20: 0.6, 25: 0.6, 26: 0.5}),
        (2, {1: 0.9, 4: 0.6, 5: 0.8, 20: 0.6}),
        (2, {1: 0.9, 4: 0.5, 20: 0.7, 25: 0.8, 26: 0.5}),
        (1, {5: 1.0, 20: 0.7, 25: 0.6, 1: 0.5, 26: 0.3}),
        (2, {1: 1.0, 2: 0.7, 4: 0.4, 5: 0.7, 25: 0.7, 16: 0.5, 20: 0.7}),
    ),
    "HA": (
        (3, {6: 0.8, 12: 0.85}),
        (3, {6: 0.8, 12: 0.85, 25: 0.9}),
        (2, {12: 0.85}),
        (1, {6: 0.9, 12: 0.85, 25: 0.8, 26: 0.6}),
        (2, {12: 0.75, 25: 0.8}),
        (1, {12: 0.7, 14: 0.7, 6: 0.4}),
        (1, {12: 0.85, 25: 1.0, 16: 0.5, 1: 0.3, 2: 0.4}),
    ),
    "SA": (
        (3, {1: 0.8, 4: 0.6, 15: 1.0, 43: 0.5}),
        (2, {1: 0.8, 4: 0.4, 15: 0.8, 17: 0.8}),
        (2, {15: 1.0, 17: 0.6, 43: 0.5, 1: 0.4}),
        (1, {1: 1.0, 4: 0.6, 43: 0.8}),
        (1, {1: 0.7, 15: 0.9, 25: 0.3, 43: 0.4}),
    ),
    "SU": (
        (3, {1: 0.9, 2: 1.1, 5: 0.8, 26: 0.85, 25: 0.4}),
        (2, {1: 0.8, 2: 1.0, 26: 0.8, 25: 0.4}),
        (2, {1: 0.9, 2: 0.9, 5: 0.9, 26: 1.3, 25: 0.5}),
        (1, {1: 0.9, 2: 1.0, 5: 0.8, 25: 0.7, 26: 0.3}),
        (1, {5: 0.8, 26: 0.9, 1: 0.5, 2: 0.8}),
        (1, {1: 1.0, 2: 1.0, 5: 0.9}),
        (1, {1: 0.8, 2: 0.9, 5: 0.7, 26: 0.5, 22: 0.6}),
    ),
}
# Units that tell an expression; of them none is left out.
_KERNEL = {"AN": (4,), "DI": (9, 10), "FE": (1, 20, 5), "HA": (12,), "SA": (15, 1), "SU": (2, 26)}
_STRENGTH = 0.35, 1.3  # of a whole expression, least and most
_FINE = 3.0  # nodes: relief of a unit that is finer than this counts as its furrows
_WIDER, _SPREADABLE = 7.0, (1, 2, 4, 6, 9, 12, 14, 15, 20)  # nodes; units that move both lips alike, or neither
_CORNER, _OUTER_BROW = (27, MOUTH_LINE, 11, 11), (50, 45, 16, 10)  # x, y, and widths: mm


@dataclasses.dataclass(frozen=True)
class Way:
    """One showing of an expression, as `head.shape_head` takes it.

    Attributes:
        moved: (R, C, 3) mm of the template's nodes, lids apart.
        lids: (upper, lower) lid movement, mm, of the right eye and of the left.
    """

    moved: np.ndarray
    lids: tuple[tuple[float, float], tuple[float, float]]


def draw_way(expression: str, rng: np.random.Generator) -> Way:
    """Draws one way to show an expression of EXPRESSION_CODES."""
    strength = _draw_strengths(expression, rng)
    lean = np.clip(rng.normal(0, rng.choice([0.08, 0.2]), len(ALL_UNITS)), -0.5, 0.5)
    sides = strength * (1 - lean), strength * (1 + lean)
    fields = _styled_fields(rng)
    upper, lower = (
        {unit: mm * rng.uniform(0.5, 1.4) for unit, mm in table.items()} for table in (UPPER_LID, LOWER_LID)
    )
    right, left = (
        tuple(
            sum(s * table.get(unit, 0.0) for s, unit in zip(side, ALL_UNITS, strict=True)) for table in (upper, lower)
        )
        for side in sides
    )
    return Way(moved_by(*sides, fields), (right, left))


def _draw_strengths(expression: str, rng: np.random.Generator) -> np.ndarray:
    strength = _one_way(expression, rng)
    if rng.random() < 0.3:  # two ways of the same expression at once
        share = rng.uniform(0.2, 0.8)
        strength = share * strength + (1 - share) * _one_way(expression, rng)
    strength *= rng.uniform(*_STRENGTH)
    if rng.random() < 0.25:  # a blend: less of another expression than of its own
        other = str(rng.choice([code for code in EXPRESSION_CODES if code != expression]))
        strength = np.maximum(strength, rng.uniform(0.05, 0.3) * _one_way(other, rng))
    habits = rng.uniform(0, 0.2, len(ALL_UNITS)) * (rng.random(len(ALL_UNITS)) < 0.2)
    return np.minimum(strength + habits, 2.0)


def _one_way(expression: str, rng: np.random.Generator) -> np.ndarray:
    ways = WAYS[expression]
    often = np.array([weight for weight, _ in ways], float)
    recipe = ways[rng.choice(len(ways), p=often / often.sum())][1]
    how = np.exp(rng.normal(0, 0.3, len(ALL_UNITS)))
    absent = (rng.random(len(ALL_UNITS)) < 0.15) & ~np.isin(ALL_UNITS, _KERNEL[expression])
    return np.array([recipe.get(unit, 0.0) for unit in ALL_UNITS]) * how * ~absent


def _styled_fields(rng: np.random.Generator) -> np.ndarray:
    """Draws (U, R, C, 3) mm: every unit as another model of faces may have it.

    With more or less of its furrows, in another direction, over a wider place, stronger here and weaker there.
    """
    broad, fine, wider = _parts_of_fields()
    count = len(ALL_UNITS)
    axes = np.exp(np.clip(rng.normal(0, 0.3, (count, 1, 1, 3)), -0.7, 0.7))
    axes[ALL_UNITS.index(26), ..., 2] *= rng.uniform(0.6, 3.0)  # a jaw that turns about a near or a far joint
    share = rng.uniform(0, 1, (count, 1, 1, 1))
    fields = broad + share.astype(np.float32) * wider
    if rng.random() < 0.4:
        fields += np.float32(rng.uniform(0, 1.2)) * fine
    # Some raise the corners of the mouth with the upper lip, some lower or raise the brow to its outer end.
    corner, brow = (bump(x, y, across, up).astype(np.float32) for x, y, across, up in (_CORNER, _OUTER_BROW))
    for unit, part, least, most in ((9, corner, 0, 4), (10, corner, 0, 4), (4, brow, -6, 0), (2, brow, 0, 5)):
        fields[ALL_UNITS.index(unit), ..., 1] += np.float32(rng.uniform(least, most)) * part
    phase = X / rng.uniform(25, 60) + Y / rng.uniform(-60, 60) + rng.uniform(0, 6.3)
    gain = 1 + rng.uniform(0, 0.3) * np.cos(phase)
    fields *= gain[..., None].astype(np.float32)
    fields *= axes.astype(np.float32)
    return fields


@functools.cache
def _parts_of_fields() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(U, R, C, 3) float32 each: what every unit moves, its depth smoothed; the furrows that smoothing took; and what
    makes its movement wider, for units that do not part the lips.
    """
    fields = np.concatenate([unit_fields(), np.stack([field() for field in (_dimpler, _lip_lowerer, _funneler)])])
    fields = fields.astype(np.float32)
    broad = fields.copy()
    broad[..., 2] = scipy.ndimage.gaussian_filter(fields[..., 2], (0, _FINE, _FINE))
    spread = scipy.ndimage.gaussian_filter(broad, (0, _WIDER, _WIDER, 0))
    spread *= np.abs(broad).max(axis=(1, 2, 3), keepdims=True) / np.maximum(
        np.abs(spread).max(axis=(1, 2, 3), keepdims=True), 1e-6
    )
    can = np.isin(ALL_UNITS, _SPREADABLE)[:, None, None, None]
    return broad, fields - broad, np.where(can, spread - broad, 0).astype(np.float32)


def _dimpler() -> np.ndarray:
    corner = bump(27, MOUTH_LINE, 8, 8)
    return movement(4.0 * corner, 1.0 * corner, -4.0 * corner)


def _lip_lowerer() -> np.ndarray:
    return movement(up=-5.0 * lower_lip(), forward=0.8 * lower_lip())


def _funneler() -> np.ndarray:
    corner, lips = bump(27, MOUTH_LINE, 11, 10), bump(0, MOUTH_LINE, 17, 10)
    return movement(-6.0 * corner, 1.5 * upper_lip() - 2.5 * lower_lip(), 4.5 * lips)
