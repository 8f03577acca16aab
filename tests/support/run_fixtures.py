"""A finished run and the scans that it was trained on, as fixtures of the folders whose tests open one."""

from pathlib import Path

import pytest

from afnet_jax.analysis import load_run
from afnet_jax.datasets.loading import FaceDataset
from tests.support.finished_run import make_config, make_faces, write_run


@pytest.fixture(scope="session")
def faces() -> FaceDataset:
    return make_faces()


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, faces) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "afnet", faces, make_config(), weights=True)


@pytest.fixture(scope="session")
def run(run_folder):
    return load_run(run_folder)
