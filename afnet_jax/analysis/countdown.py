"""Progress of what takes its time after a run."""

from __future__ import annotations

import time

from afnet_jax.training.progress import duration, say

_SECONDS_BETWEEN_LINES = 20.0


class Countdown:
    """Counts what is done and tells the time left, at most one line every few seconds.

    Args:
        what: is counted, such as "scans".
        total: how many there are.
    """

    def __init__(self, what: str, total: int):
        self._what, self._total, self._done = what, total, 0
        self._begun = self._last_line = time.monotonic()

    def add(self, count: int = 1) -> None:
        """Counts what was done since the last call."""
        self._done += count
        now = time.monotonic()
        if now - self._last_line > _SECONDS_BETWEEN_LINES and self._done < self._total:
            self._last_line = now
            left = (now - self._begun) / self._done * (self._total - self._done)
            say(f"{self._what}: {self._done} of {self._total}  ETA {duration(left)}")
