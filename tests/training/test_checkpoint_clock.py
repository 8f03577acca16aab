"""A checkpoint is on the disk before the minutes are over."""

import pytest

from afnet_jax.training import checkpoint_clock
from afnet_jax.training.checkpoint_clock import CheckpointClock


@pytest.fixture
def now(monkeypatch):
    """A clock that stands where it is put, in seconds."""
    seconds = [0.0]
    monkeypatch.setattr(checkpoint_clock.time, "monotonic", lambda: seconds[0])
    return seconds


def test_the_first_is_begun_after_half_of_the_minutes(now):
    clock = CheckpointClock(10)
    now[0] = 299
    assert not clock.due(call=1)
    now[0] = 300
    assert clock.due(call=1)


def test_later_ones_leave_time_for_a_call_and_twice_the_longest_write(now):
    clock = CheckpointClock(10)
    for seconds in (20, 5):
        clock.written(seconds)
    now[0] = 1000
    clock.state_taken()
    now[0] = 1000 + 600 - 40 - 8 - 1
    assert not clock.due(call=8)
    now[0] += 1
    assert clock.due(call=8)


def test_a_disk_slower_than_the_setting_is_not_written_to_without_end(now):
    clock = CheckpointClock(1)
    clock.written(500)
    now[0] = 29
    assert not clock.due(call=1)
    now[0] = 30
    assert clock.due(call=1)
