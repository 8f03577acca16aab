"""Writing in the background while the device computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from absl import logging

from afnet_jax.errors import RunError


class BackgroundWriter:
    """Runs one job at a time in a thread of its own; a fault surfaces at the next call.

    Attributes:
        waited: seconds that callers have spent waiting for a job.
        longest: seconds that the longest job took.
    """

    def __init__(self):
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._job: Future | None = None
        self.waited = 0.0
        self.longest = 0.0

    def submit(self, job: Callable[[], None]) -> None:
        """Starts a job, after the one before it has ended.

        Raises:
            RunError: the job before failed.
        """
        self.wait()
        self._job = self._thread.submit(self._timed, job)

    def wait(self) -> None:
        """Returns when nothing is being written.

        Raises:
            RunError: the last job failed.
        """
        job, self._job = self._job, None
        if job is None:
            return
        start = time.monotonic()
        try:
            job.result()
        finally:
            self.waited += time.monotonic() - start

    def close(self) -> None:
        """Ends the thread after its job; a fault of the job is printed in one line, since another is being raised."""
        try:
            self.wait()
        except (RunError, OSError) as error:
            logging.error("%s", error)
        self._thread.shutdown()

    def _timed(self, job: Callable[[], None]) -> None:
        start = time.monotonic()
        job()
        self.longest = max(self.longest, time.monotonic() - start)
