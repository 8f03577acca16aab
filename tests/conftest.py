"""Settings of the whole test suite."""

import os
from pathlib import Path

import jax
import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of made-up scans in the databases' own formats, written by other software than ours.

    AFNET_SAMPLES names it; without, a folder "samples" one level beside the checkout is taken. Skips where none is.
    """
    beside = Path(__file__).parents[2]
    candidates = [Path(os.environ["AFNET_SAMPLES"])] if "AFNET_SAMPLES" in os.environ else beside.glob("*/samples")
    for folder in candidates:
        if (folder / "bu3dfe").is_dir() and (folder / "bosphorus").is_dir():
            return folder
    pytest.skip("made-up sample scans are not here (AFNET_SAMPLES names their folder)")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Programs compiled by one test serve the others."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
