"""What the tests of geometry share."""

from tests.support.smooth_face import face  # noqa: F401  # a fixture
