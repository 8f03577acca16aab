"""One group of trainings, from its newest checkpoint to its predictions."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from afnet_jax.errors import RunError
from afnet_jax.training.checkpoints import Checkpoints
from afnet_jax.training.devices import GroupProgram, steps_per_dispatch
from afnet_jax.training.plan import Shape, Training, epoch_batches, fill, test_batches
from afnet_jax.training.progress import Progress, duration, say
from afnet_jax.training.run_folder import RunFolder
from afnet_jax.training.tensorboard import GroupEvents

WEIGHTS = ("params", "batch_stats")  # what a finished training keeps


class Interrupted(RunError):
    """The run was asked to stop, has saved its state and can go on."""


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a wish that is granted after the step; a second SIGINT stops at once."""

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

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


@dataclasses.dataclass
class _Epoch:
    """What the steps of the epoch under way have shown so far, one row a step, one column a training."""

    number: int
    loss: list[list[float]] = dataclasses.field(default_factory=list)
    correct: list[list[int]] = dataclasses.field(default_factory=list)
    gradient_norm: list[list[float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def step(self) -> int:
        return len(self.loss)


class GroupTraining:
    """One group of trainings, from its newest checkpoint to its predictions.

    Args:
        group: the trainings, at most as many as the common shape has places.
        shape: sizes that all groups share.
        config: the run's settings.
        folder: the run's folder.
        program: what computes.
        labels: (N,) of the whole data set.
        progress: counts what is done.
        profile: folder for a trace of the second epoch (of the only one, where there is one); "" for none.
    """

    def __init__(
        self,
        group: tuple[Training, ...],
        shape: Shape,
        *,
        config: ConfigDict,
        folder: RunFolder,
        program: GroupProgram,
        labels: np.ndarray,
        progress: Progress,
        profile: str = "",
    ):
        self._config = config
        self._folder = folder
        self._program = program
        self._labels = labels
        self._group = group
        self._filled = fill(group, program.places(len(group), shape.trainings))
        self._shape = shape
        self._progress = progress
        self._profile = profile
        self._checkpoints = Checkpoints(folder.checkpoint_folder(group))
        self._failed: dict[str, dict] = {}  # "round/fold" -> where its numbers stopped being finite

    def run(self, stop: StopRequest) -> None:
        """Trains what is left of all epochs, then stores the predictions and, where they are kept, the weights.

        Raises:
            Interrupted: asked to stop, after saving.
        """
        epoch, state = self._restore_or_start()
        with GroupEvents(self._folder.path, self._group) as self._events:
            self._train_on(epoch, state, stop)

    def _train_on(self, epoch: _Epoch, state, stop: StopRequest) -> None:
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
            self._estimate(epoch)
            epoch = _Epoch(epoch.number + 1)
            if not last and epoch.number % self._config.train.checkpoint_every == 0:
                self._save(state, epoch)
        self._finish(state, epoch, logits)

    def _restore_or_start(self):
        restored = self._checkpoints.restore_newest()
        if restored is None:
            self._folder.drop_metrics(self._group, from_epoch=0)
            return _Epoch(0), self._program.init(self._filled)
        arrays, record = restored
        self._failed = record["failed"]
        epoch = _Epoch(**record["epoch"])
        say(f"{names(self._group)}: going on at epoch {epoch.number + 1}, step {epoch.step + 1}")
        self._folder.drop_metrics(self._group, from_epoch=epoch.number)
        self._progress.skip(len(self._group) * self._shape.batch * (epoch.number * self._shape.steps + epoch.step))
        return epoch, self._program.from_arrays(
            {key: filled(value, len(self._filled)) for key, value in arrays.items()}
        )

    def _train_epoch(self, state, epoch: _Epoch, stop: StopRequest):
        indices, active = epoch_batches(self._filled, self._shape, seed=self._config.seed, epoch=epoch.number)
        setting = self._config.train.steps_per_dispatch
        stride = steps_per_dispatch(setting, self._shape.steps, self._program.platform)
        members = len(self._group)
        while epoch.step < self._shape.steps:
            chunk = slice(epoch.step, epoch.step + stride)
            first_step = epoch.number * self._shape.steps + epoch.step
            compiled_before, start = self._program.compile_seconds, time.monotonic()
            state, metrics = self._program.train(state, self._filled, first_step, indices[chunk], active[chunk])
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
                raise Interrupted(
                    f"stopped by {signal.Signals(stop.signal).name}; the state is saved in {self._folder.path}: "
                    f"run the same command again to go on"
                )
        return state

    def _traced(self, epoch: _Epoch) -> contextlib.AbstractContextManager:
        if self._profile and epoch.number == min(1, self._config.train.epochs - 1):
            return jax.profiler.trace(self._profile)
        return contextlib.nullcontext()

    def _estimate(self, epoch: _Epoch) -> None:
        """After a process's first whole epoch: how long all of its trainings will take, told and stored."""
        if self._progress.estimated or self._progress.finished:
            return
        self._progress.estimated = True
        content = {
            "trainings": self._progress.trainings,
            "epochs": self._config.train.epochs,
            "scans_per_second": self._progress.rate,
            "seconds": self._progress.seconds_in_all,
        }
        self._folder.write_estimate(content)
        say(
            f"estimate: {content['trainings']} trainings of {content['epochs']} epochs take "
            f"{duration(content['seconds'])}, compiling and evaluating apart"
        )

    def _notice_failures(self, epoch: _Epoch, active: np.ndarray, new_rows: int) -> None:
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

    def _where(self, epoch: _Epoch) -> str:
        return f"{names(self._group)}  epoch {epoch.number + 1}/{self._config.train.epochs}"

    def _report(self, epoch: _Epoch, logits: np.ndarray | None) -> None:
        """A line for people, and one per round for metrics.jsonl."""
        steps = np.array([len(t.train) // self._shape.batch for t in self._group])
        counts = np.arange(self._shape.steps)[:, None] < steps
        loss = np.where(counts, epoch.loss, 0).sum(0) / steps
        norm = np.where(counts, epoch.gradient_norm, 0).sum(0) / steps
        train_accuracy = np.where(counts, epoch.correct, 0).sum(0) / (steps * self._shape.batch)
        test_accuracy = None
        if logits is not None:
            test_accuracy = [accuracy(row, self._labels[t.test]) for row, t in zip(logits, self._group, strict=False)]
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
                    "compile_seconds": self._program.take_compile_seconds() * (round_ == self._group[0].round),
                }
            )
        self._folder.append_metrics(lines)
        self._events.add(lines)
        test = f"  test {percent(test_accuracy)}" if test_accuracy else ""
        self._progress.line(f"{self._where(epoch)}  loss {_mean(loss)}  train {percent(train_accuracy)}{test}")

    def _save(self, state, epoch: _Epoch, *, final: bool = False) -> None:
        members = len(self._group)
        arrays = self._program.to_arrays(state)
        if final:  # nobody trains on from here, so the optimizer's state, two thirds of it all, can go
            arrays = {key: arrays[key] for key in WEIGHTS}
        self._checkpoints.save(
            epoch.number * self._shape.steps + epoch.step,
            jax.tree.map(lambda leaf: leaf[:members], arrays),
            {
                "trainings": [[t.round, t.fold] for t in self._group],
                "step": epoch.number * self._shape.steps + epoch.step,
                "epoch": dataclasses.asdict(epoch),
                "failed": self._failed,
            },
        )

    def _finish(self, state, epoch: _Epoch, logits: np.ndarray | None) -> None:
        if logits is None:  # everything was done but this when the run was stopped
            logits = self._program.evaluate(state, test_batches(self._filled, self._shape))
        keep = self._config.train.keep_rounds
        if keep < 0 or any(t.round < keep for t in self._group):
            self._save(state, epoch, final=True)
            self._checkpoints.remove(but_newest=True)
            self._folder.write_group_predictions(self._group, logits, self._failed)
        else:
            self._folder.write_group_predictions(self._group, logits, self._failed)
            self._checkpoints.remove()


def filled(arrays, size: int):
    """Trainings on axis 0, the last one repeated up to `size`."""

    def fill_leaf(leaf):
        return leaf if len(leaf) == size else np.concatenate([leaf, np.repeat(leaf[-1:], size - len(leaf), 0)])

    return jax.tree.map(fill_leaf, arrays)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits[: len(labels)].argmax(-1) == labels).mean())


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
