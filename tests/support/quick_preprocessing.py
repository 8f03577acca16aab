"""A stand-in for preprocessing, as fast as can be, that worker processes can import."""

import os
import signal
import time

import numpy as np

from afnet_jax.errors import AFNetError
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.point_sample import POINTS, PointSample
from afnet_jax.scans import Scan


def quick_maps(scan: Scan) -> FaceMaps:
    """Maps that hold something of the scan, so that mixed up scans would show."""
    seed = sum(scan.id.name.encode())
    rng = np.random.default_rng(seed)
    depth = np.full((224, 224), np.nan, np.float32)
    depth[40:180, 60:160] = rng.normal(0, 30, (140, 100))
    return FaceMaps(
        id=scan.id,
        texture=rng.integers(0, 256, (224, 224, 3), np.uint8),
        depth=depth,
        valid=np.isfinite(depth),
        seen=np.isfinite(depth),
        masks={56: rng.random((56, 56), np.float32), 28: rng.random((28, 28), np.float32)},
        to_scan=rng.normal(0, 1, (4, 4)),
        origin=(-91.3, 100.7),
        mm_per_pixel=0.8123456789,
        landmarks={name: at for name, at in scan.landmarks.items() if name == "chin"},
        quality={"holes": 0.125, "odd": float("nan")},
        remarks=scan.remarks,
        points=PointSample(
            rng.normal(0, 40, (POINTS, 3)).astype(np.float16),
            rng.integers(0, 256, (POINTS, 3), np.uint8),
            rng.normal(0, 1, 3),
        ),
    )


def picky_maps(scan: Scan) -> FaceMaps:
    """Refuses anger in the project's way and stumbles over fear in a bug's."""
    if scan.id.expression == "AN":
        raise AFNetError("no nose in sight")
    if scan.id.expression == "FE":
        return 1 / 0
    return quick_maps(scan)


def killed_maps(scan: Scan) -> FaceMaps:
    """Dies as a process does that the system kills for its memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def slow_maps(scan: Scan) -> FaceMaps:
    """Takes long enough to be interrupted."""
    time.sleep(1.0)
    return quick_maps(scan)
