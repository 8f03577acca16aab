"""A raw BU-3DFE folder of one subject's protocol scans, made of a formula."""

import dataclasses
from pathlib import Path

import pytest

from afnet_jax.scans import ScanId, bosphorus, bu3dfe
from afnet_jax.scans.scan import EXPRESSION_CODES
from tests.support.dome import dome
from tests.support.smooth_face import face  # noqa: F401  # a fixture


@pytest.fixture(scope="session")
def surface():
    """A textured ellipsoid with all landmarks, as the readers' own tests use it."""
    return dome()


@pytest.fixture
def raw(surface, tmp_path) -> Path:
    """12 scans: six expressions at levels 3 and 4."""
    for code in EXPRESSION_CODES:
        for level in (3, 4):
            identity = ScanId("bu3dfe", "F0001", code, level, "WH", f"F0001_{code}{level:02d}WH")
            bu3dfe.write_scan(dataclasses.replace(surface, id=identity, grid=None), tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def raw_bosphorus(surface, tmp_path) -> Path:
    """Six scans, one of each expression."""
    for word, code in bosphorus.EXPRESSION_WORDS.items():
        identity = ScanId("bosphorus", "bs000", code, None, None, f"bs000_E_{word}_0")
        bosphorus.write_scan(dataclasses.replace(surface, id=identity), tmp_path / "raw_bosphorus")
    return tmp_path / "raw_bosphorus"
