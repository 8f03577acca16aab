"""Progress lines of a long run."""

from __future__ import annotations

import sys
import time


class Progress:
    """Counts scans and tells the rate and the time left, at most one line every few seconds.

    Args:
        total: training scans of the whole run that are still to come, all trainings and epochs together.
        trainings: how many trainings they belong to.

    Attributes:
        estimated: whether the whole run's time has been told.
    """

    _SECONDS_BETWEEN_LINES = 20.0

    def __init__(self, total: int, trainings: int = 1):
        self.trainings = trainings
        self.estimated = False
        self._total = total
        self._skipped = 0
        self._done = 0
        self._seconds = 0.0
        self._last_line = time.monotonic()

    @property
    def rate(self) -> float:
        """Scans per second so far, the time of compiling left out."""
        return self._done / self._seconds if self._seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """Estimate from the rate so far."""
        if self.finished:
            return 0.0
        return (self._total - self._done) / self.rate if self.rate else float("nan")

    @property
    def finished(self) -> bool:
        """Whether all scans are counted."""
        return self._done >= self._total

    @property
    def seconds_in_all(self) -> float:
        """Estimate of the same for all of these trainings, from their start."""
        return (self._total + self._skipped) / self.rate if self.rate else float("nan")

    def add(self, scans: int, seconds: float) -> None:
        """Counts a step's scans."""
        self._done += scans
        self._seconds += seconds

    def skip(self, scans: int) -> None:
        """Leaves out scans of an earlier process."""
        self._total -= scans
        self._skipped += scans

    def within_epoch(self, where: str, step: int, steps: int) -> None:
        """A line within a long epoch, if the last one is some while ago."""
        if time.monotonic() - self._last_line > self._SECONDS_BETWEEN_LINES:
            self.line(f"{where}  step {step}/{steps}")

    def line(self, text: str) -> None:
        """A line, with rate, share done and time left."""
        self._last_line = time.monotonic()
        share = self._done / self._total if self._total else 1.0  # none are left where only the evaluation was
        tail = f"{self.rate:.0f} scans/s  {100 * share:.0f} % done  ETA {duration(self.seconds_left)}"
        say(f"{text}  {tail}")


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """3725 -> "1 h 02 min"; NaN -> "unknown"."""
    if seconds != seconds:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 60 / 24:.0f} days"
