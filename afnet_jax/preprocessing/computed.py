"""Maps that no record holds, computed from those that one holds; on the host or within a compiled program alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = Any  # of NumPy or of JAX


def surface_normals(maps: Mapping[str, Array], mm_per_pixel: float) -> Array:
    """(S, S, 3) unit normals (x right, y up, z to the camera) of the surface that depth shows; 0 outside the face.

    A pixel's slope is the mean of the slopes to its neighbours, as far as they are face; 0 where neither is.
    """
    depth = maps["depth"]
    xp = depth.__array_namespace__()
    down, right = (_slope(xp, depth, axis) / mm_per_pixel for axis in (0, 1))
    length = xp.sqrt(right**2 + down**2 + 1)
    face = xp.isfinite(depth)
    return xp.stack([xp.where(face, each / length, 0) for each in (-right, down, xp.ones_like(down))], axis=-1)


def _slope(xp: Any, depth: Array, axis: int) -> Array:
    """(S, S) mm per pixel."""
    steps = xp.diff(depth, axis=axis)
    edge = xp.full_like(depth[:1] if axis == 0 else depth[:, :1], np.nan)
    before, after = (xp.concat(pair, axis=axis) for pair in ((edge, steps), (steps, edge)))
    total = xp.where(xp.isfinite(before), before, 0) + xp.where(xp.isfinite(after), after, 0)
    return total / xp.maximum(xp.isfinite(before) + 1 * xp.isfinite(after), 1)


# Name of a map that no record holds -> what computes it of an image's size S: from the reduced maps by name, (S, S)
# or (S, S, channels), and the edge of a pixel in mm.
COMPUTED: dict[str, Callable[[Mapping[str, Array], float], Array]] = {"normals": surface_normals}
