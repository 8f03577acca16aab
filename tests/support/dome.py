"""A small scan made of a formula, in either database's form."""

import dataclasses

import numpy as np

from afnet_jax.scans import Scan, ScanId, bu3dfe
from afnet_jax.scans.range_grid import grid_triangles
from afnet_jax.scans.scan import LANDMARKS


def dome() -> Scan:
    """A small textured ellipsoid, 155 × 125 mm, as a range grid with every landmark name of both databases."""
    rows, cols = np.mgrid[0:22, 0:18]
    x, y = (cols - 8.5) * 7.5, (rows - 10.5) * 7.5
    inside = (x / 70) ** 2 + (y / 85) ** 2 < 1
    z = 60 * np.sqrt(np.where(inside, 1 - (x / 80) ** 2 - (y / 100) ** 2, 0))
    grid = np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1).astype(np.int32)
    points = np.stack([x, y, z], axis=-1)[inside].round(5)
    uv = np.stack([(cols + 0.5) / 18, 1 - (rows + 0.5) / 22], axis=-1)[inside].round(6).astype(np.float32)
    texture = np.random.default_rng(0).integers(0, 256, (66, 54, 3), np.uint8)
    names = [*LANDMARKS, *bu3dfe.POINT_NAMES]
    landmarks = {name: points[20 + 2 * k] for k, name in enumerate(names)}
    triangles = grid_triangles(grid)
    identity = ScanId("bosphorus", "bs000", "HA", None, None, "bs000_E_HAPPY_0")
    return Scan(identity, points, triangles, uv, triangles, texture, landmarks, grid)


def as_bu3dfe(scan: Scan) -> Scan:
    """The same surface as a free mesh of a BU-3DFE subject."""
    identity = ScanId("bu3dfe", "F0001", "HA", 4, "WH", "F0001_HA04WH")
    return dataclasses.replace(scan, id=identity, grid=None)
