"""Varied subjects: drawn far more widely than the default ones, to learn from what shall be used on other people.

Nothing here is meant to be likely. Shapes, colours, light and expressions are drawn so widely that people, and models
of faces made by others, lie within. The landmark detector learns from the same shapes (`landmarks.subjects`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from afnet_jax.synthetic import skin, template
from afnet_jax.synthetic.head import Head, shape_head
from afnet_jax.synthetic.identity import Person, draw_person, resting_skin
from afnet_jax.synthetic.picture import Light
from afnet_jax.synthetic.template import MOUTH_LINE, X, Y, bump, ramp
from afnet_jax.synthetic.ways import draw_way

Warp = tuple[int, tuple[float, float], float]
_EXAGGERATED = 0.3, 1.2  # least and most that the default subjects' deviations from the average are multiplied by
_SIZE = -0.09, 0.08  # of the whole head, fractions
_WIDER_MOUTH = -0.05, 0.22  # fractions: the default subjects' mouths are narrow
_OF_A_PERSON, _OF_A_MOMENT = (14, (22.0, 60.0), 2.0), (14, (22.0, 60.0), 1.2)  # warps, see `warp`
_PALE, _DARK = np.array([236, 198, 178.0]), np.array([78, 52, 42.0])


@dataclasses.dataclass(frozen=True)
class VariedSubject:
    """A subject whom any number of expressions can be drawn of.

    Attributes:
        person: shape and colours.
        rest: (R, C, 3) mm, the resting skin.
        sheet: of `skin.paint_person`.
    """

    person: Person
    rest: np.ndarray
    sheet: np.ndarray


def exaggerated(
    person: Person,
    rng: np.random.Generator,
    factors: tuple[float, float] = _EXAGGERATED,
    sizes: tuple[float, float] = _SIZE,
) -> Person:
    """Returns a person of the same character with a shape farther from the average, or nearer to it.

    Args:
        factors: least and most that the deviations from the average are multiplied by.
        sizes: least and greatest size of the head, as a fraction above the average.
    """
    factor = rng.uniform(*factors)
    shape = {name: factor * value for name, value in person.shape.items()}
    shape["size"] = float(rng.uniform(*sizes))
    return dataclasses.replace(person, shape=shape)


def warp(points: np.ndarray, rng: np.random.Generator, kind: Warp) -> np.ndarray:
    """Draws smooth movements that belong to no parameter, so that no model of faces is learnt by heart.

    Args:
        points: (R, C, 3) mm.
        kind: how many movements at random places, least and greatest reach of one, and the largest standard deviation;
            mm.

    Returns:
        (R, C, 3) mm to add to the points.
    """
    count, widths, most = kind
    moved = np.zeros_like(points)
    strength = most * rng.uniform(0, 1)
    for x, y in rng.uniform([-70, -110], [70, 75], (count, 2)):
        width = rng.uniform(*widths)
        hill = np.exp(-0.5 * ((points[..., 0] - x) ** 2 + (points[..., 1] - y) ** 2) / width**2)
        moved += hill[..., None] * rng.normal(0, strength, 3)
    return moved


def draw_subject(number: int, seed: int, per_mm: int) -> VariedSubject:
    """Draws a subject; the same arguments give the same.

    Args:
        number: 0, 1, …: who.
        seed: of the population.
        per_mm: pixels of the painted sheet.
    """
    rng = np.random.default_rng([seed, number, 0x3D])
    person = _coloured(exaggerated(draw_person(number, seed), rng), rng)
    person.shape["mouth_width"] += float(rng.uniform(*_WIDER_MOUTH))
    rest = resting_skin(person)
    sheet = skin.paint_person(person, per_mm)
    plain = person.skin.astype(np.float32)
    rest = rest + warp(rest, rng, _OF_A_PERSON)
    rest[..., 2] += _build(rng)
    return VariedSubject(person, rest, plain + np.float32(rng.uniform(0.45, 1.15)) * (sheet - plain))


def _build(rng: np.random.Generator) -> np.ndarray:
    """Draws (R, C) mm forward: how a head is built, as the default subjects' parameters do not change it.

    Scanned heads have on average less of a receding forehead and of a broad jaw than the default subjects, flatter
    cheeks beside a higher nose, and corners of the mouth that lie farther back.
    """
    mouth = rng.uniform(-1, 16) * bump(27, MOUTH_LINE, 9, 15)
    scanned = 6.5 * ramp(48, 80) - 9 * bump(54, -35, 14, 28) - 5 * bump(27, 2, 10, 12) + 5 * bump(0, -4, 8, 8)
    across, up = X / 70, (Y - 10) / 70
    terms = (across**2, up, up**2, across**2 * up)
    anyhow = sum(rng.normal(0, 2.5) * term for term in terms)
    return rng.uniform(-0.1, 1.7) * scanned - mouth + anyhow


def _coloured(person: Person, rng: np.random.Generator) -> Person:
    skin_colour = _PALE + rng.uniform(0, 1) ** 1.3 * (_DARK - _PALE)
    skin_colour = skin_colour * rng.normal(1, [0.05, 0.05, 0.07])
    faint = rng.uniform(0, 0.75) * rng.integers(0, 2)  # of brows and hairs
    hair = person.hair * rng.uniform(0.6, 1.4)
    lips = skin_colour * (1 - rng.uniform(0, 1.1) * np.array([0.1, 0.42, 0.34]))
    return dataclasses.replace(
        person,
        sex="FM"[rng.integers(2)],
        skin=np.clip(skin_colour, 20, 250),
        hair=hair + faint * (skin_colour - hair),
        lips=np.clip(lips, 15, 250),
    )


def draw_head(subject: VariedSubject, expression: str, rng: np.random.Generator) -> Head:
    """Draws the subject showing an expression of EXPRESSION_CODES in one of many ways."""
    gaze = rng.normal(0, [1.5, 0.8])
    head = shape_head(subject.person, subject.rest, draw_way(expression, rng), (gaze[0], gaze[1]))
    points = head.points + warp(head.points, rng, _OF_A_MOMENT)
    _fill_mouth(points, rng.uniform(0, 1.5))
    return dataclasses.replace(head, points=points)


def _fill_mouth(points: np.ndarray, share: float) -> None:
    """Sets how deep an open mouth is seen: 0 for a skin from lip to lip, 1 for the default subjects' depth."""
    rows = template.MOUTH_LINING
    fraction = np.linspace(0, 1, len(rows))[:, None]
    lid = points[template.LOWER_LIP, :, 2] * (1 - fraction) + points[template.UPPER_LIP, :, 2] * fraction
    points[rows, :, 2] = lid + share * (points[rows, :, 2] - lid)


def draw_light(subject: VariedSubject, rng: np.random.Generator) -> Light:
    """Draws a lamp anywhere before the face, from none to nearly all of the light, in any tint.

    A camera sees to it that neither a dark nor a pale skin is far too dark or too bright.
    """
    across, up = np.radians([rng.uniform(-75, 75), rng.uniform(-30, 65)])
    direction = np.array([np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up)])
    wanted = rng.uniform(80, 200)
    exposure = np.clip(wanted / subject.person.skin.mean(), 0.5, 2.5)
    room = rng.uniform(0.2, 1.0)
    tint = rng.normal(1, [0.05, 0.03, 0.06])
    gloss = rng.uniform(0, 0.25) * rng.integers(0, 2)
    return Light(direction, exposure * (1.15 - room), exposure * room, tint, gloss)
