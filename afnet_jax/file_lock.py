"""A lock between processes that ends with its holder, however the holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def write_lock(path: Path, purpose: str) -> Iterator[None]:
    """Holds a lock file alone; while others hold it, says so in one line on stderr and waits.

    Threads that open the same file exclude one another, too.

    Args:
        path: the lock file; made with its folder where it does not exist, and left behind.
        purpose: what is waited for, such as "data/bu3dfe: the data set is being prepared".

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _wait(file, fcntl.LOCK_EX, purpose)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


@contextlib.contextmanager
def read_lock(path: Path, purpose: str) -> Iterator[None]:
    """Keeps writers out while any number of readers read; waits for a writer as `write_lock` does.

    Where no writer has ever left a lock file, or it cannot be opened, nothing is locked: readers need no permission to
    write.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            _wait(stack.enter_context(path.open(encoding="utf-8")), fcntl.LOCK_SH, purpose)
        yield


def _wait(file: IO[str], kind: int, purpose: str) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        print(f"{purpose} by {file.read().strip() or 'another process'}; waiting for it", file=sys.stderr)
        fcntl.flock(file, kind)
