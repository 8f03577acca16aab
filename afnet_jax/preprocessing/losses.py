"""Shares of a scan that cleaning removed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from afnet_jax.geometry.rendering import Grid, Raster, rasterize
from afnet_jax.geometry.surface import CleanSurface
from afnet_jax.preprocessing.masks import inner_face

_ROUND = 20.0  # mm round brows, eyes, nose, mouth and chin that count, too: cheeks and forehead
_EVERY = 2  # pixels between those that are looked at


def losses(
    points: np.ndarray,
    triangles: np.ndarray,
    clean: CleanSurface,
    raster: Raster,
    landmarks: Mapping[str, np.ndarray],
    grid: Grid,
) -> dict[str, float]:
    """Returns shares of what was dropped.

    Args:
        points: (N, 3) canonical mm.
        triangles: (T, 3) all of the scan's.
        clean: what cleaning found out about them.
        raster: of the triangles that were kept.
        landmarks: name -> (3,) canonical mm.
        grid: the raster's.

    Returns:
        bridges: share of the triangles that were dropped as bridges; bridge_area: the same of the area;
        inner_lost: share of the inner face and 20 mm round it that only dropped triangles show, whatever the reason.
    """
    dropped = rasterize(points, triangles[~clean.triangles], grid).seen & ~raster.seen
    thinned = Grid(-(-grid.size // _EVERY), _EVERY * grid.step, grid.origin)
    inner = inner_face(landmarks, thinned, _ROUND)
    lost, kept = (seen[::_EVERY, ::_EVERY][inner].sum() for seen in (dropped, raster.seen))
    return {
        "bridges": float(clean.bridges.mean()),
        "bridge_area": float(clean.area[clean.bridges].sum() / max(clean.area.sum(), 1e-12)),
        "inner_lost": float(lost / max(lost + kept, 1)),
    }
