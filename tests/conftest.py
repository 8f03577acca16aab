"""Settings of the whole test suite."""

from pathlib import Path

import jax
import pytest

from tests.support.calls import call  # noqa: F401  # a fixture
from tests.support.samples import provide_samples


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Path:
    """Folder of scans in the databases' own formats, see `provide_samples`."""
    return provide_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Programs compiled by one test serve the others."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs():
    """A worker that kept every module's compiled programs would end at 7 GB."""
    yield
    jax.clear_caches()
