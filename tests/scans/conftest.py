"""A small scan made of a formula, in either database's form."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fuzz_readers():
    """The tool tools/fuzz_readers.py as a module: it also makes the scans that these tests write and read."""
    path = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"
    spec = importlib.util.spec_from_file_location("fuzz_readers", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dome(fuzz_readers):
    """A textured ellipsoid as a range grid of subject bs000."""
    return fuzz_readers.dome()


@pytest.fixture
def mesh(fuzz_readers, dome):
    """The same surface as a free mesh of subject F0001."""
    return fuzz_readers.as_bu3dfe(dome)
