"""One group of trainings, from its newest checkpoint to its predictions."""

from __future__ import annotations

import contextlib
import copy
import signal
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from afnet_jax.errors import Interrupted
from afnet_jax.paths import user_path
from afnet_jax.runs.checkpoints import EpochRows
from afnet_jax.runs.predictions import GroupPredictions
from afnet_jax.runs.tensorboard import Events
from afnet_jax.training.devices import GroupProgram, steps_per_dispatch
from afnet_jax.training.plan import Shape, Training, epoch_batches, fill, test_batches
from afnet_jax.training.progress import Progress, duration, say
from afnet_jax.training.saving import Saving


class StopRequest:
    """Notes the first SIGINT or SIGTERM, which is handled after the current call; a second SIGINT stops at once."""

    def __enter__(self) -> StopRequest:
        self.signal: int | None = None
        self._before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        except ValueError:
            pass  # signals reach the main thread alone; elsewhere the caller sees to them
        return self

    def _note(self, number, frame):
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        say(f"{signal.Signals(number).name}: finishing this step and saving …")

    def obey(self, folder: Path) -> None:
        """Ends the run if it was asked to stop; whatever it has reached must be saved in its folder.

        Raises:
            Interrupted: it was.
        """
        if self.signal is not None:
            raise Interrupted(
                f"stopped by {signal.Signals(self.signal).name}; the state is saved in {folder}: run the same command "
                f"again to go on"
            )

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


class GroupTraining:
    """One group of trainings, from what they have reached to their predictions.

    Args:
        group: the trainings, which have all reached the same.
        group_size: of the run's largest group.
        shape: sizes that all trainings share.
        config: the run's settings.
        saving: where states, metrics and predictions go.
        program: what computes.
        labels: (N,) of the whole data set.
        progress: counts what is done.
        profile: folder for a trace of the second epoch (of the only one, where there is one); "" for none.
    """

    def __init__(
        self,
        group: tuple[Training, ...],
        *,
        group_size: int,
        shape: Shape,
        config: ConfigDict,
        saving: Saving,
        program: GroupProgram,
        labels: np.ndarray,
        progress: Progress,
        profile: str = "",
    ):
        self._config = config
        self._saving = saving
        self._program = program
        self._labels = labels
        self._group = group
        self._filled = fill(group, program.places(len(group), group_size))
        self._shape = shape
        self._progress = progress
        self._profile = profile
        self._failed: dict[str, dict] = {}  # "round/fold" -> where its numbers stopped being finite

    def run(self, restored: tuple[dict, EpochRows, dict] | None, stop: StopRequest) -> None:
        """Trains what is left of all epochs, then stores the predictions and, where they are kept, the weights.

        Args:
            restored: what `Checkpoints.restore` gave for the group.
            stop: noted signals.

        Raises:
            Interrupted: asked to stop, after saving.
        """
        epoch, state = self._start(restored)
        self._saving.clock.state_taken()
        with Events(self._saving.folder.path) as self._events:
            self._train_on(epoch, state, stop)

    def _start(self, restored: tuple[dict, EpochRows, dict] | None):
        if restored is None:
            return EpochRows(0), self._program.init(self._filled)
        arrays, epoch, self._failed = restored
        if epoch.number < self._config.train.epochs:
            say(f"{names(self._group)}: going on at epoch {epoch.number + 1}, step {epoch.step + 1}")
        self._progress.skip(len(self._group) * self._shape.batch * self._steps_done(epoch))
        return epoch, self._program.from_arrays(filled(arrays, len(self._filled)))

    def _steps_done(self, epoch: EpochRows) -> int:
        return epoch.number * self._shape.steps + epoch.step

    def _train_on(self, epoch: EpochRows, state, stop: StopRequest) -> None:
        epochs = self._config.train.epochs
        logits = None
        while epoch.number < epochs:
            with self._traced(epoch):
                state = self._train_epoch(state, epoch, stop)
            last = epoch.number == epochs - 1
            logits = None
            if last or (epoch.number + 1) % self._config.train.evaluate_every == 0:
                logits = self._program.evaluate(state, test_batches(self._filled, self._shape))
            self._report(epoch, logits)
            self._estimate()
            epoch = EpochRows(epoch.number + 1)
        self._finish(state, epoch, logits)

    def _train_epoch(self, state, epoch: EpochRows, stop: StopRequest):
        indices, active = epoch_batches(self._filled, self._shape, seed=self._config.seed, epoch=epoch.number)
        setting = self._config.train.steps_per_dispatch
        most = self._program.data.most_steps(indices[0].size)
        stride = steps_per_dispatch(setting, self._shape.steps, self._program.platform, most)
        feed = self._program.feed(indices[epoch.step :], stride)
        members = len(self._group)
        while epoch.step < self._shape.steps:
            chunk = slice(epoch.step, epoch.step + stride)
            first_step = self._steps_done(epoch)
            compiled_before, start = self._program.compile_seconds, time.monotonic()
            state, metrics = self._program.train(state, self._filled, first_step, indices[chunk], active[chunk], feed)
            rows = jax.tree.map(lambda leaf: leaf[:, :members].tolist(), metrics)
            seconds = time.monotonic() - start - (self._program.compile_seconds - compiled_before)
            epoch.loss += rows.loss
            epoch.correct += rows.correct
            epoch.gradient_norm += rows.gradient_norm
            epoch.seconds += seconds
            self._notice_failures(epoch, active, len(rows.loss))
            self._progress.add(len(rows.loss) * members * self._shape.batch, seconds)
            self._progress.within_epoch(self._where(epoch), epoch.step, self._shape.steps)
            if stop.signal is not None:
                self._save(state, epoch)
                self._saving.wait()
                stop.obey(self._saving.folder.path)
            # After the last step of all the finished weights follow at once.
            unfinished = self._steps_done(epoch) < self._shape.steps * self._config.train.epochs
            if unfinished and self._saving.clock.due(seconds):
                self._save(state, epoch)
        return state

    def _traced(self, epoch: EpochRows) -> contextlib.AbstractContextManager:
        if self._profile and epoch.number == min(1, self._config.train.epochs - 1):
            return jax.profiler.trace(str(user_path(self._profile)))
        return contextlib.nullcontext()

    def _estimate(self) -> None:
        """After a process's first whole epoch, prints and stores how long all of its trainings will take."""
        if self._progress.estimated or self._progress.finished or not self._progress.rate:
            return
        self._progress.estimated = True
        content = {
            "trainings": self._progress.trainings,
            "epochs": self._config.train.epochs,
            "scans_per_second": self._progress.rate,
            "seconds": self._progress.seconds_in_all,
        }
        self._saving.folder.write_estimate(content)
        say(
            f"estimate: {content['trainings']} trainings of {content['epochs']} epochs take "
            f"{duration(content['seconds'])}, compiling and evaluating apart"
        )

    def _notice_failures(self, epoch: EpochRows, active: np.ndarray, new_rows: int) -> None:
        for step in range(epoch.step - new_rows, epoch.step):
            finite = np.isfinite(epoch.loss[step]) & np.isfinite(epoch.gradient_norm[step])
            for training, good, counts in zip(self._group, finite, active[step], strict=False):
                key = f"{training.round}/{training.fold}"
                if counts and not good and key not in self._failed:
                    self._failed[key] = {"epoch": epoch.number, "step": step}
                    logging.error(
                        "round %d fold %d: loss or gradient is not finite at epoch %d, step %d; this training is "
                        "given up, the others go on",
                        training.round,
                        training.fold,
                        epoch.number + 1,
                        step + 1,
                    )

    def _where(self, epoch: EpochRows) -> str:
        return f"{names(self._group)}  epoch {epoch.number + 1}/{self._config.train.epochs}"

    def _report(self, epoch: EpochRows, logits: np.ndarray | None) -> None:
        """Prints a progress line and appends one line per round to metrics.jsonl."""
        steps = np.array([len(t.train) // self._shape.batch for t in self._group])
        counts = np.arange(self._shape.steps)[:, None] < steps
        loss = np.where(counts, epoch.loss, 0).sum(0) / steps
        norm = np.where(counts, epoch.gradient_norm, 0).sum(0) / steps
        train_accuracy = np.where(counts, epoch.correct, 0).sum(0) / (steps * self._shape.batch)
        test_accuracy = None
        if logits is not None:
            test_accuracy = accuracies(self._group, logits, self._labels)
        lines = []
        for round_ in sorted({t.round for t in self._group}):
            members = [i for i, t in enumerate(self._group) if t.round == round_]
            lines.append(
                {
                    "round": round_,
                    "epoch": epoch.number,
                    "folds": [self._group[i].fold for i in members],
                    "loss": [_finite(loss[i]) for i in members],
                    "gradient_norm": [_finite(norm[i]) for i in members],
                    "train_accuracy": [float(train_accuracy[i]) for i in members],
                    "test_accuracy": [test_accuracy and test_accuracy[i] for i in members],
                    "seconds": epoch.seconds * len(members) / len(self._group),
                    "compile_seconds": self._program.take_compile_seconds(),  # all in the first round's line
                }
            )
        self._saving.folder.metrics.append(lines)
        self._events.add(lines)
        known = [each for each in test_accuracy or () if each is not None]
        test = f"  test {percent(known)}" if known else ""
        self._progress.line(f"{self._where(epoch)}  loss {_mean(loss)}  train {percent(train_accuracy)}{test}")

    def _save(self, state, epoch: EpochRows) -> None:
        """Copies the state and has it written in the background."""
        members = len(self._group)
        arrays = jax.tree.map(lambda leaf: leaf[:members], self._program.to_arrays(state))
        self._saving.state(
            [t.key for t in self._group], arrays, copy.deepcopy(epoch), dict(self._failed), step=self._steps_done(epoch)
        )

    def _finish(self, state, epoch: EpochRows, logits: np.ndarray | None) -> None:
        if logits is None:  # everything was done but this when the run was stopped
            logits = self._program.evaluate(state, test_batches(self._filled, self._shape))
        keys = [t.key for t in self._group]
        last = {"epoch": self._config.train.epochs - 1, "step": self._shape.steps - 1}
        self._failed |= without_predictions(self._group, logits, self._failed, last)
        kept = [i for i, key in enumerate(keys) if self._keeps_weights(key)]
        weights = None
        if kept:  # training does not resume from here, so the optimizer's state, two thirds of the bytes, is dropped
            arrays = self._program.to_arrays(state, weights_alone=True)
            # A slice where all are kept: a list of places would copy them, gigabytes of a large group.
            places = slice(len(keys)) if len(kept) == len(keys) else kept
            weights = [keys[i] for i in kept], jax.tree.map(lambda leaf: leaf[places], arrays)
        predictions = GroupPredictions.of(keys, [t.test for t in self._group], logits, dict(self._failed))
        self._saving.finished(predictions, weights, epoch, step=self._steps_done(epoch))

    def _keeps_weights(self, key: tuple[int, int]) -> bool:
        keep = self._config.train.keep_rounds
        return (keep < 0 or key[0] < keep) and not self._saving.checkpoints.final(key)


def filled(arrays, size: int):
    """Trainings on axis 0, the last one repeated up to `size`."""

    def fill_leaf(leaf):
        return leaf if len(leaf) == size else np.concatenate([leaf, np.repeat(leaf[-1:], size - len(leaf), 0)])

    return jax.tree.map(fill_leaf, arrays)


def accuracies(group: Sequence[Training], logits: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Accuracy of each training on its test scans, None where its logits are not finite."""
    found: list[float | None] = []
    for rows, training in zip(logits, group, strict=False):
        own, right = rows[: len(training.test)], labels[training.test]
        found.append(float((own.argmax(-1) == right).mean()) if np.isfinite(own).all() else None)
    return found


def without_predictions(
    group: Sequence[Training], logits: np.ndarray, failed: Collection[str], place: dict[str, int]
) -> dict[str, dict[str, int]]:
    """Finds the trainings whose logits are not finite though their losses were, and says so.

    Args:
        group: the trainings.
        logits: (at least G, at least the test scans, 6).
        failed: those that were given up before.
        place: "epoch" and "step" of the last update.

    Returns:
        "round/fold" -> `place` of each.
    """
    found = {}
    for rows, training in zip(logits, group, strict=False):
        key = f"{training.round}/{training.fold}"
        if key not in failed and not np.isfinite(rows[: len(training.test)]).all():
            found[key] = dict(place)
            logging.error(
                "round %d fold %d: its predictions are not finite; this training is given up, the others go on",
                training.round,
                training.fold,
            )
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None  # JSON has no NaN


def _mean(losses: np.ndarray) -> str:
    healthy = losses[np.isfinite(losses)]
    return f"{healthy.mean():.3f}" if len(healthy) else "not finite"


def percent(accuracies: Sequence[float]) -> str:
    return f"{100 * np.mean(accuracies):.1f} %"


def names(group: Sequence[Training]) -> str:
    first, last = group[0], group[-1]
    if first.round == last.round:
        return f"round {first.round} folds {first.fold}-{last.fold}"
    return f"round {first.round} fold {first.fold} to round {last.round} fold {last.fold}"
