"""Elements of a sequence in their order, read ahead by threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from afnet_jax.errors import DatasetError

T = TypeVar("T", covariant=True)


class RandomAccess(Protocol[T]):
    """Describes a sequence that several threads can read at any place at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> T: ...


def read_ahead(source: RandomAccess[T], *, threads: int, ahead: int) -> Iterator[T]:
    """Yields a sequence's elements in their order, whichever thread is done first.

    Args:
        source: the sequence.
        threads: that read at once.
        ahead: elements that are held ready, at most.

    Raises:
        DatasetError: Grain, which reads, is not installed.
    """
    try:
        import grain  # here: it takes a second, and data sets that fit the memory need none
    except ImportError:
        raise DatasetError(
            "the data set is streamed (config.dataset.placement), which takes Grain: pip install 'afnet_jax[stream]'"
        ) from None
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)
    return iter(grain.MapDataset.source(source).to_iter_dataset(options))
