"""The painted sheet of a person: skin, lips, brows and freckles on the template, irises and teeth on patches."""

from __future__ import annotations

import functools

import numpy as np
import scipy.ndimage

from afnet_jax.synthetic.head import EYE_PATCHES, MOUTH_PATCH, TEETH_EDGE
from afnet_jax.synthetic.identity import Person
from afnet_jax.synthetic.template import (
    BROW_LOWER,
    BROW_UPPER,
    EYE_INNER,
    EYE_LINE,
    EYE_OUTER,
    HALF_WIDTH,
    LOWER_LIP_OUTLINE,
    MOUTH_CORNER,
    MOUTH_LINE,
    UPPER_LIP_OUTLINE,
)

PER_MM = 3  # pixels, of the default subjects' sheets
_LEFT, _RIGHT, _BOTTOM, _TOP = -94.0, 94.0, -148.0, 90.0  # template mm


@functools.lru_cache(maxsize=4)
def _grid(per_mm: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Template arc (1, W), x (1, W) and y (H, 1) of the sheet's pixels, row 0 at the bottom."""
    arc = np.arange(_LEFT, _RIGHT, 1 / per_mm)[None, :]
    y = np.arange(_BOTTOM, _TOP, 1 / per_mm)[:, None]
    return arc.astype(np.float32), (HALF_WIDTH * np.sin(arc / HALF_WIDTH)).astype(np.float32), y.astype(np.float32)


def look_up(sheet: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """(..., 3) colours at (..., 2) template places: the nearest pixel of the sheet."""
    height, width = sheet.shape[:2]
    per_mm = round(width / (_RIGHT - _LEFT))
    row = ((paint[..., 1] - _BOTTOM) * per_mm + 0.5).astype(np.int32)
    col = ((paint[..., 0] - _LEFT) * per_mm + 0.5).astype(np.int32)
    return sheet.reshape(-1, 3)[np.clip(row, 0, height - 1) * width + np.clip(col, 0, width - 1)]


def paint_person(person: Person, per_mm: int = PER_MM) -> np.ndarray:
    """(H, W, 3) float32 RGB reflectance, 0 … 255, for `look_up`."""
    rng = np.random.default_rng([*person.seed, 0x5C])
    _, x, y = _grid(per_mm)
    sheet = np.broadcast_to(person.skin.astype(np.float32), (y.size, x.size, 3)).copy()
    _tint_skin(sheet, per_mm, person, rng)
    _paint_lips(sheet, per_mm, person, rng)
    _paint_brows(sheet, per_mm, person, rng)
    _paint_lines(sheet, per_mm, rng)
    _paint_hair(sheet, per_mm, person, rng)
    for centre in EYE_PATCHES:
        _paint_eyeball(sheet, per_mm, centre, person)
    _paint_teeth(sheet, per_mm, rng)
    return np.clip(sheet, 0, 255)


def _noise(per_mm: int, rng: np.random.Generator, sigma: float, stretch: float = 1.0) -> np.ndarray:
    """(H, W) noise of unit deviation with grains of `sigma` mm, taller by `stretch`; made coarsely and enlarged."""
    _, x, y = _grid(per_mm)
    shrink = max(1, int(sigma * per_mm / 2))
    small = rng.standard_normal((y.size // shrink + 2, x.size // shrink + 2), np.float32)
    grain = sigma * per_mm / shrink
    small = scipy.ndimage.gaussian_filter(small, (grain * stretch, grain), mode="wrap")
    small /= small.std()
    if shrink == 1:
        return small[: y.size, : x.size]
    return scipy.ndimage.zoom(small, shrink, order=1)[: y.size, : x.size]


def _spot(per_mm: int, x0: float, y0: float, width: float, height: float) -> np.ndarray:
    _, x, y = _grid(per_mm)
    return np.exp(-0.5 * ((np.abs(x) - x0) / width) ** 2) * np.exp(-0.5 * ((y - y0) / height) ** 2)


def _blend(sheet: np.ndarray, colour: np.ndarray, share: np.ndarray) -> None:
    sheet += share[..., None] * (np.asarray(colour, np.float32) - sheet)


def _tint_skin(sheet: np.ndarray, per_mm: int, person: Person, rng: np.random.Generator) -> None:
    red = person.skin * [1.02, 0.80, 0.78]
    flush = rng.uniform(0.1, 0.55, 3)
    _blend(
        sheet,
        red,
        flush[0] * _spot(per_mm, 36, -2, 15, 12)
        + flush[1] * _spot(per_mm, 0, -2, 11, 8)
        + flush[2] * _spot(per_mm, 0, -72, 16, 10),
    )
    _blend(sheet, person.skin * [0.72, 0.64, 0.66], rng.uniform(0.1, 0.6) * _spot(per_mm, 29, 22, 9, 4))
    if person.sex == "M":
        beard = np.clip(_spot(per_mm, 22, -66, 30, 16) + _spot(per_mm, 0, -25, 16, 4), 0, 1) * (
            1 + 0.25 * _noise(per_mm, rng, 0.4)
        )
        _blend(sheet, 0.45 * person.skin + 0.35 * person.hair, rng.uniform(0, 0.55) * np.clip(beard, 0, 1))
    mottled = 0.06 * _noise(per_mm, rng, 9) + 0.025 * _noise(per_mm, rng, 2.5) + 0.02 * _noise(per_mm, rng, 0.5)
    sheet *= (1 + mottled)[..., None]
    freckles = np.clip(_noise(per_mm, rng, 0.7) - rng.uniform(1.6, 3.2), 0, 1) * np.clip(
        _spot(per_mm, 24, 8, 24, 14) + 0.3, 0, 1
    )
    _blend(sheet, person.skin * [0.62, 0.5, 0.42], 0.8 * freckles)
    for _ in range(rng.integers(0, 6)):
        arc, _, y = _grid(per_mm)
        mole = np.hypot(arc - rng.uniform(-60, 60), y - rng.uniform(-70, 70)) / rng.uniform(0.7, 1.5)
        _blend(sheet, person.skin * 0.42, 0.8 * np.clip(1.6 - mole, 0, 1))


def _paint_lips(sheet: np.ndarray, per_mm: int, person: Person, rng: np.random.Generator) -> None:
    _, x, y = _grid(per_mm)
    corners = [(-MOUTH_CORNER, MOUTH_LINE)], [(MOUTH_CORNER, MOUTH_LINE)]
    upper = np.interp(x, *np.transpose(corners[0] + UPPER_LIP_OUTLINE + corners[1]))
    lower = np.interp(x, *np.transpose(corners[0] + LOWER_LIP_OUTLINE[::-1] + corners[1]))
    inside = np.clip(np.minimum(upper - y, y - lower) / 1.2 + 0.3, 0, 1) * (np.abs(x) < MOUTH_CORNER)
    _blend(sheet, person.lips, 0.92 * inside * np.clip(1 + 0.1 * _noise(per_mm, rng, 0.4, 4), 0, 1.08))
    line = np.exp(-0.5 * ((y - MOUTH_LINE) / 0.7) ** 2) * np.clip((MOUTH_CORNER + 1 - np.abs(x)) / 2, 0, 1)
    _blend(sheet, 0.35 * person.lips, 0.8 * line)


def _paint_brows(sheet: np.ndarray, per_mm: int, person: Person, rng: np.random.Generator) -> None:
    """Hairs: grains stretched across the brow, dense in the middle between its two edges."""
    _, x, y = _grid(per_mm)
    lift, reach, thick = rng.normal(0, 0.8), rng.uniform(-2, 3), rng.uniform(0.9, 1.7)
    out = np.abs(x)
    upper = np.interp(out, *np.transpose(BROW_UPPER)) + lift
    lower = np.interp(out, *np.transpose(BROW_LOWER[::-1])) + lift
    middle, half = (upper + lower) / 2, thick * (upper - lower) / 2 * np.clip(1.15 - (out - 9) / 75, 0.4, 1.2)
    across = np.clip(1.25 - np.abs(y - middle) / half, 0, 1)
    along = np.clip((out - 7.5) / 4, 0, 1) * np.clip((56 + reach - out) / 9, 0, 1)
    hairs = np.clip(0.85 + 0.35 * _noise(per_mm, rng, 0.35, 3.0), 0, 1)
    share = rng.uniform(0.7, 1.0) * np.minimum(1.6 * across, 1) * along * hairs
    _blend(sheet, 0.85 * person.hair, share)


def _paint_lines(sheet: np.ndarray, per_mm: int, rng: np.random.Generator) -> None:
    """Lashes, the fold above the eyes, nostrils: dark whatever the light."""
    _, x, y = _grid(per_mm)
    within = np.clip(np.minimum(np.abs(x) - EYE_INNER + 1, EYE_OUTER + 2 - np.abs(x)) / 2, 0, 1)
    lashes = np.exp(-0.5 * ((y - EYE_LINE - 0.5) / 0.55) ** 2) + 0.4 * np.exp(-0.5 * ((y - EYE_LINE + 0.5) / 0.4) ** 2)
    reach = np.clip(1 - ((np.abs(x) - 31) / 14) ** 2, 0, 1)
    fold = np.exp(-0.5 * ((y - EYE_LINE - 2.5 - 3.0 * reach) / 0.6) ** 2) * (reach > 0)
    nostrils = _spot(per_mm, 6.8, -9.3, 2.7, 1.5)
    dark = rng.uniform(0.7, 0.95) * within * lashes + 0.4 * fold + 1.3 * np.clip(nostrils - 0.15, 0, 1)
    _blend(sheet, np.array([28, 18, 16]), np.clip(dark, 0, 0.92))


def _paint_hair(sheet: np.ndarray, per_mm: int, person: Person, rng: np.random.Generator) -> None:
    _, x, y = _grid(per_mm)
    line = rng.uniform(74, 96) - rng.uniform(0.0, 0.006) * x**2 + 2.0 * _noise(per_mm, rng, 4)
    share = np.clip((y - line) / 4, 0, 1) * np.clip(0.9 + 0.2 * _noise(per_mm, rng, 0.5, 6), 0, 1)
    _blend(sheet, person.hair, share)


def _paint_eyeball(sheet: np.ndarray, per_mm: int, centre: tuple[float, float], person: Person) -> None:
    arc, _, y = _grid(per_mm)
    rows = slice(*np.searchsorted(y[:, 0], [centre[1] - 18, centre[1] + 18]))
    cols = slice(*np.searchsorted(arc[0], [centre[0] - 20, centre[0] + 20]))
    dx, dy = arc[:, cols] - centre[0], y[rows] - centre[1]
    radius = np.hypot(dx, dy)
    patch = sheet[rows, cols]
    white = np.array([226, 216, 208], np.float32)
    patch[:] = (
        white * (1 - 0.25 * np.clip((np.abs(dx) - 7) / 6, 0, 1) - 0.18 * np.clip((dy - 1.5) / 5, 0, 1))[..., None]
    )
    angle = np.arctan2(dy, dx)
    rays = 1 + 0.12 * np.sin(23 * angle + 3 * np.sin(7 * angle)) - 0.35 * np.clip((radius - 4.8) / 0.9, 0, 1)
    iris = np.clip((5.9 - radius) / 0.5, 0, 1)
    patch += iris[..., None] * (person.iris.astype(np.float32) * rays[..., None] - patch)
    _blend(patch, np.array([12, 10, 10]), np.clip((2.4 - radius) / 0.4, 0, 1))
    _blend(patch, np.array([250, 250, 250]), 0.9 * np.clip(1.5 - np.hypot(dx + 1.6, dy - 2.0), 0, 1))


def _paint_teeth(sheet: np.ndarray, per_mm: int, rng: np.random.Generator) -> None:
    """The patch of the mouth: upper teeth in its top, lower ones in its bottom, the dark and the tongue between."""
    arc, _, y = _grid(per_mm)
    rows = slice(*np.searchsorted(y[:, 0], [MOUTH_PATCH[1] - 22, MOUTH_PATCH[1] + 22]))
    cols = slice(*np.searchsorted(arc[0], [-37, 37]))
    dx, dy = arc[:, cols], y[rows] - MOUTH_PATCH[1]
    patch = sheet[rows, cols]
    patch[:] = np.array([34, 14, 14], np.float32)
    _blend(patch, np.array([120, 52, 50]), 0.7 * np.exp(-0.5 * ((dx / 13) ** 2 + ((dy + 11) / 3.5) ** 2)))
    enamel = np.array([228, 220, 200], np.float32) * rng.uniform(0.8, 1.05)
    into = np.abs(dy) - TEETH_EDGE
    pitch = np.where(dy > 0, 7.6, 5.6)
    between = np.abs((dx / pitch + 0.5 * (dy < 0)) % 1 - 0.5) > 0.43
    share = np.clip(into / 0.4, 0, 1) * (1 - 0.45 * between) * np.clip(1.25 - np.abs(dx) / 32, 0.2, 1)
    _blend(patch, enamel, share)
    _blend(patch, np.array([150, 82, 80]), np.clip((into - 8) / 0.8, 0, 1))
