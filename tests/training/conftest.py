"""What the tests of training share."""

import pytest

from afnet_jax.datasets.loading import FaceDataset
from tests.support.small_training import make_faces


@pytest.fixture(scope="session")
def faces() -> FaceDataset:
    return make_faces()
