"""TensorBoard's view of a run, written from its metrics: a curve for each fold, one for their mean, and pictures.

    tensorboard --logdir=DIR/tensorboard

metrics.jsonl is the record, events are its picture: whenever a run starts or ends, all curves are drawn anew from it,
so that no epoch is there twice.
"""

from __future__ import annotations

import itertools
import operator
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import image, scalar

_FOLDER = "tensorboard"
_CURVES = ("loss", "gradient_norm", "train_accuracy", "test_accuracy")


_SECONDS_BETWEEN_FLUSHES = 5.0


class Events:
    """Event files of trainings: tensorboard/round000/fold00 … and, for the folds of each line, their mean.

    Args:
        run_folder: the run's.
    """

    def __init__(self, run_folder: Path):
        self._folder = run_folder / _FOLDER
        self._writers: dict[Path, EventsWriter] = {}
        self._flushed = time.monotonic()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def add(self, lines: Sequence[dict]) -> None:
        """Draws lines of metrics.jsonl; they can be seen a few seconds later."""
        for line in lines:
            mean = f"mean_of_folds{line['folds'][0]:02d}-{line['folds'][-1]:02d}"
            for curve in _CURVES:
                points = [(f"fold{fold:02d}", value) for fold, value in zip(line["folds"], line[curve], strict=True)]
                found = [value for _, value in points if value is not None]
                if found:
                    points.append((mean, float(np.mean(found))))
                for name, value in points:
                    if value is not None:
                        self._write(f"round{line['round']:03d}/{name}", scalar(curve, value), line["epoch"] + 1)
        if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
            self._flushed = time.monotonic()
            for writer in self._writers.values():
                writer.flush()

    def _write(self, name: str, summary, step: int) -> None:
        folder = self._folder / name
        if folder not in self._writers:
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[folder] = EventsWriter(str(folder / "events"))
        self._writers[folder].write_event(Event(summary=summary, step=step, wall_time=time.time()))


def draw_metrics(run_folder: Path, lines: Sequence[dict]) -> None:
    """Redraws the curves of a run from all lines of its metrics.jsonl."""
    for old in (run_folder / _FOLDER).glob("round*/"):
        shutil.rmtree(old)
    for _, of_round in itertools.groupby(lines, key=operator.itemgetter("round")):
        with Events(run_folder) as events:  # closed round by round: a system allows some hundred open files
            events.add(list(of_round))


def write_picture(run_folder: Path, name: str, pixels: np.ndarray) -> None:
    """Puts a picture in place of an earlier one of that name.

    Args:
        run_folder: the run's.
        name: of the picture.
        pixels: (H, W, 3) uint8.
    """
    folder = run_folder / _FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writer = EventsWriter(str(folder / "events"))
    writer.write_event(Event(summary=image(name, pixels, dataformats="HWC"), step=0, wall_time=time.time()))
    writer.close()
