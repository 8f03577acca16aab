"""Settings of the whole test suite."""

import os
from pathlib import Path

import pytest

# Made-up scans in the databases' own formats, kept beside a checkout by its developers; nothing needs them.
_SAMPLES = Path(os.environ.get("AFNET_SAMPLES", Path(__file__).parents[2] / "shared" / "samples"))


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of made-up scans written by other software than ours; a test that asks for it is skipped without."""
    if not _SAMPLES.is_dir():
        pytest.skip("made-up sample scans are not here (AFNET_SAMPLES names their folder)")
    return _SAMPLES
