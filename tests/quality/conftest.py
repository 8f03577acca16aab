"""What the tests of quality share."""

import pytest

from tests.support.smooth_face import Face


@pytest.fixture(scope="session")
def face() -> Face:
    return Face()
