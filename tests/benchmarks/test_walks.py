"""A short walk: a run stopped in different ways, and gone on with elsewhere, ends as the unbroken one."""

import signal

import pytest

from benchmarks.walks import Stretch, outcome, unbroken

STOPS = (
    Stretch(stopped_by=signal.SIGKILL, moment="checkpoint", skipped=2),
    Stretch(processes=2, devices=2, group="3", stopped_by=signal.SIGTERM, moment="metrics", skipped=1),
    Stretch(devices=4, group="1", dispatch="1000", stopped_by=signal.SIGINT, moment="last step"),
)


@pytest.mark.slow
def test_stopped_and_gone_on_in_other_ways_it_ends_the_same(tmp_path):
    expected, _ = unbroken(tmp_path)
    for stop in STOPS:
        assert stop.walk(tmp_path / "walk") == stop.moment  # it was stopped there
    Stretch().walk(tmp_path / "walk")
    assert outcome(tmp_path / "walk") == expected
