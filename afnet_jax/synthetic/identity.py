"""Identity of a synthetic subject: shape of the resting face and colours, drawn from closed-form families."""

from __future__ import annotations

import dataclasses

import numpy as np

from afnet_jax.synthetic import template
from afnet_jax.synthetic.template import ABOVE_MOUTH, EYE_LINE, MOUTH_LINE, X, Y, bump, furrow, ramp

# Parameter -> (its unit, the largest value drawn); normal, of deviation 0.6 · largest, cut there.
PARAMETERS = {
    "size": ("fraction of the whole head", 0.09),
    "head_width": ("fraction of the width", 0.1),
    "head_depth": ("fraction of the roundness, front to side", 0.28),
    "forehead_height": ("fraction of the part above the eyes", 0.1),
    "forehead_slope": ("mm backwards at the hairline", 8.0),
    "face_length": ("mm from the eyes to the chin", 11.0),
    "jaw_width": ("fraction of the jaw's width", 0.12),
    "chin_length": ("mm", 8.0),
    "chin_forward": ("mm", 7.0),
    "chin_width": ("mm of the chin's hill", 4.0),
    "cheekbones": ("mm forward", 5.5),
    "cheek_fullness": ("mm forward, between cheekbone and jaw", 8.0),
    "brow_ridge": ("mm forward", 4.0),
    "brow_height": ("mm up", 6.5),
    "brow_tilt": ("mm up at the outer end, down at the inner", 4.0),
    "brow_arch": ("mm up in the middle", 2.5),
    "eye_distance": ("mm outwards, each", 4.0),
    "eye_height": ("mm up", 3.5),
    "eye_width": ("fraction of the eye's width", 0.12),
    "eye_opening": ("fraction of the aperture", 0.3),
    "eye_tilt": ("mm up at the outer corner", 2.2),
    "eye_depth": ("mm forward", 4.0),
    "nose_length": ("mm", 8.0),
    "nose_width": ("fraction of the wings' width", 0.25),
    "nose_projection": ("fraction of the nose's height above the face", 0.25),
    "bridge_height": ("mm forward", 4.0),
    "bridge_width": ("fraction", 0.3),
    "tip_turn": ("mm up", 3.0),
    "mouth_width": ("fraction of the mouth's width", 0.22),
    "mouth_height": ("mm up", 7.0),
    "mouth_corners": ("mm up, at rest", 4.0),
    "upper_lip": ("fraction of its fullness", 0.4),
    "lower_lip": ("fraction of its fullness", 0.4),
    "lips_forward": ("mm", 5.5),
    "age": ("depth of the furrows at rest, mm", 0.5),
}

_ETHNICITIES = {"WH": 0.5, "AE": 0.18, "BL": 0.1, "LA": 0.1, "IN": 0.08, "AM": 0.04}
_PALE, _TAN, _DARK = np.array([229, 186, 163.0]), np.array([186, 134, 102.0]), np.array([98, 66, 52.0])
_SKIN_TONE = {"WH": 0.25, "AE": 0.55, "BL": 1.7, "LA": 0.9, "IN": 1.25, "AM": 0.95}  # 0 pale, 1 tan, 2 dark
_HAIR = np.array([[35, 28, 26], [62, 44, 32], [94, 68, 45], [141, 108, 70], [120, 70, 45], [110, 108, 106.0]])
_IRIS = np.array([[74, 46, 28], [96, 66, 38], [92, 100, 62], [94, 124, 148], [118, 130, 138.0]])

_DIMPLE = template.MOUTH_CORNER + 1.0  # |x| of the hollow beside the mouth


@dataclasses.dataclass(frozen=True)
class Person:
    """One synthetic subject.

    Attributes:
        sex: "F" or "M".
        ethnicity: BU-3DFE's code.
        shape: value of each of PARAMETERS.
        skin, hair, iris, lips: (3,) RGB, 0 … 255.
        seed: of the person's texture and habits.
    """

    sex: str
    ethnicity: str
    shape: dict[str, float]
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    seed: tuple[int, ...]


def draw_person(subject: int, seed: int) -> Person:
    """Draws the person `subject` (0, 1, …) of the population `seed`; women and men take turns."""
    key = (seed, subject)
    rng = np.random.default_rng([*key, 0x1D])
    ethnicity = str(rng.choice(list(_ETHNICITIES), p=list(_ETHNICITIES.values())))
    draws = np.clip(rng.normal(0, 0.6, len(PARAMETERS)), -1, 1)
    shape = {name: float(v * largest) for v, (name, (_, largest)) in zip(draws, PARAMETERS.items(), strict=True)}
    sex = "FM"[subject % 2]
    if sex == "M":
        shape["brow_ridge"] += 1.2
        shape["jaw_width"] += 0.04
    tone = np.clip(_SKIN_TONE[ethnicity] + rng.normal(0, 0.22), 0, 2)
    skin = _PALE + (_TAN - _PALE) * min(tone, 1) + (_DARK - _TAN) * max(tone - 1, 0)
    skin = skin * rng.normal(1, [0.03, 0.03, 0.04])
    pick = rng.integers(0, 6 if tone < 0.6 else 2), rng.integers(0, 5 if tone < 0.5 else 2)
    hair, iris = (table[k] * rng.uniform(0.8, 1.15) for table, k in zip((_HAIR, _IRIS), pick, strict=True))
    redness = rng.uniform(0.45, 1.0) if sex == "F" else rng.uniform(0.25, 0.6)
    lips = skin * (1 - redness * np.array([0.1, 0.42, 0.34]))
    return Person(sex, ethnicity, shape, skin, hair, iris, lips, key)


def resting_skin(person: Person) -> np.ndarray:
    """(R, C, 3) mm of the template's nodes on the resting face, all cuts closed: the face looks along +z."""
    shape = person.shape
    x, z = _skull(shape)
    z = z + _unevenness(person.seed)
    for part in (_eye_region, _nose, _cheeks, _mouth_and_chin):
        z = z + part(shape)
    across, up = _moved(shape)
    position = np.stack([x + across, Y + up, z], axis=-1)
    position[..., 1] = _proportions(shape, position[..., 1])
    position[..., 2] -= z.max()
    return position * (1 + shape["size"])


def _unevenness(key: tuple[int, ...]) -> np.ndarray:
    """(R, C) mm forward: individual relief beyond the parameters, hills 8 to 18 mm wide."""
    rng = np.random.default_rng([*key, 0x0E])
    hills = np.zeros(template.SHAPE)
    for x, y in rng.uniform([-66, -92], [66, 82], (60, 2)):
        width = rng.uniform(8, 18)
        hills += rng.normal(0, 0.7) * np.exp(-0.5 * ((X - x) / width) ** 2) * np.exp(-0.5 * ((Y - y) / width) ** 2)
    return hills


def _skull(shape: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Half an egg: x and z, (R, C)."""
    knots = [-101, -92, -80, -62, -40, -10, 15, 45, 70, 89]
    width = np.interp(Y, knots, [0.42, 0.54, 0.68, 0.81, 0.91, 0.985, 1.01, 1.0, 0.93, 0.80])
    width = width * (1 + shape["head_width"]) * (1 + shape["jaw_width"] * (1 - ramp(-75, -15)))
    middle = np.interp(Y, knots, [-58, -43, -31, -25.5, -22.5, -22, -24, -22.5, -27, -42])
    middle = _smoothed(middle - shape["forehead_slope"] * ramp(45, 89) ** 2)
    width = _smoothed(width)
    depth = 72 * (1 + shape["head_depth"]) * (1 - 0.12 * (1 - ramp(-90, -20)))
    return X * width, middle - depth * (1 - np.sqrt(1 - (X / template.HALF_WIDTH) ** 2 * 0.985))


def _smoothed(profile: np.ndarray) -> np.ndarray:
    """Rounds the corners of a (R, 1) piecewise linear profile: each row its mean over ±8 mm."""
    weights = np.exp(-0.5 * ((Y - Y.T) / 5) ** 2)
    line = weights @ np.column_stack([Y, profile, np.ones_like(Y)]) / weights.sum(axis=1, keepdims=True)
    slope = np.gradient(line[:, 1:2], axis=0) / np.maximum(np.gradient(line[:, :1], axis=0), 1e-3)
    return line[:, 1:2] + np.clip(slope, -3, 3) * (Y - line[:, :1])


def _eye_region(shape: dict[str, float]) -> np.ndarray:
    sockets = -8 * bump(30, EYE_LINE + 1, 11, 8) - 6.5 * bump(17, EYE_LINE + 2, 7, 9)
    ridge = (4.5 + shape["brow_ridge"]) * bump(27, 47, 16, 6) + 2.5 * bump(0, 52, 12, 9)
    bags = -0.8 * (1 + shape["age"]) * furrow(((20, 22), (31, 18), (42, 22)), 2.2)
    crease = -0.9 * furrow(((19, 33), (31, 39.5), (45, 33)), 1.5)
    return sockets + ridge + bags + crease


def _nose(shape: dict[str, float]) -> np.ndarray:
    knots = [-16, -12.5, -9.5, -5, 0, 4, 10, 20, 30, 40, 50]
    height = _smoothed_short(np.interp(Y, knots, [0, 1.5, 8, 17.5, 22, 21, 17.5, 10.5, 4.5, 1.5, 0]))
    height = height * (1 + shape["nose_projection"]) + shape["bridge_height"] * np.exp(-0.5 * ((Y - 20) / 12) ** 2)
    width = np.interp(Y, [-16, -8, 0, 10, 20, 35, 50], [9, 8.5, 8, 6.2, 5.6, 7.0, 10])
    width = width * (1 + shape["bridge_width"] * ramp(2, 16))
    ridge = height * np.exp(-0.5 * (np.abs(X) / width) ** 2.3)
    wings = 8.0 * bump(13.5, -4.0, 4.2, 4.2) - 2.2 * furrow(((17, 3), (20, -3), (18.5, -9)), 1.8)
    nostrils = -3.0 * bump(6.5, -9.5, 2.6, 1.6)
    return ridge + wings + nostrils


def _smoothed_short(profile: np.ndarray) -> np.ndarray:
    weights = np.exp(-0.5 * ((Y - Y.T) / 1.6) ** 2)
    return weights @ profile / weights.sum(axis=1, keepdims=True)


def _cheeks(shape: dict[str, float]) -> np.ndarray:
    bones = (4.5 + shape["cheekbones"]) * bump(42, 4, 15, 11)
    flesh = (2.5 + shape["cheek_fullness"]) * bump(38, -24, 17, 17)
    laugh_line = -(0.7 + 1.4 * shape["age"]) * furrow(((20, -2), (26, -13), (32, -27)), 3.0)
    return bones + flesh + laugh_line


def _mouth_and_chin(shape: dict[str, float]) -> np.ndarray:
    muzzle = (4.5 + shape["lips_forward"]) * bump(0, -36, 20, 15)
    upper = 3.2 * (1 + shape["upper_lip"]) * bump(0, -33.5, 15, 3.0)
    lower = 4.2 * (1 + shape["lower_lip"]) * bump(0, -43.5, 14, 3.6)
    line = -2.6 * bump(0, MOUTH_LINE, 13, 1.7) - 1.5 * bump(_DIMPLE, MOUTH_LINE, 4, 3.5)
    philtrum = -1.1 * bump(0, -23, 2.4, 6) + 0.6 * bump(5, -23, 2, 6)
    under = -4.0 * bump(0, -55.5, 17, 4.5)
    chin = (6.5 + shape["chin_forward"]) * bump(0, -72, 13 + shape["chin_width"], 9)
    return muzzle + upper + lower + line + philtrum + under + chin


def _moved(shape: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Shifts of the features from their template places, across and up, (R, C) mm."""
    side, eyes, brows = np.tanh(X / 6), bump(31, EYE_LINE, 17, 9), bump(31, 47.5, 20, 7)
    lips = bump(0, MOUTH_LINE, 26, 13)
    across = side * shape["eye_distance"] * (eyes + 0.7 * brows)
    across = across + shape["eye_width"] * (X - 31 * side) * eyes
    across = across + shape["nose_width"] * X * bump(0, -4, 15, 8) + shape["mouth_width"] * X * lips
    up = shape["eye_height"] * (eyes + brows) + shape["eye_tilt"] * (np.abs(X) - 31) / 12 * eyes
    outwards = (np.abs(X) - 31) / 22
    up = up + brows * (shape["brow_height"] + shape["brow_tilt"] * outwards - shape["brow_arch"] * (outwards**2 - 0.3))
    up = up - shape["nose_length"] * bump(0, -6, 18, 13) + shape["tip_turn"] * bump(0, 0, 7, 7)
    up = up + shape["mouth_height"] * lips + shape["mouth_corners"] * bump(27, MOUTH_LINE, 9, 11)
    distance = Y - MOUTH_LINE
    fullness = np.where(ABOVE_MOUTH, shape["upper_lip"], shape["lower_lip"])
    up = up + 0.6 * fullness * distance * np.exp(-0.5 * (distance / 7) ** 2) * np.exp(-0.5 * (X / 17) ** 2)
    return across, up - shape["chin_length"] * (1 - ramp(-85, -48))


def _proportions(shape: dict[str, float], y: np.ndarray) -> np.ndarray:
    """Stretches the face above and below the eyes."""
    above = 1 + shape["forehead_height"]
    below = 1 + shape["face_length"] / (EYE_LINE + 80)
    return np.where(y > EYE_LINE, EYE_LINE + (y - EYE_LINE) * above, EYE_LINE + (y - EYE_LINE) * below)
