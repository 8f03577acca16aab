"""Settings of the whole test suite."""

import os
from pathlib import Path

import jax
import pytest

from tests.support.calls import call  # noqa: F401  # a fixture
from tests.support.samples import provide_samples
from tests.support.small_training import forget_programs

# The longest files, which come first, so that no worker is left with one of them at the end.
_LONGEST = (
    "test_documented_commands.py", "training/test_loop.py", "benchmarks/test_tour.py", "parity/test_parity.py",
    "training/test_points.py", "datasets/test_preparation.py", "test_programs.py", "training/test_processes.py",
    "experiments/test_run.py", "analysis/test_gradcam.py", "points/test_rendering.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Files by their place in _LONGEST, then the others; within a file as they stand."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Path:
    """Folder of scans in the databases' own formats, see `provide_samples`."""
    return provide_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Programs compiled by one test serve the others, those of other workers, too."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs():
    """A worker that kept every module's compiled programs would end at 7 GB."""
    yield
    forget_programs()
    jax.clear_caches()
