"""Worker processes: one for each core, which end with the process that started them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import threadpoolctl

from afnet_jax.errors import AFNetError


class WorkerKilled(AFNetError):
    """A worker process was killed from outside."""


@contextlib.contextmanager
def worker_processes(count: int) -> Iterator[concurrent.futures.Executor]:
    """An executor of so many processes; where the block is left early, what is not begun never is.

    Raises:
        WorkerKilled: one of them is gone, and with it the scan at hand.
    """
    # Spawned, not forked: the parent may hold threads of its own (JAX, BLAS), which a fork would freeze.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(count, context, initializer=_start)
    try:
        yield executor
    except BrokenProcessPool:
        raise WorkerKilled(
            "a worker process was killed, perhaps for want of memory; run again with fewer workers, or on fewer cores "
            "(taskset): it goes on where it stopped"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start() -> None:
    # Each worker has one core: BLAS threads on top would only stand in each other's way.
    threadpoolctl.threadpool_limits(1)
    # Ctrl-C reaches every process of a terminal; the parent alone answers it, and the job at hand is finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that was killed cannot say goodbye: its workers would wait for work for ever.
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    os._exit(1)
