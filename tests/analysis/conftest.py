"""What the tests of analysis share."""

from tests.support.run_fixtures import faces, run, run_folder

__all__ = ["faces", "run", "run_folder"]
