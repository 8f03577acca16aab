"""Stands for worker processes, which would not see what a test has changed."""

import concurrent.futures
import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread(count: int) -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        yield executor
