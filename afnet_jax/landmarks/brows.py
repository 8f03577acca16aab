"""Brows where a scan's colours show them: hair lies on the skin, and the surface alone hardly tells how high.

Networks that see heights alone place brows by the bone below. Where the upright view shows a dark band near each of
them, their landmarks move up or down onto its middle line; where it shows none, they stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.ndimage

from afnet_jax.geometry.rendering import Grid, Raster, TexturedMesh, rasterize, render_texture

_GRID = Grid(150, 1.0, (-74.5, 70.0))  # of the upright view, mm: both brows and what is above and below them
# mm, deviations of Gaussians: a band's half height, what surrounds it, and along the brow.
_BAND, _AROUND, _ALONG = 1.2, 5.0, 2.0
_SKIN = 10.0  # mm, deviation of the Gaussian that tells how bright the skin is
_PARTS = ("inner", "middle", "outer")
_PLACES = 13  # along half a brow
_MOVES = np.arange(-13.0, 8.0)  # mm, up: of each of the three landmarks
_USUAL, _BENT = 5.0, 4.0  # mm: standard deviations of a move, and of its change from one landmark to the next
_PRIOR = 0.03  # contrast that a move of so much costs
_LIDS = 8.0  # mm above the corners of the eye: below it, lashes and lids are dark, too
_LEAST_CONTRAST = 0.14  # of a band to the skin around it, as a share of the skin's brightness
_LEAST_LIGHT = 10.0  # of 255: darker skin is no measure
_SAME_SURFACE = 12.0  # mm between the heights of the old place and the new one


def brows_by_colour(mesh: TexturedMesh, landmarks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Moves the landmarks of brows to where colours show them.

    Args:
        mesh: of the scan, in the canonical frame by these landmarks; spikes left out.
        landmarks: name -> (3,) canonical mm; all brows and corners of the eyes.

    Returns:
        name -> (3,) canonical mm of the brows that were moved; {} where no brow is seen.
    """
    raster = rasterize(mesh.points, mesh.triangles, _GRID)
    if not raster.seen.any():
        return {}
    contrast = _contrast(mesh, raster)
    moved: dict[str, np.ndarray] = {}
    for side in ("right", "left"):
        names = [f"{side}_brow_{part}" for part in _PARTS]
        brow = np.stack([landmarks[name] for name in names])
        corners = np.stack([landmarks[f"{side}_eye_{part}"] for part in ("inner", "outer")])
        moves = _best_moves(contrast, brow, corners)
        if moves is not None:
            moved |= dict(zip(names, _on_surface(brow + moves[:, None] * [0, 1, 0], raster), strict=True))
    return moved


def _contrast(mesh: TexturedMesh, raster: Raster) -> np.ndarray:
    """(H, W) how much darker a band of a brow's height is than what surrounds it, as a share of the skin's light."""
    rgb = render_texture(mesh, raster, raster.depth, raster.seen, _GRID)
    seen = raster.seen.astype(np.float64)
    light = rgb.mean(axis=-1, dtype=np.float64) * seen

    def mean(*deviations: float) -> np.ndarray:
        pixels = np.divide(deviations, _GRID.step)
        total, share = (scipy.ndimage.gaussian_filter(image, pixels) for image in (light, seen))
        return total / np.maximum(share, 0.05)

    darker = mean(_AROUND, _ALONG) - mean(_BAND, _ALONG)
    near_seen = scipy.ndimage.gaussian_filter(seen, _ALONG / _GRID.step) > 0.5
    return np.where(near_seen, darker / np.maximum(mean(_SKIN, _SKIN), _LEAST_LIGHT), 0.0)


def _best_moves(contrast: np.ndarray, brow: np.ndarray, corners: np.ndarray) -> np.ndarray | None:
    """(3,) mm by which a brow's landmarks move up; None where no band is dark enough.

    Args:
        contrast: (H, W) of `_contrast`.
        brow: (3, 3) canonical mm, from the inner end to the outer; corners: (2, 3), the eye's inner and outer one.
    """
    inner, outer = (_along_half(contrast, half, corners) for half in (brow[:2], brow[1:]))
    seen = (inner[:, :, None] + outer[None]) / 2  # by the moves of the inner, the middle and the outer landmark
    bends = (_MOVES[:, None] - _MOVES) ** 2 / _BENT**2
    usual = _MOVES**2 / _USUAL**2
    unusual = (usual[:, None] + bends)[:, :, None] + (usual[:, None] + bends + usual)[None]
    best = np.unravel_index(np.argmax(seen - _PRIOR * unusual), seen.shape)
    return _MOVES[list(best)] if seen[best] >= _LEAST_CONTRAST else None


def _along_half(contrast: np.ndarray, ends: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(M, M) mean contrast along a straight half of a brow, by the moves of its ends; -inf where the eye is near."""
    share = np.linspace(0, 1, _PLACES)[:, None, None]
    x = ends[0, 0] + share * (ends[1, 0] - ends[0, 0])
    y = (1 - share) * (ends[0, 1] + _MOVES[:, None]) + share * (ends[1, 1] + _MOVES)
    lowest = np.interp(np.abs(x), np.abs(corners[:, 0]), corners[:, 1]) + _LIDS
    places = np.stack([np.broadcast_to(x, y.shape), y], axis=-1)
    seen = scipy.ndimage.map_coordinates(contrast, _GRID.to_pixels(places.reshape(-1, 2)), order=1, mode="nearest")
    return np.where((y >= lowest).all(axis=0), seen.reshape(y.shape).mean(axis=0), -np.inf)


def _on_surface(places: np.ndarray, raster: Raster) -> np.ndarray:
    """(3, 3) places with the heights of the surface there, where it is seen and the same."""
    row, col = (np.rint(at).astype(int).clip(0, _GRID.size - 1) for at in _GRID.to_pixels(places))
    height = raster.depth[row, col]
    near = np.abs(height - places[:, 2]) < _SAME_SURFACE
    return np.column_stack([places[:, :2], np.where(near, height, places[:, 2])])
