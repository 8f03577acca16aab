"""Schedule of checkpoints by time."""

from __future__ import annotations

import time


class CheckpointClock:
    """Tells after each call of the program whether a checkpoint is due.

    A checkpoint is to be on the disk before `minutes` have passed since the state before it was taken, so that a kill
    costs no more. It is therefore begun earlier by one call and by twice the longest write so far, but not before half
    of the minutes are over; the first one of a process, whose write time is unknown, after half of them.

    Args:
        minutes: config.train.checkpoint_minutes.
    """

    def __init__(self, minutes: float):
        self._limit = 60 * minutes
        self._write: float | None = None
        self._taken = time.monotonic()

    def state_taken(self) -> None:
        """Restarts the clock: a state has just been taken, restored or made."""
        self._taken = time.monotonic()

    def written(self, seconds: float) -> None:
        """Notes how long a checkpoint's write took."""
        self._write = max(self._write or 0.0, seconds)

    def due(self, call: float) -> bool:
        """Whether a checkpoint must be begun now.

        Args:
            call: seconds that the last call of the program took; the next one is taken to be as long.
        """
        half = self._limit / 2
        latest = half if self._write is None else max(half, self._limit - 2 * self._write - call)
        return time.monotonic() - self._taken >= latest
