"""Points of a scan's surface with their colours, as scanned: what is left to a device to clean, render and augment."""

from __future__ import annotations

import dataclasses

import numpy as np

from afnet_jax.geometry.alignment import to_canonical
from afnet_jax.geometry.rendering import sample_texture
from afnet_jax.geometry.triangles import area_vectors, lengths, longest_edges
from afnet_jax.scans.scan import Scan

POINTS = 16_384  # of a scan; 128² and 2^14

# Canonical mm: the maps' frame, and 20 mm round it for heads that are turned and moved. Behind it are ears and neck.
_LOW, _HIGH = np.array([-140.0, -166.0, -110.0]), np.array([140.0, 110.0, 100.0])
# mm: where triangles with longer edges make up that share of the area, their corners alone do not show the surface.
_LARGE_EDGE, _LARGE_SHARE = 3.0, 0.1
_CURVE_BITS = 10  # along each axis of the curve that points are sorted by
# Irrational shares that spread places evenly over triangles (Roberts 2018, "R2").
_SPREAD = np.array([0.7548776662466927, 0.5698402909980532])


@dataclasses.dataclass(frozen=True)
class PointSample:
    """Points of one scan, neighbours in space close to one another in their order.

    Attributes:
        points: (POINTS, 3) float16 mm, in the scan's frame less `centre`; NaN where there is no point.
        colours: (POINTS, 3) uint8 RGB of the surface there.
        centre: (3,) float64 mm, in the scan's frame.
    """

    points: np.ndarray
    colours: np.ndarray
    centre: np.ndarray


def sample_points(scan: Scan, kept: np.ndarray, to_scan: np.ndarray) -> PointSample:
    """Samples the surface near the face, always in the same way.

    The points are the scan's own, noise and spikes included, thinned evenly where there are too many. A scan with
    fewer is filled up with places on its triangles, evenly by their area; so is one with much of its area in large
    triangles, by places on these. Triangles that cleaning dropped give none, as a spike's flanks would be many such
    places.

    Args:
        scan: the scan.
        kept: (T,) bool, the triangles that cleaning kept.
        to_scan: (4, 4) canonical mm to the scan's.
    """
    canonical = to_canonical(scan.points, to_scan)
    corner = np.full(len(scan.points), -1)
    corner[scan.triangles] = scan.uv_triangles  # of a point in several charts any one
    inside = ((canonical > _LOW) & (canonical < _HIGH)).all(axis=1) & (corner >= 0)
    own = np.flatnonzero(inside)
    own = own[np.argsort(_along_curve(canonical[own]), kind="stable")]
    surface = kept & inside[scan.triangles].all(axis=1)
    filled, most = surface, POINTS
    if len(own) > POINTS:
        filled, share = _large(scan, surface)
        most = POINTS - round(POINTS * share)
        own = own[np.arange(most) * len(own) // most]
    points, uv = scan.points[own], scan.uv[corner[own]]
    if len(own) < POINTS and filled.any():
        further = _on_triangles(scan, canonical, np.flatnonzero(filled), POINTS - len(own))
        points, uv = (np.concatenate(pair) for pair in zip((points, uv), further, strict=True))
    centre = np.round(points.mean(axis=0), 3) if len(points) else np.zeros(3)
    order = np.argsort(_along_curve(to_canonical(points, to_scan)), kind="stable")
    colours = sample_texture(scan.texture, uv, np.sqrt(_texels_of(scan, surface) / POINTS))
    sample = PointSample(np.full((POINTS, 3), np.nan, np.float16), np.zeros((POINTS, 3), np.uint8), centre)
    sample.points[: len(points)] = (points - centre)[order]
    sample.colours[: len(points)] = np.round(colours)[order]
    return sample


def _large(scan: Scan, surface: np.ndarray) -> tuple[np.ndarray, float]:
    """(T,) bool: the large ones of the given triangles; their share of the area, 0 where it is too small to count."""
    area = lengths(area_vectors(scan.points, scan.triangles)) * surface
    large = surface & (longest_edges(scan.points, scan.triangles) > _LARGE_EDGE)
    share = float(area[large].sum() / max(area.sum(), 1e-12))
    return large, share if share > _LARGE_SHARE else 0.0


def _along_curve(points: np.ndarray) -> np.ndarray:
    """(N,) places of (N, ≥2) canonical points along the Z-order curve over x and y (Morton 1966)."""
    cells = (points[:, :2] - _LOW[:2]) / (_HIGH - _LOW)[:2] * 2**_CURVE_BITS
    cells = cells.clip(0, 2**_CURVE_BITS - 1).astype(np.int64)
    place = np.zeros(len(points), np.int64)
    for bit in range(_CURVE_BITS):
        for axis in range(2):
            place |= ((cells[:, axis] >> bit) & 1) << (2 * bit + axis)
    return place


def _on_triangles(
    scan: Scan, canonical: np.ndarray, triangles: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count` places on the given triangles, evenly by area: (count, 3) mm in the scan's frame, (count, 2) uv."""
    corners = scan.triangles[triangles]
    triangles = triangles[np.argsort(_along_curve(canonical[corners].mean(axis=1)), kind="stable")]
    area = np.cumsum(lengths(area_vectors(scan.points, scan.triangles[triangles])))
    chosen = triangles[np.searchsorted(area, area[-1] * (np.arange(count) + 0.5) / count)]
    u, v = np.modf(np.arange(1, count + 1)[:, None] * _SPREAD)[0].T
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
    weights = np.stack([1 - u - v, u, v], axis=1)
    points = np.einsum("kt,ktc->kc", weights, scan.points[scan.triangles[chosen]])
    return points, np.einsum("kt,ktc->kc", weights, scan.uv[scan.uv_triangles[chosen]])


def _texels_of(scan: Scan, surface: np.ndarray) -> float:
    """Texels that the given triangles cover in the texture image."""
    corners = scan.uv[scan.uv_triangles[surface]] * scan.texture.shape[1::-1]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2)
