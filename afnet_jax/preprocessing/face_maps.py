"""The result of preprocessing: aligned maps of a face on one orthographic grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from afnet_jax.preprocessing.point_sample import PointSample
from afnet_jax.scans.scan import ScanId


@dataclasses.dataclass(frozen=True)
class FaceMaps:
    """Aligned maps of one face in the canonical frame (mm; x image-right, y up, z to the camera).

    Pixel (row, col) is canonical x = origin[0] + col * mm_per_pixel, y = origin[1] - row * mm_per_pixel,
    z = depth[row, col]. Row 0 is at the forehead.

    Attributes:
        id: identity of the scan.
        texture: (224, 224, 3) uint8 RGB, 0 outside the face.
        depth: (224, 224) float32, mm, NaN outside the face.
        valid: (224, 224) bool, the face as seen from the front, gaps within it filled.
        seen: (224, 224) bool, where the scan itself shows its surface to the front; elsewhere depth is filled in.
        masks: {56: (56, 56) float32 in [0, 1], 28: (28, 28) float32}: salient regions (eyes with brows, nose, mouth).
        to_scan: (4, 4) float64, canonical mm to the scan's own mm (homogeneous, p_scan = to_scan @ p).
        origin: canonical (x, y) of pixel (0, 0), mm.
        mm_per_pixel: edge of a pixel, mm.
        landmarks: name -> (3,) float64 canonical mm.
        quality: figures that tell an odd scan: name -> float. noise, mm, and shares: points_removed, of the points;
            bridges and bridge_area, of the triangles and their area, dropped since they span a step or a gap;
            inner_lost, of the inner face that only dropped triangles show; filled, of the face without a scanned
            surface; face, of the grid. landmarks: "given" or "found"; landmark_confidence, where found, 0 to 1.
        points: of the scan's surface, as scanned, for those who render them on a device; None where nobody drew any.
        remarks: what looked odd and was put right or left as it is, a line each; the scan's own first.
    """

    id: ScanId
    texture: np.ndarray
    depth: np.ndarray
    valid: np.ndarray
    seen: np.ndarray
    masks: Mapping[int, np.ndarray]
    to_scan: np.ndarray
    origin: tuple[float, float]
    mm_per_pixel: float
    landmarks: Mapping[str, np.ndarray]
    quality: Mapping[str, float | str]
    remarks: tuple[str, ...] = ()
    points: PointSample | None = None
