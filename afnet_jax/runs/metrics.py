"""metrics.jsonl: what each epoch of each training has shown.

While a run is under way each of its processes appends lines to a file of its own, one per round and epoch and group of
trainings. `gather_metrics` makes one file of them: a line per round and epoch, with all of its folds in order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from afnet_jax.atomic_files import naming, write_atomically

_COLUMNS = ("loss", "gradient_norm", "train_accuracy", "test_accuracy")
_TIMES = ("seconds", "compile_seconds")


class MetricsWriter:
    """Appends lines to this process's file of metrics.

    Args:
        folder: the run's.
        process: index of this process among those of the run: several hosts must not append to one file.
    """

    def __init__(self, folder: Path, process: int):
        self._path = folder / ("metrics.jsonl" if process == 0 else f"metrics-{process}.jsonl")

    def append(self, lines: Sequence[dict]) -> None:
        """Adds lines, after a torn one on a line of their own. They are safe from a power cut after `sync`."""
        with naming(self._path), self._path.open("a+b") as file:
            if file.tell() and not _ends_with_newline(file):
                file.write(b"\n")
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())

    def sync(self) -> None:
        """Returns when all lines are on the disk."""
        if self._path.exists():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())


def _ends_with_newline(file) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read_metrics(folder: Path) -> list[dict]:
    """Returns one line per round and epoch, folds in order; of what was written twice, the last.

    A line that is no whole line of metrics, such as the last one of a process that was killed, is passed over.
    """
    return _merged(_values(folder))


def gather_metrics(folder: Path, reached: Mapping[tuple[int, int], int] | None = None) -> list[dict]:
    """Puts all processes' lines into metrics.jsonl, removes their files, and returns the lines.

    Args:
        folder: the run's.
        reached: (round, fold) -> epochs of that training which will not be trained again; later ones are dropped,
            and so are trainings that are not named. None keeps all.
    """
    values = _values(folder)
    if reached is not None:
        values = {key: v for key, v in values.items() if key[1] < reached.get((key[0], key[2]), 0)}
    lines = _merged(values)
    others = list(folder.glob("metrics-*.jsonl"))
    if lines or others or (folder / "metrics.jsonl").exists():
        write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    for path in others:
        path.unlink()
    return lines


def _values(folder: Path) -> dict[tuple[int, int, int], dict]:
    """(round, epoch, fold) -> that training's own part of a line; times are shared out evenly."""
    values = {}
    for line in _lines(folder):
        for place, fold in enumerate(line["folds"]):
            own = {column: line[column][place] for column in _COLUMNS}
            own |= {time: line[time] / len(line["folds"]) for time in _TIMES}
            values[line["round"], line["epoch"], fold] = own
    return values


def _lines(folder: Path) -> Iterable[dict]:
    for path in sorted(folder.glob("metrics*.jsonl"), key=lambda path: (len(path.name), path.name)):
        for text in path.read_bytes().splitlines():
            try:
                line = json.loads(text)
                whole = all(len(line[column]) == len(line["folds"]) for column in _COLUMNS)
                whole = whole and all(line[time] >= 0 for time in _TIMES) and line["round"] >= 0 and line["epoch"] >= 0
            except (ValueError, KeyError, TypeError):
                continue
            if whole:
                yield line


def _merged(values: Mapping[tuple[int, int, int], dict]) -> list[dict]:
    folds: dict[tuple[int, int], list[int]] = {}
    for round_, epoch, fold in sorted(values):
        folds.setdefault((round_, epoch), []).append(fold)
    lines = []
    for (round_, epoch), members in folds.items():
        own = [values[round_, epoch, fold] for fold in members]
        line = {"round": round_, "epoch": epoch, "folds": members}
        line |= {column: [part[column] for part in own] for column in _COLUMNS}
        lines.append(line | {time: sum(part[time] for part in own) for time in _TIMES})
    return lines
