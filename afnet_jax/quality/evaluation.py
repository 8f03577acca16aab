"""Preprocessing against known surfaces: error figures of one scan.

The maps are carried into the truth's frame, the scan's own, through `to_scan` and looked at along the same direction,
so that two height fields are compared that hide the same things.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.rendering import rasterize
from afnet_jax.geometry.surface import clean_surface
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.masks import inner_face
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.quality.truth import Truth
from afnet_jax.scans.range_grid import grid_triangles
from afnet_jax.scans.scan import Scan

_STEP = 4.0  # mm between neighbouring pixels of the truth: one thing hides another
_SPIKE = 4.0  # mm off every truth height within a pixel: an outlier
_GOOD = 1.5  # mm: still the surface
_NEAR = 3  # mm round a spike or a hole that counts as near it
_ROUND = (
    20.0  # mm round brows, eyes, nose, mouth and chin that count as face when its losses are counted: cheeks, forehead
)


def evaluate(scan: Scan, maps: FaceMaps, truth: Truth) -> dict[str, float]:
    """Compares the maps of a scan with its truth.

    Returns:
        Figures by name, mm where not said otherwise, NaN where there was nothing to measure. The inner face is the hull
        of brows, eyes, nose, mouth and chin. Left out of it, but for inner_all_rmse, are the mouth's opening, whose
        inside no scan shows, and the pixels at steps of the truth, where a shift by part of a pixel is an error of
        many mm.

        inner_rmse, inner_median, inner_p95; inner_all_rmse: nothing left out; whole_rmse: the whole face but for the
        same; hole_rmse: inner, filled by us; near_hole_rmse, near_spike_rmse: inner, beside them;
        inner_lost: share of the inner face and 20 mm round it, but for the mouth, that the scan's mesh shows and the
        cleaned mesh does not;
        covered: share of the truth that the maps show; spikes: points that are; spikes_removed, good_kept: shares of
        points;
        ssim: of the texture; pose_degrees: the canonical pose against the head's own.
    """
    depth, rgb = _seen_from_scan(maps, truth)
    clean = clean_surface(scan.points, scan.triangles, PreprocessingConfig().surface)
    is_spike, is_good = _judged_by_truth(scan.points, truth)
    error = depth - truth.depth
    mouth, hull = _mouth(scan, truth), truth.crop(inner_face(scan.landmarks, truth.grid))
    face = ~mouth & ~_steps(truth)
    inner = face & hull
    scanned = truth.crop(rasterize(scan.points, scan.triangles[clean.triangles], truth.grid).seen)
    hole = ~scanned & _inside(scanned)
    near_hole = scipy.ndimage.binary_dilation(hole, iterations=_NEAR) & ~hole
    near_spike = _marked(scan.points[is_spike], truth)
    both = np.isfinite(error)
    return {
        "inner_rmse": _rms(error[inner]),
        "inner_median": _quantile(np.abs(error[inner]), 0.5),
        "inner_p95": _quantile(np.abs(error[inner]), 0.95),
        "inner_all_rmse": _rms(error[hull]),
        "whole_rmse": _rms(error[face]),
        "hole_rmse": _rms(error[inner & hole]),
        "near_hole_rmse": _rms(error[inner & near_hole]),
        "near_spike_rmse": _rms(error[inner & near_spike]),
        "inner_lost": _lost(scan, truth, scanned, mouth),
        "covered": float(both.sum() / np.isfinite(truth.depth).sum()),
        "spikes": float(is_spike.sum()),
        "spikes_removed": float(1 - clean.points[is_spike].mean()) if is_spike.any() else np.nan,
        "good_kept": float(clean.points[is_good].mean()) if is_good.any() else np.nan,
        "ssim": ssim(rgb, truth.rgb.astype(np.float64), both),
        "pose_degrees": np.nan if truth.rotation is None else _angle(maps.to_scan[:3, :3], truth.rotation),
    }


def _lost(scan: Scan, truth: Truth, scanned: np.ndarray, mouth: np.ndarray) -> float:
    region = truth.crop(inner_face(scan.landmarks, truth.grid, _ROUND)) & ~mouth & np.isfinite(truth.depth)
    region &= truth.crop(rasterize(scan.points, scan.triangles, truth.grid).seen)
    return float(1 - scanned[region].mean()) if region.any() else float("nan")


def _seen_from_scan(maps: FaceMaps, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Height and colour of the maps on the truth's grid, NaN where they show nothing."""
    rows, cols = maps.depth.shape
    x = maps.origin[0] + maps.mm_per_pixel * np.arange(cols)
    y = maps.origin[1] - maps.mm_per_pixel * np.arange(rows)
    canonical = np.stack([*np.meshgrid(x, y), maps.depth.astype(np.float64)], axis=-1).reshape(-1, 3)
    points = canonical @ maps.to_scan[:3, :3].T + maps.to_scan[:3, 3]
    index = np.arange(maps.valid.size).reshape(maps.valid.shape)
    triangles = grid_triangles(np.where(maps.valid, index, -1)[::-1])
    raster = rasterize(points, triangles, truth.grid)
    colours = maps.texture.reshape(-1, 3).astype(np.float64)
    colour = np.full((*raster.depth.shape, 3), np.nan)
    at = raster.seen
    colour[at] = np.einsum("kt,ktc->kc", raster.weights[at], colours[triangles[raster.triangle[at]]])
    return truth.crop(raster.depth), truth.crop(colour)


def _judged_by_truth(points: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Which points are spikes and which are surface, judged by the heights within a pixel's reach of them.

    A mesh that is its own truth has no spikes: what lies behind its foremost surface is another side of the head.
    """
    lowest = scipy.ndimage.minimum_filter(np.nan_to_num(truth.depth, nan=np.inf), 3)
    highest = scipy.ndimage.maximum_filter(np.nan_to_num(truth.depth, nan=-np.inf), 3)
    row, col = np.rint(points[:, 1] - truth.y0).astype(int), np.rint(points[:, 0] - truth.x0).astype(int)
    within = (row >= 0) & (col >= 0) & (row < truth.depth.shape[0]) & (col < truth.depth.shape[1])
    row, col = np.where(within, row, 0), np.where(within, col, 0)
    within &= np.isfinite(truth.depth[row, col])
    off = np.maximum(points[:, 2] - highest[row, col], lowest[row, col] - points[:, 2])
    return within & (off > _SPIKE) & (not truth.is_own_mesh), within & (off < _GOOD)


def _marked(points: np.ndarray, truth: Truth) -> np.ndarray:
    marks = np.zeros(truth.depth.shape, dtype=bool)
    at = np.rint(points[:, [1, 0]] - (truth.y0, truth.x0)).astype(int)
    at = at[((at >= 0) & (at < truth.depth.shape)).all(axis=1)]
    marks[at[:, 0], at[:, 1]] = True
    return scipy.ndimage.binary_dilation(marks, iterations=_NEAR)


def _mouth(scan: Scan, truth: Truth) -> np.ndarray:
    """(H, W) bool: between the lips, their rims included; two half-ellipses through corners and inner lips."""
    names = ("mouth_right", "mouth_left", "upper_lip_inner", "lower_lip_inner")
    if not all(name in scan.landmarks for name in names):
        return np.zeros(truth.depth.shape, dtype=bool)
    right, left, upper, lower = (scan.landmarks[name][:2] - (truth.x0, truth.y0) for name in names)
    middle, half = (right + left) / 2, (left - right) / 2
    angle = np.linspace(0, np.pi, 24)[:, None]
    above = middle + np.cos(angle) * half + np.sin(angle) * (upper - middle)
    below = middle - np.cos(angle) * half + np.sin(angle) * (lower - middle)
    picture = Image.new("1", truth.depth.shape[::-1])
    outline = [(float(x), float(y)) for x, y in np.concatenate([above, below])]
    ImageDraw.Draw(picture).polygon(outline, fill=1, outline=1)
    return scipy.ndimage.binary_dilation(np.asarray(picture), iterations=2)


def _steps(truth: Truth) -> np.ndarray:
    """(H, W) bool: within a pixel of a step, or of the truth's border."""
    depth = np.nan_to_num(truth.depth, nan=-1e3)
    step = np.maximum(*(np.abs(np.diff(depth, axis=axis, prepend=-1e3)) for axis in (0, 1))) > _STEP
    return scipy.ndimage.binary_dilation(step, np.ones((3, 3)))


def _inside(seen: np.ndarray) -> np.ndarray:
    return scipy.ndimage.binary_fill_holes(scipy.ndimage.binary_closing(np.pad(seen, 3), iterations=2))[3:-3, 3:-3]


def ssim(picture: np.ndarray, reference: np.ndarray, where: np.ndarray) -> float:
    """Mean structural similarity over a region (Wang et al. 2004: Gaussian window of 1.5 pixels, 0 … 255).

    Args:
        picture, reference: (H, W, C); what they hold outside the region does not count.
        where: (H, W) bool.
    """
    if not where.any():
        return float("nan")
    weight = scipy.ndimage.gaussian_filter(where.astype(np.float64), 1.5)

    def mean(values: np.ndarray) -> np.ndarray:
        inside = np.where(where[..., None], values, 0.0)
        return scipy.ndimage.gaussian_filter(inside, (1.5, 1.5, 0))[where] / weight[where][:, None]

    a, b = mean(picture), mean(reference)
    variance_a, variance_b = mean(picture**2) - a**2, mean(reference**2) - b**2
    covariance = mean(picture * reference) - a * b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(
        np.mean((2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (variance_a + variance_b + c2)))
    )


def _rms(errors: np.ndarray) -> float:
    errors = errors[np.isfinite(errors)]
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def _quantile(values: np.ndarray, share: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.quantile(values, share)) if len(values) else float("nan")


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(Rotation.from_matrix(a.T @ b).magnitude()))
