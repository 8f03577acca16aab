"""Disturbs a view as training shows it, anew each time: noise, holes, spikes, crops, smoothing, mirroring."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from afnet_jax.scans.scan import LANDMARKS

_OTHER = {"right": "left", "left": "right"}
# Index of each landmark's counterpart on the other side of the face.
MIRRORED = np.array(
    [LANDMARKS.index("_".join(_OTHER.get(part, part) for part in name.split("_"))) for name in LANDMARKS]
)
_NOISE, _ROUGH, _SPIKE = 0.8, 1.5, (4.0, 40.0)  # mm
_STEEP = (2.0, 6.0)  # mm for each mm between pixels: rises that a scanner, or the removal of bridges, loses


def disturbed(depth: np.ndarray, step: float, rng: np.random.Generator, marks: np.ndarray | None = None) -> np.ndarray:
    """Returns a depth image as a worse scanner would have seen it.

    Args:
        depth: (size, size) float32 mm, NaN where nothing is.
        step: mm per pixel.
        marks: (K, 2) pixels (col, row) where holes are likely, or None: anywhere on the surface.
    """
    size = len(depth)
    row, col = np.ogrid[:size, :size]
    if rng.random() < 0.35:
        depth = _smoothed(depth, rng.uniform(0.4, 3.0) / step)
    if rng.random() < 0.35:
        depth = np.where(_rise(depth) > 2 * step * rng.uniform(*_STEEP), np.nan, depth)
    depth = depth + rng.standard_normal(depth.shape, np.float32) * np.float32(rng.uniform(0, _NOISE))
    if rng.random() < 0.3:
        block = -(-size // 8)
        depth += np.kron(rng.normal(0, rng.uniform(0, _ROUGH), (8, 8)), np.ones((block, block)))[:size, :size]
    surface = np.argwhere(np.isfinite(depth))[:, ::-1]
    if not len(surface):
        return depth.astype(np.float32)
    if rng.random() < 0.6:
        for _ in range(rng.integers(1, 8)):
            places = marks if marks is not None and rng.random() < 0.4 else surface
            at = places[rng.integers(len(places))] + rng.normal(0, 1.5, 2)
            radii = rng.uniform(1.5, 13, 2) / step if rng.random() < 0.3 else rng.uniform(1, 5, 2) / step
            depth[((col - at[0]) / radii[0]) ** 2 + ((row - at[1]) / radii[1]) ** 2 < 1] = np.nan
    if rng.random() < 0.6:
        spikes = surface[rng.integers(len(surface), size=rng.integers(1, 30))]
        depth[spikes[:, 1], spikes[:, 0]] += rng.uniform(*_SPIKE, len(spikes)) * rng.choice([-1, 1, 1], len(spikes))
    if rng.random() < 0.3:
        depth = np.where(_cropped(surface, row, col, step, rng), depth, np.nan)
    return depth.astype(np.float32)


def _smoothed(depth: np.ndarray, sigma: float) -> np.ndarray:
    known = np.isfinite(depth)
    weight = scipy.ndimage.gaussian_filter(known.astype(np.float32), sigma)
    total = scipy.ndimage.gaussian_filter(np.where(known, depth, 0.0), sigma)
    return np.where(known, total / np.maximum(weight, 1e-3), np.nan)


def _rise(depth: np.ndarray) -> np.ndarray:
    """(H, W) mm between the highest and the lowest of each pixel and its eight neighbours."""
    known = np.isfinite(depth)
    high = scipy.ndimage.maximum_filter(np.where(known, depth, -np.inf), 3)
    return high - scipy.ndimage.minimum_filter(np.where(known, depth, np.inf), 3)


def _cropped(surface: np.ndarray, row: np.ndarray, col: np.ndarray, step: float, rng: np.random.Generator):
    """(size, size) bool: what a crop leaves, a half-plane or an ellipse round the surface's middle."""
    middle = np.median(surface, axis=0)
    if rng.random() < 0.5:
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(45, 90) / step
        return (col - middle[0]) * np.cos(angle) + (row - middle[1]) * np.sin(angle) < reach
    radii = rng.uniform([60, 75], [90, 110]) / step
    return ((col - middle[0]) / radii[0]) ** 2 + ((row - middle[1]) / radii[1]) ** 2 < 1


def glasses(depth: np.ndarray, places: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the upright view of a face with holes round both eyes, as lenses leave them; places: (22, 2) pixels."""
    row, col = np.ogrid[: len(depth), : len(depth)]
    radii = rng.uniform([16, 11], [26, 20]) / step
    for side in ("right", "left"):
        at = (places[LANDMARKS.index(f"{side}_eye_inner")] + places[LANDMARKS.index(f"{side}_eye_outer")]) / 2
        inside = (np.abs((col - at[0]) / radii[0]) ** 3 + np.abs((row - at[1]) / radii[1]) ** 3) < 1
        depth = np.where(inside & (rng.random(depth.shape) < rng.uniform(0.6, 1)), np.nan, depth)
    return depth
