"""The colours of a made-up face's skin, place by place, and the light that falls on it."""

from __future__ import annotations

import functools

import numpy as np
import scipy.ndimage

from afnet_jax.scans.synthetic.face import STEP, A, B, Eyes, brow_line, lip_edges
from afnet_jax.scans.synthetic.person import Person, draw_person

_SCLERA = np.array([232, 226, 220.0])


@functools.lru_cache(maxsize=8)
def _bare_face(number: int, seed: int) -> np.ndarray:
    """Skin with blemishes, lips and brows, without eyes: (len(B), len(A), 3), the same in all of a person's scans."""
    person, rng = draw_person(number, seed), np.random.default_rng([seed, number, 1])
    shape = (len(B), len(A))
    blotches = scipy.ndimage.gaussian_filter(rng.normal(size=shape), 18) * 45
    pores = scipy.ndimage.gaussian_filter(rng.normal(size=shape), 1.2) * 0.055
    paint = person.skin * (1 + 0.05 * blotches + pores)[..., None]
    paint = paint * (1 + 0.10 * _cheeks(person)[..., None] * np.array([0.6, -0.6, -0.5]))
    for a, b, radius, dark in person.blemishes:
        paint *= 1 - dark * np.exp(-((A[None] - a) ** 2 + (B[:, None] - b) ** 2) / radius**2)[..., None]
    nostrils = np.exp(-(((np.abs(A[None]) - 6) / 3) ** 2) - ((B[:, None] + person["nose_length"] + 0.5) / 1.5) ** 2)
    paint *= 1 - 0.7 * nostrils[..., None]
    paint = _blend(paint, person.lips * (1 + pores[..., None]), _lips(person))
    return _blend(paint, person.brows, _brows(person, rng))


def paint_face(person: Person, seed: int, eyes: Eyes, units: dict[int, tuple[float, float]]) -> np.ndarray:
    """Colour of each place without light, (len(B), len(A), 3) float, 0 … 255, eyes open as given."""
    paint = _bare_face(person.number, seed).copy()
    for k, sign in enumerate((-1, 1)):
        paint = _eye(person, paint, sign, eyes.up[k], eyes.down[k])
    return paint * (1 - _folds(person, units))[..., None]


def _blend(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    return below + share[..., None] * (above - below)


def _edge(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where distance (mm) is well above 0, 0 well below."""
    return 1 / (1 + np.exp(-np.clip(distance / softness, -30, 30)))


def _cheeks(p: Person) -> np.ndarray:
    return np.exp(-(((np.abs(A[None]) - 42) / 17) ** 2 + ((B[:, None] - p["cheek_height"]) / 15) ** 2) / 2)


def _lips(p: Person) -> np.ndarray:
    up, down = lip_edges(p, A)
    height = B[:, None] - p["mouth_height"]
    share = _edge(up[None] - height, 0.35) * _edge(height + down[None], 0.35)
    return share * (np.abs(A[None]) < p["mouth_width"]) * 0.9


def _brows(p: Person, rng: np.random.Generator) -> np.ndarray:
    s = (np.abs(A) - 9) / 39
    _, middle = brow_line(p, np.clip(s, 0, 1))
    half = 0.5 * p["brow_thickness"] * (1.1 - 0.6 * np.clip(s, 0, 1))
    band = _edge(half[None] - np.abs(B[:, None] - middle[None]), 0.5) * _edge((s * (1 - s))[None] * 40, 0.4)
    # Hairs: noise drawn out along the growth.
    hairs = scipy.ndimage.gaussian_filter(rng.normal(size=band.shape), (0.8, 4.0))
    return band * np.clip(0.75 + 2.0 * hairs, 0.25, 1)


def _eye(p: Person, paint: np.ndarray, sign: int, up: float, down: float) -> np.ndarray:
    rows = slice(*np.searchsorted(B, (-14, 14)))
    cols = slice(*np.searchsorted(A, np.sort(sign * p["eye_spacing"] + np.array([-20.0, 20]))))
    a, b = sign * A[None, cols] - p["eye_spacing"], B[rows, None]
    arch = np.sqrt(np.clip(1 - (a / p["eye_width"]) ** 2, 0, 1))
    opening = _edge(up * arch - b, 0.25) * _edge(b + down * arch, 0.25) * (np.abs(a) < p["eye_width"])
    radius = np.hypot(a, b - 0.8)
    ball = _blend(np.broadcast_to(_SCLERA, (*radius.shape, 3)), p.iris, _edge(5.8 - radius, 0.25))
    ball = _blend(ball, np.array([16.0, 14, 14]), _edge(2.4 - radius, 0.2))
    ball = _blend(ball, np.array([250.0, 250, 250]), _edge(0.9 - np.hypot(a - 1.6, b - 2.4), 0.2))
    ball = ball * (1 - 0.35 * np.exp(-(((up * arch - b) / 1.2) ** 2)))[..., None]  # the lid's shadow
    lashes = 0.65 * np.exp(-(((b - up * arch) / 0.7) ** 2)) * (arch > 0)
    crease = 0.22 * np.exp(-(((b - (up + 3.5) * arch**0.7) / 0.8) ** 2)) * (arch > 0)
    patch = paint[rows, cols] * (1 - np.maximum(lashes, crease))[..., None]
    paint[rows, cols] = _blend(patch, ball, opening)
    return paint


def _folds(p: Person, units: dict[int, tuple[float, float]]) -> np.ndarray:
    """Darkening by the folds that action units press into the skin."""
    strength = {unit: float(np.mean(sides)) for unit, sides in units.items()}
    a, b = np.abs(A)[None], B[:, None]
    dark = np.zeros((len(B), len(A)))
    raised = max(strength.get(1, 0), strength.get(2, 0)) * (1 - 0.8 * strength.get(4, 0))
    for k in range(3):
        line = p["brow_height"] + 16 + 9 * k + 2 * np.cos(a / 18)
        dark += 0.16 * max(raised, 0) * np.exp(-(((b - line) / 0.9) ** 2)) * np.exp(-((a / 40) ** 4))
    dark += 0.25 * strength.get(4, 0) * np.exp(-(((a - 4.5) / 0.9) ** 2) - ((b - p["brow_height"] + 2) / 7) ** 2)
    dark += 0.20 * strength.get(9, 0) * np.exp(-(((b + 8 - 0.6 * a) / 0.9) ** 2) - (a / 9) ** 4)
    cheek = max(strength.get(12, 0), strength.get(10, 0), strength.get(9, 0))
    corner, wing = p["mouth_width"] + 7, p["nose_width"] + 2
    t = np.clip((b + p["nose_length"] - 6) / (p["mouth_height"] + p["nose_length"] - 8), 0, 1)
    dark += 0.24 * cheek * np.exp(-(((a - wing - (corner - wing) * t) / 1.3) ** 2)) * ((t > 0) & (t < 1))
    dark += 0.18 * strength.get(17, 0) * np.exp(-(((b - p["mouth_height"] + 15) / 1.4) ** 2) - (a / 13) ** 4)
    for k in range(3):
        ray = b - (k - 1) * 0.35 * (a - p["eye_spacing"] - p["eye_width"])
        out = a - p["eye_spacing"] - p["eye_width"] - 7
        dark += 0.2 * strength.get(6, 0) * np.exp(-((ray / 0.7) ** 2) - (out / 5) ** 4)
    return scipy.ndimage.gaussian_filter(np.clip(dark, 0, 0.6), 0.3 / STEP)


def light(normals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Factor on the colours under a light whose direction, strength and tint vary; (…, 3) for (…, 3) normals."""
    direction = np.array([rng.normal(0, 0.55), rng.normal(0.25, 0.4), 1.0])
    direction /= np.linalg.norm(direction)
    ambient, strength = rng.uniform(0.3, 0.55), rng.uniform(0.45, 0.8)
    tint = 1 + rng.normal(0, 0.04, 3)
    lit = np.clip(normals @ direction, 0, 1)
    shine = 0.10 * rng.uniform() * np.clip(normals @ _halfway(direction), 0, 1) ** 24
    return (ambient + strength * lit)[..., None] * tint + shine[..., None]


def _halfway(direction: np.ndarray) -> np.ndarray:
    half = direction + np.array([0, 0, 1.0])
    return half / np.linalg.norm(half)
