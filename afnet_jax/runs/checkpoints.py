"""Progress of each training of a run, from all checkpoints of its folder, whatever groups they were written in.

A checkpoint holds trainings that stand at the same step, stacked on axis 0. Its record lists them; the names of folders
are labels that are never read. `Checkpoints` finds for each training alone the newest state there is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from afnet_jax.errors import RunError
from afnet_jax.runs import checkpoint_files
from afnet_jax.runs.predictions import Key
from afnet_jax.sha256 import digest_of

WEIGHTS = ("params", "batch_stats")  # what a finished training keeps
_KEPT = 2  # checkpoints of a training under way


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """One checkpoint on the disk.

    Attributes:
        path: its folder.
        trainings: (round, fold) of each row of its arrays.
        step: steps that each of them has behind it.
        final: whether it holds finished weights alone, from which training does not resume.
        epoch: the epoch under way, see `EpochRows`.
        failed: "round/fold" -> {"epoch", "step"} of those whose numbers stopped being finite.
    """

    path: Path
    trainings: tuple[Key, ...]
    step: int
    final: bool
    epoch: dict
    failed: dict


@dataclasses.dataclass(frozen=True, order=True)
class Progress:
    """Progress of a training.

    Attributes:
        epoch: epochs done.
        step: steps done of the epoch under way.
    """

    epoch: int
    step: int


@dataclasses.dataclass
class EpochRows:
    """Metrics of the current epoch's steps, a row for each step and a column for each training.

    Attributes:
        number: of the epoch, from 0.
        seconds: that they took.
    """

    number: int
    loss: list[list[float]] = dataclasses.field(default_factory=list)
    correct: list[list[int]] = dataclasses.field(default_factory=list)
    gradient_norm: list[list[float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """Steps done of this epoch."""
        return len(self.loss)


class DamagedCheckpoint(RunError):
    """A checkpoint that cannot be used.

    Attributes:
        checkpoint: which one.
    """

    def __init__(self, checkpoint: Checkpoint, told: str):
        super().__init__(told)
        self.checkpoint = checkpoint


def label(trainings: Sequence[Key]) -> str:
    """A folder's name for a group of trainings: its first and last one, and a digest of them all."""
    (first, last), whole = (trainings[0], trainings[-1]), json.dumps(list(map(list, trainings)))
    readable = "-".join(f"round{round_:03d}_fold{fold:02d}" for round_, fold in (first, last))
    return f"{readable}-{digest_of(whole)[:8]}"


class Checkpoints:
    """All checkpoints of a run.

    What is no checkpoint is ignored; a damaged one is named in a line and passed over.

    Args:
        folder: checkpoints/ of the run.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._known: list[Checkpoint] = []  # made anew at each change: another thread may be going through it
        self._changing = threading.Lock()  # states are saved in one thread and damaged ones removed in another
        # All folds of a round are asked for one after the other.
        self._weights_of = functools.lru_cache(maxsize=1)(_read_weights)
        for path in sorted(folder.glob("*/*/")):
            if path.name.isdecimal():
                try:
                    self._known.append(_open(path))
                except RunError as error:
                    logging.warning("%s; passed over", error)

    def trainings(self) -> set[Key]:
        """All that any checkpoint holds."""
        return {key for checkpoint in self._known for key in checkpoint.trainings}

    def final(self, training: Key) -> bool:
        """Whether a training's finished weights are stored."""
        return any(c.final for c in self._of(training))

    def reached(self, training: Key) -> Progress:
        """How far a training has come, by its newest checkpoint."""
        newest = next(iter(self._of(training)), None)
        return Progress(0, 0) if newest is None else _progress(newest)

    def restore(self, trainings: Sequence[Key]) -> tuple[dict, EpochRows, dict[str, dict]] | None:
        """Arrays of trainings that have reached the same, their epoch under way, and which of them failed.

        Returns:
            None where nothing is stored of them; arrays without the optimizer's where they are finished.

        Raises:
            DamagedCheckpoint: one of those that hold them; see `pass_over`.
        """
        newest = [next(iter(self._of(training)), None) for training in trainings]
        if newest[0] is None:
            return None
        columns: list[tuple[dict, dict, dict]] = [({}, {}, {}) for _ in trainings]
        for checkpoint in dict.fromkeys(newest):
            assert checkpoint is not None  # trainings that have reached the same
            try:
                arrays, record = checkpoint_files.restore_checkpoint(checkpoint.path)
            except RunError as error:
                raise DamagedCheckpoint(checkpoint, str(error)) from error
            for column, (training, source) in enumerate(zip(trainings, newest, strict=True)):
                if source is checkpoint:
                    columns[column] = _column(arrays, record, checkpoint.trainings.index(training))
        arrays = jax.tree.map(lambda *rows: np.stack(rows), *(arrays for arrays, _, _ in columns))
        failed = {name: place for _, _, own in columns for name, place in own.items()}
        return arrays, _joined([epoch for _, epoch, _ in columns]), failed

    def weights(self, training: Key) -> dict | None:
        """Finished weights of one training, from whichever checkpoint of them is good; None where none is stored.

        Raises:
            RunError: all that there are, are damaged, or this training was given up.
        """
        fault, (round_, fold) = None, training
        for checkpoint in self._of(training):
            if checkpoint.final:
                if given_up := checkpoint.failed.get(f"{round_}/{fold}"):
                    raise RunError(
                        f"{checkpoint.path}: round {round_} fold {fold} was given up at epoch {given_up['epoch'] + 1}, "
                        f"where its numbers were no longer finite: take another fold, or train again with a lower "
                        f"--config.train.learning_rate"
                    )
                try:
                    arrays = self._weights_of(checkpoint.path)
                except RunError as error:
                    remedy = f"remove {checkpoint.path.parent} and run afnet train again, which trains these anew"
                    fault = RunError(f"{error}; {remedy}")
                    continue
                row = checkpoint.trainings.index(training)
                return jax.tree.map(lambda leaf, row=row: leaf[row], arrays)
        if fault is not None:
            raise fault
        return None

    def pass_over(self, damaged: DamagedCheckpoint, trainings: Collection[Key]) -> None:
        """Removes a damaged checkpoint, named in a line, where there is another one to go back to.

        Raises:
            RunError: it was the only one of a training that is wanted.
        """
        for round_, fold in sorted(set(damaged.checkpoint.trainings) & set(trainings)):
            if len(self._of((round_, fold))) == 1:
                raise RunError(
                    f"{damaged}; there is no other one of round {round_} fold {fold}: "
                    f"remove {damaged.checkpoint.path} to train it from the start"
                ) from damaged
        logging.warning("%s; going back to the one before it", damaged)
        self._remove(damaged.checkpoint)

    def save(self, trainings: Sequence[Key], arrays: Any, epoch: EpochRows, failed: dict, *, step: int) -> None:
        """Writes a checkpoint of trainings that stand at the same step; then superseded ones are removed.

        Args:
            trainings: (round, fold) of each row of the arrays.
            arrays: their state; without the optimizer's, they are finished.
            epoch: the epoch under way.
            failed: trainings whose numbers stopped being finite.
            step: steps behind each of them.

        Raises:
            RunError: it cannot be written.
        """
        path = self._free_path(trainings, step)
        record = {
            "trainings": [list(key) for key in trainings],
            "step": step,
            "epoch": dataclasses.asdict(epoch),
            "failed": failed,
        }
        checkpoint_files.save_checkpoint(path, arrays, record)
        saved = _open(path)
        with self._changing:
            self._known = [*self._known, saved]

    def _free_path(self, trainings: Sequence[Key], step: int) -> Path:
        """A folder for a new checkpoint: never that of a good one, which is needed until the new one is there."""
        taken, name = {c.path for c in self._known}, str(step)
        while (path := self._folder / label(trainings) / name) in taken:
            name = f"0{name}"
        return path

    def drop_superseded(self, finished: Collection[Key], mine: Collection[Key] | None = None) -> None:
        """Removes superseded checkpoints: neither finished weights nor one of the newest two of an unfinished training.

        Args:
            finished: trainings whose predictions, and weights where they are kept, are safe.
            mine: trainings of this process: what holds others' too may be in use by them. None for all.
        """
        needed = {c.path for c in self._known if c.final}
        for training in self.trainings() - set(finished):
            needed |= {c.path for c in self._of(training)[:_KEPT]}
        for checkpoint in list(self._known):
            if checkpoint.path not in needed and (mine is None or set(checkpoint.trainings) <= set(mine)):
                self._remove(checkpoint)

    def _remove(self, checkpoint: Checkpoint) -> None:
        with self._changing:
            self._known = [c for c in self._known if c is not checkpoint]
        shutil.rmtree(checkpoint.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds more
            checkpoint.path.parent.rmdir()

    def _of(self, training: Key) -> list[Checkpoint]:
        """Returns the checkpoints that hold a training, finished weights first, then the newest."""
        holding = [c for c in self._known if training in c.trainings]
        return sorted(holding, key=lambda c: (c.final, c.step), reverse=True)


def remove_half_written(folder: Path) -> None:
    """Removes what killed processes left half written. No process may be writing."""
    for group in folder.glob("*/"):
        checkpoint_files.remove_partial(group)


def _open(path: Path) -> Checkpoint:
    record, arrays = checkpoint_files.read_record(path)
    try:
        return Checkpoint(
            path,
            tuple((int(round_), int(fold)) for round_, fold in record["trainings"]),
            int(record["step"]),
            not any(name.startswith("opt_state") for name in arrays),
            record["epoch"],
            record["failed"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is no checkpoint of a run ({error!r})") from error


def _progress(checkpoint: Checkpoint) -> Progress:
    return Progress(checkpoint.epoch["number"], len(checkpoint.epoch["loss"]))


def _column(arrays: dict, record: dict, row: int) -> tuple[dict, dict, dict]:
    """One training's part of a checkpoint."""
    epoch, (round_, fold) = record["epoch"], record["trainings"][row]
    own = {name: [[values[row]] for values in epoch[name]] for name in ("loss", "correct", "gradient_norm")}
    own |= {"number": epoch["number"], "seconds": epoch["seconds"] / len(record["trainings"])}
    failed = {name: place for name, place in record["failed"].items() if name == f"{round_}/{fold}"}
    return jax.tree.map(lambda leaf: np.array(leaf[row]), arrays), own, failed


def _joined(columns: list[dict]) -> EpochRows:
    def side_by_side(name: str) -> list[list]:
        return [[value for row in rows for value in row] for rows in zip(*(c[name] for c in columns), strict=True)]

    return EpochRows(
        columns[0]["number"],
        side_by_side("loss"),
        side_by_side("correct"),
        side_by_side("gradient_norm"),
        sum(column["seconds"] for column in columns),
    )


def _read_weights(path: Path) -> dict:
    arrays, _ = checkpoint_files.restore_checkpoint(path)
    return {name: arrays[name] for name in WEIGHTS}
