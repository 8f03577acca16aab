"""Clouds of points as a program takes them, from those that are kept of scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from afnet_jax.maps import Clouds
from afnet_jax.preprocessing.point_sample import POINTS, PointSample
from afnet_jax.scans.scan import LANDMARKS

_SEED = 0  # of the order of all clouds' points


def cloud_of(sample: PointSample, to_scan: np.ndarray, landmarks: np.ndarray) -> Clouds:
    """Returns one scan's cloud, without the axis of scans.

    The points are shuffled, always in the same way: which of a layer's points a pixel shows is decided by their order
    (`visibility.nearest_points`), and any first part of them covers the face evenly.

    Args:
        sample: its points.
        to_scan: (4, 4) canonical mm to the scan's.
        landmarks: (22, 3) canonical mm in the order of LANDMARKS, NaN where there is none.
    """
    order = np.random.default_rng(_SEED).permutation(len(sample.points))
    rotation = to_scan[:3, :3].T
    return Clouds(
        points=sample.points[order],
        colours=sample.colours[order],
        rotation=rotation.astype(np.float32),
        offset=(rotation @ (sample.centre - to_scan[:3, 3])).astype(np.float32),
        landmarks=landmarks.astype(np.float32),
    )


def cloud_shapes(*scans: Any) -> Clouds:
    """Returns the shapes of the clouds of (*scans,) scans, as data sets hold them."""
    shapes = {
        "points": ((POINTS, 3), "float16"),
        "colours": ((POINTS, 3), "uint8"),
        "rotation": ((3, 3), "float32"),
        "offset": ((3,), "float32"),
        "landmarks": ((len(LANDMARKS), 3), "float32"),
    }
    return Clouds(**{name: jax.ShapeDtypeStruct((*scans, *shape), dtype) for name, (shape, dtype) in shapes.items()})


def stack_clouds(clouds: Sequence[Clouds]) -> Clouds:
    """Returns the clouds of several scans, stacked on axis 0."""
    return Clouds(*map(np.stack, zip(*clouds, strict=True)))
