"""Several processes, on one machine or many, as one run: each trains its share of the groups, the first sums up."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import jax
from ml_collections import ConfigDict
from orbax.checkpoint import multihost

from afnet_jax.errors import ConfigError

# A process may have hours of training left when another is done. One that dies is noticed by its missing heartbeats.
_LONGEST_WAIT_MS = 30 * 24 * 3600 * 1000


def join(settings: ConfigDict) -> None:
    """Joins the other processes of the run. Must come before anything is computed; does nothing for a single process.

    Args:
        settings: config.distributed.

    Raises:
        ConfigError: the others cannot be found.
    """
    if not settings.coordinator or jax.distributed.is_initialized():
        return
    try:
        if settings.coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(settings.coordinator, settings.processes, settings.process)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"config.distributed.coordinator={settings.coordinator!r}: the run's processes cannot be joined "
            f"({' '.join(str(error).split())}); give HOST:PORT of the first, the number of processes and each one's own"
        ) from error


@contextlib.contextmanager
def first_alone(what: str) -> Iterator[None]:
    """Lets the first process enter first, then the others, which find its result, or meet the same fault."""
    if jax.process_index() > 0:
        wait_for_all(what)
    try:
        yield
    finally:  # a process that ended alone would wait five minutes for the others, who wait for it, and abort with them
        if jax.process_index() == 0:
            wait_for_all(what)


def wait_for_all(what: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Returns when every process of the run has reached this call.

    Args:
        what: is waited for; the same in each of them.
        meanwhile: called every second; may raise.
    """
    # Not JAX's `sync_global_devices`: on CPUs its exchange gives up after 30 s.
    barrier = multihost.get_barrier_sync_fn()
    reached: Future[None] = Future()

    def wait() -> None:
        try:
            reached.set_result(barrier(key=what, timeout_ms=_LONGEST_WAIT_MS))
        except Exception as error:
            reached.set_exception(error)

    # In another thread, since Python answers no signal within a call of JAX; one that does not outlive the process.
    threading.Thread(target=wait, daemon=True).start()
    while not concurrent.futures.wait([reached], timeout=1).done:
        meanwhile()
    reached.result()
