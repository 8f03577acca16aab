"""What the tests of rendered points share."""

import numpy as np
import pytest

from afnet_jax.datasets.records import landmark_array
from afnet_jax.maps import Clouds
from afnet_jax.points.clouds import cloud_of, stack_clouds
from afnet_jax.preprocessing import preprocess
from afnet_jax.quality.truth import read_truth
from afnet_jax.synthetic import make_scan


@pytest.fixture(scope="session", params=["bosphorus", "bu3dfe"])
def scanned(request, tmp_path_factory):
    """A synthetic subject's scan as its database's scanner makes it, its truth, and the host's maps."""
    level = 4 if request.param == "bu3dfe" else None
    scan, truth = make_scan(0, "HA", level, database=request.param, seed=0)
    path = tmp_path_factory.mktemp("truth") / "truth.npz"
    truth.save(path)
    return scan, read_truth(path), preprocess(scan)


@pytest.fixture(scope="session")
def cloud(scanned) -> Clouds:
    """The scan's points, as a batch of one."""
    _, _, maps = scanned
    return stack_clouds([cloud_of(maps.points, maps.to_scan, landmark_array(maps.landmarks))])


def cloud_of_points(points: np.ndarray, colours: np.ndarray | None = None) -> Clouds:
    """A batch of one cloud in the canonical frame, without landmarks."""
    colours = np.full(points.shape, 128, np.uint8) if colours is None else colours
    nowhere = np.full((1, 22, 3), np.nan, np.float32)
    return Clouds(
        points[None].astype(np.float32),
        colours[None],
        np.eye(3, dtype=np.float32)[None],
        np.zeros((1, 3), np.float32),
        nowhere,
    )
