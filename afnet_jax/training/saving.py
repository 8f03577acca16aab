"""Saving of a process's trainings in the background."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from afnet_jax.runs.background import BackgroundWriter
from afnet_jax.runs.checkpoints import EpochRows, Key
from afnet_jax.runs.folder import RunFolder
from afnet_jax.runs.predictions import GroupPredictions
from afnet_jax.training.checkpoint_clock import CheckpointClock


class Saving:
    """Writes states and results of this process's trainings in the background, in an order that loses nothing.

    Args:
        folder: the run's.
        mine: (round, fold) of this process's trainings.
        minutes: config.train.checkpoint_minutes.

    Attributes:
        checkpoints: what each training has reached.
        done: trainings whose predictions, and weights where they are kept, are safe.
        clock: tells when a state is due.
    """

    def __init__(self, folder: RunFolder, mine: Collection[Key], minutes: float):
        self.folder = folder
        self.checkpoints = folder.checkpoints()
        self.done = {key for part in folder.group_predictions() for key in part.trainings}
        self.clock = CheckpointClock(minutes)
        self._mine = frozenset(mine)
        self._writer = BackgroundWriter()

    def state(self, keys: Sequence[Key], arrays: dict, epoch: EpochRows, failed: dict, *, step: int) -> None:
        """Saves trainings under way. Nobody may alter what is given.

        Raises:
            RunError, OSError: what was saved before could not be written.
        """
        self.clock.state_taken()

        def write() -> None:
            start = time.monotonic()
            self.folder.metrics.sync()  # before the checkpoint, which says that these epochs are done
            self.checkpoints.save(keys, arrays, epoch, failed, step=step)
            self.checkpoints.drop_superseded(self.done, self._mine)
            self.clock.written(time.monotonic() - start)

        self._writer.submit(write)

    def finished(
        self, predictions: GroupPredictions, weights: tuple[list[Key], dict] | None, epoch: EpochRows, *, step: int
    ) -> None:
        """Stores what finished trainings predict, after the weights that are kept of them.

        Args:
            predictions: of all of them.
            weights: (round, fold) of those whose weights are kept, and these, stacked; None for none.
            epoch, step: behind all of them.

        Raises:
            RunError, OSError: what was saved before could not be written.
        """
        self.clock.state_taken()

        def write() -> None:
            self.folder.metrics.sync()
            if weights is not None:
                self.checkpoints.save(*weights, epoch, predictions.failed, step=step)
            self.folder.write_group_predictions(predictions)
            self.done |= set(predictions.trainings)
            self.checkpoints.drop_superseded(self.done, self._mine)

        self._writer.submit(write)

    def wait(self) -> None:
        """Returns when everything is on the disk.

        Raises:
            RunError, OSError: it could not be written.
        """
        self._writer.wait()

    def close(self) -> None:
        """Ends the writing."""
        self._writer.close()
