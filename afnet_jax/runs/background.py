"""Writing in the background while the device computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from absl import logging

from afnet_jax.errors import RunError


class BackgroundWriter:
    """Runs one job at a time in a thread of its own; a fault surfaces at the next call."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._job: Future | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Starts a job, after the one before it has ended.

        Raises:
            RunError, OSError: the job before failed.
        """
        self.wait()
        self._job = self._thread.submit(job)

    def wait(self) -> None:
        """Returns when nothing is being written.

        Raises:
            RunError, OSError: the last job failed.
        """
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def close(self) -> None:
        """Ends the thread after its job; a fault of the job is printed in one line, since another is being raised."""
        try:
            self.wait()
        except (RunError, OSError) as error:
            logging.error("%s", error)
        self._thread.shutdown()
