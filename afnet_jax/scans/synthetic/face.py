"""The surface of a made-up face: a plane of skin, raised into a face, moved by action units.

Every place of the skin has coordinates (a, b) in the face's own plane (mm; a to the image's right, b up, origin
between the eyes), which stay with it while the face moves: landmarks and paint ride on them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.ndimage

from afnet_jax.scans.synthetic.person import Person

STEP = 0.4  # mm between neighbouring places of the skin
A = np.arange(-88, 88 + STEP, STEP)
B = np.arange(-128, 92 + STEP, STEP)
SLIT = 0.3  # mm between a lip's edge and the line between the lips


def _bell(a0: float, b0: float, sa: float, sb: float) -> np.ndarray:
    return np.outer(np.exp(-(((B - b0) / sb) ** 2) / 2), np.exp(-(((A - a0) / sa) ** 2) / 2))


def _both(a0: float, b0: float, sa: float, sb: float) -> np.ndarray:
    return _bell(-a0, b0, sa, sb) + _bell(a0, b0, sa, sb)


@dataclasses.dataclass(frozen=True)
class Eyes:
    """Opening of both eyes (subject's right, left) as places of the lids' edges.

    Attributes:
        up, down: mm from the eye's middle line to the middle of the upper and of the lower lid.
    """

    up: tuple[float, float]
    down: tuple[float, float]


def neutral_heights(person: Person) -> np.ndarray:
    """Height of each place of the neutral face over its plane, mm, (len(B), len(A))."""
    p = person
    below = np.clip(-(B + 20) / 90, 0, 1)[:, None]
    width = p["face_width"] * (1 - p["jaw_taper"] * below**2)
    q = (A[None] / width) ** 2 + ((B[:, None] + 15) / p["face_height"]) ** 2
    z = p["face_depth"] * (np.sqrt(np.maximum(1 - 0.9 * q, 0.02)) - 1)
    z += p["forehead"] * _bell(0, 50, 34, 20) - p["temple"] * _both(64, 26, 12, 22)
    z += p["brow_ridge"] * _both(24, p["brow_height"] - 3, 17, 6)
    z -= p["eye_depth"] * _both(p["eye_spacing"], 1, 14, 9)
    z += 6.0 * _both(p["eye_spacing"], 0, 9.5, 7)  # eyeballs behind the lids
    z += p["cheek"] * _both(42, p["cheek_height"], 17, 15)
    z += _nose(p)
    m = p["mouth_height"]
    z += 2.0 * _bell(0, m, 30, 16)  # the teeth behind
    z += p["lip_protrusion"] * (_bell(0, m + 4, 17, 3.6) + 1.1 * _bell(0, m - 4.5, 15, 4.0))
    z -= 2.2 * _bell(0, m, 20, 1.6) + 1.2 * _bell(0, m + 12, 3, 6)
    z -= 3.0 * _bell(0, m - 14, 18, 5)
    z += p["chin_projection"] * _bell(0, p["chin_height"], 16, 12)
    return z


def _nose(p: Person) -> np.ndarray:
    tip = -p["nose_length"] + 9
    along = np.clip((B - 6) / (tip - 6), 0, 1)[:, None]  # 0 at the root, 1 at the tip
    ridge = p["nose_bridge"] + (p["nose_projection"] - p["nose_bridge"]) * along
    ridge = ridge * (B[:, None] >= tip) + p["nose_projection"] * np.exp(-(((B[:, None] - tip) / 5.5) ** 2) / 2) * (
        B[:, None] < tip
    )
    fade = 1 / (1 + np.exp(np.clip((B[:, None] - 5) / 4, -30, 30)))  # into the forehead
    half = 5.5 + 4.0 * along
    z = ridge * fade * np.exp(-((A[None] / half) ** 2) / 2)
    z += 4.0 * _bell(0, tip, p["nose_tip"] * 0.8, 6)
    wing = -p["nose_length"] + 4
    z += 8.5 * _both(p["nose_width"] - 4.5, wing, 4.6, 5.0)
    return z - 2.5 * _both(6, wing - 6.5, 3, 2)


def move(person: Person, units: dict[int, tuple[float, float]]) -> tuple[np.ndarray, Eyes]:
    """Displacement of each place by action units, (3, len(B), len(A)) mm, and the opening of the eyes."""
    p, d = person, np.zeros((3, len(B), len(A)))

    def pull(
        d: np.ndarray, unit: int, a0: float, b0: float, sa: float, sb: float, by: tuple[float, float, float]
    ) -> None:
        for side, strength in zip((-1, 1), units.get(unit, (0.0, 0.0)), strict=True):
            if strength:
                bell = strength * _bell(side * a0, b0, sa, sb)
                for axis, amount in enumerate((side * by[0], by[1], by[2])):
                    if amount:
                        d[axis] += amount * bell

    brow, m, mw = p["brow_height"], p["mouth_height"], p["mouth_width"]
    above, below = _lips(p)
    pull(d, 1, 12, brow + 2, 13, 13, (0, 8.0, 0.8))
    pull(d, 2, 40, brow + 2, 14, 13, (0, 7.5, 0.3))
    pull(d, 4, 17, brow - 1, 14, 10, (-3.5, -6.0, 1.6))
    pull(d, 4, 5, brow - 6, 5, 7, (0, 0, 1.8))
    pull(d, 6, 38, -20, 17, 12, (0, 4.5, 3.5))
    pull(d, 9, 11, -14, 8, 12, (-0.5, 5.0, 1.6))
    pull(d, 9, 12, brow - 4, 12, 8, (-1.5, -3.0, 0.5))
    pull(d, 9, 16, -36, 7, 8, (1.5, 3.5, 1.0))
    pull(d, 12, mw, m, 12, 12, (6.0, 9.0, -2.5))
    pull(d, 12, 42, -38, 13, 12, (1.5, 3.5, 4.5))
    pull(d, 15, mw, m - 1, 10, 10, (1.0, -8.0, -0.8))
    pull(d, 17, 6, p["chin_height"] + 4, 15, 10, (0, 5.0, 2.5))
    pull(d, 20, mw, m, 13, 10, (8.0, -1.5, -2.0))
    pull(d, 23, mw, m, 9, 9, (-3.0, 0, 0.8))
    upper, lower = d.copy(), d  # from here on what is done to one lip is not done to the other
    pull(upper, 10, 11, m + 8, 11, 8, (0, 6.5, 1.2))
    pull(upper, 23, 8, m + 4, 12, 4.5, (0, -2.2, -1.2))
    pull(upper, 25, 8, m + 2, 13, 7, (0, 2.0, 0))
    pull(lower, 17, 8, m - 4, 13, 7, (0, 2.5, 2.8))
    pull(lower, 23, 8, m - 4, 12, 4.5, (0, 2.4, -1.2))
    pull(lower, 25, 8, m - 3, 13, 8, (0, -4.5, 0))
    moved = above * upper + below * lower
    jaw = np.mean(units.get(26, (0.0, 0.0))) * 19 + np.mean(units.get(25, (0.0, 0.0))) * 4
    reach = np.exp(-((A[None] / 62) ** 4) / 2)
    moved[1] -= jaw * below * reach
    moved[2] -= 0.22 * jaw * below * reach * np.clip(-(B[:, None] - m) / 40, 0, 1)
    moved[0] -= 0.10 * jaw * np.sign(A)[None] * _both(mw, m, 9, 14)  # an open mouth is a narrower one
    return moved, _eyes(p, units)


def _lips(p: Person) -> tuple[np.ndarray, np.ndarray]:
    """Share of each place that goes with the upper and the lower lip: parted between them, smooth elsewhere."""
    depth = p["mouth_height"] - B[:, None]
    parted = np.sqrt(np.clip(1 - (A[None] / p["mouth_width"]) ** 2, 0, 1))
    side = np.where(depth > 0, 1.0, -1.0)
    below = 0.5 * (1 + side * np.maximum(np.abs(np.tanh(depth / 14)), parted))
    return 1 - below, below


def _eyes(p: Person, units: dict[int, tuple[float, float]]) -> Eyes:
    def side(k: int) -> tuple[float, float]:
        wide, cheek, tight = (units.get(unit, (0.0, 0.0))[k] for unit in (5, 6, 7))
        up = p["eye_opening"] * (1 + 0.55 * wide - 0.2 * cheek - 0.35 * tight)
        down = 0.75 * p["eye_opening"] * (1 + 0.15 * wide - 0.5 * cheek - 0.5 * tight)
        return max(up, 1.2), max(down, 0.6)

    (up_r, down_r), (up_l, down_l) = side(0), side(1)
    return Eyes((up_r, up_l), (down_r, down_l))


def inside(person: Person) -> np.ndarray:
    """The places that a scanner sees: the face without hair, ears and neck. (len(B), len(A)) bool."""
    below = np.clip(-(B + 20) / 90, 0, 1)[:, None]
    width = person["face_width"] * (1 - person["jaw_taper"] * below**2)
    oval = (A[None] / width) ** 2 + ((B[:, None] + 15) / person["face_height"]) ** 2 < 0.93
    return oval & (B[:, None] < person["hairline"] - (A[None] / 40) ** 4)


def sample(fields: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of (K, len(B), len(A)) fields at (N, 2) places, linearly between; (N, K)."""
    at = np.stack([(places[:, 1] - B[0]) / STEP, (places[:, 0] - A[0]) / STEP])
    return np.stack([scipy.ndimage.map_coordinates(f, at, order=1, mode="nearest") for f in fields], axis=1)


def landmark_places(person: Person, eyes: Eyes) -> dict[str, np.ndarray]:
    """Place of every landmark of both databases, in the face's plane."""
    p, places = person, {}
    for side, sign, up, down in (("right", -1, eyes.up[0], eyes.down[0]), ("left", 1, eyes.up[1], eyes.down[1])):
        t = np.array([-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5])  # along the eye: inner corner, upper lid, outer, lower
        edge = np.array([0, 0.75 * up, up, 0.75 * up, 0, -0.75 * down, -down, -0.75 * down])
        for k in range(8):
            places[f"{side}_eye_{k}"] = (sign * (p["eye_spacing"] + t[k] * p["eye_width"]), edge[k])
        s = np.concatenate([np.linspace(0, 1, 5), np.linspace(1, 0, 5)])
        for k in range(10):
            a, b = brow_line(p, s[k])
            half = 0.5 * p["brow_thickness"] * (1.1 - 0.6 * s[k]) * (1 if k < 5 else -1)
            places[f"{side}_brow_{k}"] = (sign * a, b + half)
        nose = [(7, -2), (8, -14), (p["nose_width"] - 4, -p["nose_length"] + 11),
                (p["nose_width"], -p["nose_length"] + 4), (p["nose_width"] - 5, -p["nose_length"] - 1),
                (3.5, -p["nose_length"] - 2)]  # fmt: skip
        for k, (a, b) in enumerate(nose):
            places[f"nose_{k if sign < 0 else 11 - k}"] = (sign * a, b)
        places[f"{side}_nose_saddle"] = (sign * 7.5, -1.0)
    places["nose_tip"] = (0.0, -p["nose_length"] + 9.0)
    places.update(_mouth_places(p))
    for k in range(15):
        angle = np.pi * (1 + k / 14)
        bottom = 0.93 * p["face_height"] if k in (6, 7, 8) else 0.9 * p["face_height"]
        width = p["face_width"] * (1 - 0.75 * p["jaw_taper"] * np.sin(angle) ** 2)
        places[f"contour_{k}"] = (0.9 * width * np.cos(angle), -15 + bottom * np.sin(angle) * 0.93)
    places["contour_7"] = (0.0, p["chin_height"] - 6)
    return {name: np.array(place) for name, place in places.items()}


def brow_line(p: Person, s: np.ndarray | float) -> tuple:
    """Middle line of a brow from its inner (0) to its outer end (1)."""
    return 9 + 39 * s, p["brow_height"] + p["brow_arch"] * (1 - (2 * s - 1.1) ** 2)


def lip_edges(p: Person, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outer edge of the upper and of the lower lip above and below the line between them, mm, at places `a`."""
    t = np.clip(1 - (a / p["mouth_width"]) ** 2, 0, 1)
    bow = 1 - 0.18 * np.exp(-((a / 4) ** 2))
    return p["upper_lip"] * bow * t**0.8, p["lower_lip"] * t**0.6


def _mouth_places(p: Person) -> dict[str, tuple[float, float]]:
    m, mw, places = p["mouth_height"], p["mouth_width"], {}
    for k, t in enumerate((-1, -0.62, -0.22, 0, 0.22, 0.62, 1, 0.62, 0.22, 0, -0.22, -0.62)):
        up, down = lip_edges(p, np.array(t * mw))
        places[f"lip_outer_{k}"] = (t * mw, m + (up if k < 6 else -down if k > 6 else 0))
    for k, t in enumerate((-0.97, -0.5, 0, 0.5, 0.97, 0.5, 0, -0.5)):
        places[f"lip_inner_{k}"] = (t * mw, m + (STEP if k < 4 else -STEP if k > 4 else 0))
    return places
