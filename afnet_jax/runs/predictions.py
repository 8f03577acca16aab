"""Predictions: of each finished group of trainings on its own, and predictions.npz, all of them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from afnet_jax.atomic_files import UNREADABLE_ARRAYS, read_arrays, write_arrays_atomically
from afnet_jax.errors import RunError

POOLED = "predictions.npz"
_OF_GROUP = "predictions.npz"
_COLUMNS = ("round", "fold", "scan", "logits")
Key = tuple[int, int]  # round and fold of a training


class GroupPredictions:
    """Predictions of a finished group of trainings.

    Attributes:
        trainings: (round, fold) of each.
        failed: "round/fold" -> {"epoch", "step"} at which a training's numbers stopped being finite.
        columns: round, fold, scan (index into the data set) and logits (rows, 6); no rows of failed trainings.
    """

    def __init__(self, trainings: list[Key], failed: dict[str, dict], columns: dict[str, np.ndarray]):
        self.trainings = trainings
        self.failed = failed
        self.columns = columns

    @classmethod
    def of(cls, trainings: list[Key], tests: list[np.ndarray], logits: np.ndarray, failed: dict) -> GroupPredictions:
        """From (at least len(trainings), at least the test scans, 6) logits and each training's test scans."""
        good = [i for i, (round_, fold) in enumerate(trainings) if f"{round_}/{fold}" not in failed]
        counts = [len(tests[i]) for i in good]
        rows = [logits[i, : len(tests[i])] for i in good]
        columns = {
            "round": np.repeat(np.array([trainings[i][0] for i in good], np.int32), counts),
            "fold": np.repeat(np.array([trainings[i][1] for i in good], np.int32), counts),
            "scan": np.concatenate([tests[i] for i in good]).astype(np.int32) if good else np.zeros(0, np.int32),
            "logits": np.concatenate(rows).astype(np.float32) if good else np.zeros((0, logits.shape[-1]), np.float32),
        }
        return cls(trainings, failed, columns)

    def write(self, folder: Path) -> None:
        """Stores them in the group's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        trainings = np.array(self.trainings, np.int32).reshape(-1, 2)
        extra = {"trainings": trainings, "failed": np.array(json.dumps(self.failed))}
        write_arrays_atomically(folder / _OF_GROUP, self.columns | extra)


def read_group_predictions(checkpoints: Path, damaged: Callable[[Path, str], None]) -> Iterator[GroupPredictions]:
    """Yields the predictions of every finished group.

    Args:
        checkpoints: folder of the groups' folders.
        damaged: called with each file that cannot be read, and the reason.
    """
    for path in sorted(checkpoints.glob(f"*/{_OF_GROUP}")):
        try:
            stored = read_arrays(path)
            trainings = [(int(round_), int(fold)) for round_, fold in stored["trainings"]]
            columns = {name: stored[name] for name in _COLUMNS}
            yield GroupPredictions(trainings, json.loads(str(stored["failed"])), columns)
        except UNREADABLE_ARRAYS as error:
            damaged(path, str(error))


def pool(parts: list[GroupPredictions]) -> dict[str, np.ndarray]:
    """Columns of all groups by round, fold and scan; a training's rows come from the first group that has it."""
    seen: set[Key] = set()
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
    for part in parts:
        new = set(part.trainings) - seen
        seen |= new
        own = list(zip(part.columns["round"].tolist(), part.columns["fold"].tolist(), strict=True))
        rows = np.array([key in new for key in own], bool)
        for name in _COLUMNS:
            columns[name].append(part.columns[name][rows])
    joined = {name: np.concatenate(column) for name, column in columns.items()}
    order = np.lexsort((joined["scan"], joined["fold"], joined["round"]))
    return {name: column[order] for name, column in joined.items()}


def write_predictions(folder: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes predictions.npz."""
    write_arrays_atomically(folder / POOLED, columns)


def read_predictions(folder: Path) -> dict[str, np.ndarray]:
    """Returns the columns of predictions.npz.

    Raises:
        RunError: nothing has been predicted yet, or the file is damaged.
    """
    path = folder / POOLED
    try:
        return read_arrays(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: not there yet; the run is not finished, start it again to go on") from error
    except UNREADABLE_ARRAYS as error:
        raise RunError(f"{path}: damaged ({error}); make it again with --mode=evaluate") from error
