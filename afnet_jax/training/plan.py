"""The plan of a run: which trainings run side by side, and the scans of each batch.

Everything here is a function of (seed, round, fold, epoch), the data set, and the sizes of the run's smallest and
largest fold (`common_shape`), so that a training's result does not depend on what runs beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from afnet_jax.errors import ConfigError
from afnet_jax.protocol import Fold

_DATA_ORDER = 2  # stream of random numbers; the protocol's draws use 0 and 1


@dataclasses.dataclass(frozen=True)
class Training:
    """One fold of one round, as indices into the data set.

    Attributes:
        round, fold: its place in the protocol.
        train: (n,) int32 indices of the scans to learn from.
        test: (m,) int32 indices of the scans to be tested on.
    """

    round: int
    fold: int
    train: np.ndarray
    test: np.ndarray

    @property
    def key(self) -> tuple[int, int]:
        """(round, fold)."""
        return self.round, self.fold


def lay_out(folds: Sequence[Fold], subjects: Sequence[str] | np.ndarray) -> tuple[Training, ...]:
    """The protocol's folds as indices.

    Args:
        folds: subject ids of each fold.
        subjects: subject id of each scan of the data set.

    Raises:
        ConfigError: a subject of the protocol who is not in the data set.
    """
    of_scans = np.asarray(subjects)
    known = set(of_scans.tolist())
    for fold in folds:
        if absent := sorted(set(fold.train + fold.test) - known):
            raise ConfigError(
                f"round {fold.round} fold {fold.fold} names subjects that the data set does not hold: "
                f"{', '.join(absent[:5])}; take splits of this data set"
            )
    return tuple(Training(f.round, f.fold, _indices(of_scans, f.train), _indices(of_scans, f.test)) for f in folds)


def _indices(subjects: np.ndarray, chosen: Sequence[str]) -> np.ndarray:
    return np.flatnonzero(np.isin(subjects, chosen)).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes that all trainings share, so that one compiled program serves them all.

    Attributes:
        batch: scans of a batch (B).
        steps: batches of an epoch.
        test_batches: batches of an evaluation.
    """

    batch: int
    steps: int
    test_batches: int


def common_shape(trainings: Sequence[Training], batch_size: int) -> Shape:
    """Sizes for these trainings; a fold of fewer scans than a batch lowers the batch for all."""
    batch = min(batch_size, *(len(t.train) for t in trainings))
    return Shape(
        batch=batch,
        steps=max(len(t.train) // batch for t in trainings),
        test_batches=-(-max(len(t.test) for t in trainings) // batch),
    )


def share(trainings: Sequence[Training], process: int, processes: int) -> tuple[Training, ...]:
    """The neighbouring trainings that fall to one of several processes, whatever groups each of them then forms."""
    start, stop = (len(trainings) * p // processes for p in (process, process + 1))
    return tuple(trainings[start:stop])


def next_group(
    pending: Sequence[Training], reached: Callable[[tuple[int, int]], Any], size: int
) -> tuple[Training, ...]:
    """The trainings to take up next: at most `size` that have reached the same, those that are furthest first.

    Args:
        pending: all that are not finished, in order.
        reached: (round, fold) -> what that training has reached; can be compared.
        size: trainings side by side.
    """
    furthest = max(reached(t.key) for t in pending)
    return tuple(t for t in pending if reached(t.key) == furthest)[:size]


def fill(group: Sequence[Training], size: int) -> tuple[Training, ...]:
    """The group, filled up with its last training to the common size; what the copies compute is thrown away."""
    return (*group, *[group[-1]] * (size - len(group)))


def epoch_batches(group: Sequence[Training], shape: Shape, *, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Scans of each batch of an epoch: full batches of a permutation drawn anew each epoch.

    The last fewer-than-a-batch scans of a permutation are left out of that epoch.

    Returns:
        (steps, G, B) int32 indices into the data set; (steps, G) bool, False where a training with fewer scans than
        its neighbours has no such step.
    """
    indices = np.zeros((shape.steps, len(group), shape.batch), np.int32)
    active = np.zeros((shape.steps, len(group)), bool)
    for column, training in enumerate(group):
        rng = np.random.default_rng([seed, _DATA_ORDER, training.round, training.fold, epoch])
        steps = len(training.train) // shape.batch
        order = rng.permutation(training.train)[: steps * shape.batch]
        indices[:steps, column] = order.reshape(steps, shape.batch)
        active[:steps, column] = True
    return indices, active


def test_batches(group: Sequence[Training], shape: Shape) -> np.ndarray:
    """(test_batches, G, B) int32 indices of the test scans in order, filled up with scan 0."""
    indices = np.zeros((len(group), shape.test_batches * shape.batch), np.int32)
    for row, training in enumerate(group):
        indices[row, : len(training.test)] = training.test
    return indices.reshape(len(group), shape.test_batches, shape.batch).swapaxes(0, 1)
