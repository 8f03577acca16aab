"""Agreement of maps over poses: a known head is turned, scanned anew and prepared again."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.rendering import Grid, rasterize
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans.range_grid import grid_triangles
from afnet_jax.scans.scan import Scan

_AXES = {"pitch": "x", "yaw": "y", "roll": "z"}
_STEP = 0.8  # mm between the cells of the scanner's grid
_MARGIN = 1.0  # mm round the head


def pose_agreement(scan: Scan, degrees: float = 20.0, noise: float = 0.2, seed: int = 0) -> dict[str, float]:
    """Compares canonical depth of one head scanned from the front with that of the head turned and scanned again.

    Args:
        scan: a clean one; its mesh is the head.
        degrees: turned both ways, in pitch, yaw and roll.
        noise: mm, standard deviation along the scanner's axis, drawn anew for every pose.
        seed: of the noise.

    Returns:
        "pitch-20", "pitch+20", "yaw-20", …: root mean square of the difference (mm) where both scans show the surface;
        what a pose hides and preprocessing fills is not compared.

    Raises:
        ScanError: the scan, or the turned one, is of no use.
    """
    straight = preprocess(scanned_again(scan, np.eye(3), noise, seed))
    agreement = {}
    for number, (name, axis) in enumerate(_AXES.items()):
        for side, angle in enumerate((-degrees, degrees)):
            rotation = Rotation.from_euler(axis, angle, degrees=True).as_matrix()
            turned = preprocess(scanned_again(scan, rotation, noise, seed + 1 + 2 * number + side))
            error = (turned.depth - straight.depth)[turned.seen & straight.seen]
            agreement[f"{name}{angle:+g}"] = float(np.sqrt(np.mean(error**2)))
    return agreement


def scanned_again(scan: Scan, rotation: np.ndarray, noise: float, seed: int) -> Scan:
    """The head turned and scanned anew from the front: another sampling, other noise, and other parts hidden.

    Landmarks go to the nearest point, as both databases have it; the texture is not carried along.

    Args:
        scan: whose mesh is the head.
        rotation: (3, 3) about the origin.
        noise: mm.
        seed: of the noise.
    """
    head = scan.points @ rotation.T
    low, high = head[:, :2].min(axis=0), head[:, :2].max(axis=0)
    size = int(np.ceil(((high - low).max() + 2 * _MARGIN) / _STEP)) + 1
    raster = rasterize(head, scan.triangles, Grid(size, _STEP, (low[0] - _MARGIN, high[1] + _MARGIN)))
    seen = raster.seen[::-1]
    corners = scan.triangles[raster.triangle[::-1][seen]]
    points = np.einsum("kt,ktc->kc", raster.weights[::-1][seen], head[corners])
    points[:, 2] += np.random.default_rng(seed).normal(0, noise, len(points))
    grid = np.where(seen, np.cumsum(seen).reshape(seen.shape) - 1, -1)
    triangles = grid_triangles(grid)
    landmarks = {
        name: points[((points - rotation @ at) ** 2).sum(axis=1).argmin()] for name, at in scan.landmarks.items()
    }
    uv = np.full((len(points), 2), 0.5, np.float32)
    return dataclasses.replace(
        scan, points=points, triangles=triangles, uv=uv, uv_triangles=triangles, landmarks=landmarks, grid=grid
    )
