"""A small scan made of a formula, in either database's form."""

import pytest

from tests.support.dome import as_bu3dfe
from tests.support.dome import dome as make_dome


@pytest.fixture
def dome():
    """A textured ellipsoid as a range grid of subject bs000."""
    return make_dome()


@pytest.fixture
def mesh(dome):
    """The same surface as a free mesh of subject F0001."""
    return as_bu3dfe(dome)
