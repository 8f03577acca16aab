"""Surfaces against which preprocessing is measured: known ones that lie beside a scan, and a scan's own mesh.

A truth file (NAME_truth.npz: depth, rgb, valid, x0, y0, landmarks, …) holds the noise-free surface seen along −z in the
scan's own frame on a 1 mm grid.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from afnet_jax.atomic_files import UNREADABLE_ARRAYS, read_arrays
from afnet_jax.errors import AFNetError
from afnet_jax.geometry.rendering import Grid, rasterize
from afnet_jax.scans.scan import Scan, ScanError

_MARGIN = 30.0  # mm round the landmarks that a mesh as its own truth reaches


@dataclasses.dataclass(frozen=True)
class Truth:
    """A known surface in the scan's frame: pixel (r, c) is x = x0 + c, y = y0 + r, mm; row 0 is the lowest.

    Attributes:
        depth: (H, W) mm, NaN where there is none.
        rgb: (H, W, 3) uint8.
        x0, y0: mm.
        rotation: (3, 3) pose of the head; None where the truth is the scan's own mesh.
    """

    depth: np.ndarray
    rgb: np.ndarray
    x0: float
    y0: float
    rotation: np.ndarray | None

    @property
    def is_own_mesh(self) -> bool:
        return self.rotation is None

    @property
    def grid(self) -> Grid:
        """A square grid that holds the truth in its lower left corner, once turned upside down."""
        size = max(self.depth.shape)
        return Grid(size, 1.0, (self.x0, self.y0 + size - 1))

    def crop(self, square: np.ndarray) -> np.ndarray:
        """(H, W, …) part of an array on `grid` that lies on the truth's pixels."""
        height, width = self.depth.shape
        return square[::-1][:height, :width]


def truth_path(scan_path: str | Path) -> Path:
    """The truth that belongs to a scan's file."""
    return Path(scan_path).with_name(f"{Path(scan_path).stem}_truth.npz")


def read_truth(path: str | Path) -> Truth:
    """Reads the truth beside a synthetic scan.

    Raises:
        AFNetError: the file is missing or is none.
    """
    try:
        file = read_arrays(Path(path))
        depth = np.where(file["valid"], file["depth"], np.nan).astype(np.float64)
        return Truth(depth, file["rgb"], float(file["x0"]), float(file["y0"]), file["rotation"])
    except FileNotFoundError:
        raise AFNetError(f"{path}: no truth beside the scan; only synthetic subjects have one") from None
    except UNREADABLE_ARRAYS as fault:
        raise AFNetError(f"{path}: expected a truth (depth, rgb, valid, x0, y0, rotation): {fault}") from None


def mesh_truth(scan: Scan) -> Truth:
    """Returns the scan's own mesh, with every triangle, as the truth for a scan that has no other.

    What the scanner got wrong is then right; what preprocessing loses, or smooths away, is wrong.

    Raises:
        ScanError: no landmarks came with the scan, so that nothing tells where on the mesh the face is.
    """
    if not scan.landmarks:
        raise ScanError(scan.path or scan.id.name, "no landmarks came with the scan: its own mesh is no truth without")
    places = np.stack(list(scan.landmarks.values()))[:, :2]
    low, high = np.floor(places.min(axis=0) - _MARGIN), np.ceil(places.max(axis=0) + _MARGIN)
    width, height = (high - low).astype(int) + 1
    shape = (height, width)
    empty = Truth(np.full(shape, np.nan), np.zeros((*shape, 3), np.uint8), float(low[0]), float(low[1]), None)
    raster = rasterize(scan.points, scan.triangles, empty.grid)
    at = raster.seen
    rows, cols = scan.texture.shape[:2]
    uv = np.einsum("kt,ktc->kc", raster.weights[at], scan.uv[scan.uv_triangles[raster.triangle[at]]])
    colour = np.zeros((*at.shape, 3), np.uint8)
    colour[at] = scan.texture[
        np.minimum((uv[:, 1] * rows).astype(int), rows - 1), np.minimum((uv[:, 0] * cols).astype(int), cols - 1)
    ]
    return dataclasses.replace(empty, depth=empty.crop(raster.depth), rgb=empty.crop(colour))
