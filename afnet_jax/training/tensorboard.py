"""TensorBoard's view of a run, written from its metrics: a curve for each fold, one for their mean, and pictures.

    tensorboard --logdir=DIR/tensorboard

metrics.jsonl is the record, events are its picture: a group that goes on draws its folds anew from what metrics.jsonl
keeps, so that no epoch is there twice.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import image, scalar

from afnet_jax.training.plan import Training

_CURVES = ("loss", "gradient_norm", "train_accuracy", "test_accuracy")


class GroupEvents:
    """Event files of a group of trainings: tensorboard/round000/fold00 … and, for each round, their mean.

    Args:
        run_folder: the run's; what its metrics hold of these trainings is drawn at once.
        group: the trainings.
    """

    def __init__(self, run_folder: Path, group: Sequence[Training]):
        self._folder = run_folder / "tensorboard"
        self._writers: dict[Path, EventsWriter] = {}
        members = {(t.round, t.fold) for t in group}
        for round_ in {t.round for t in group}:
            for old in self._folder.glob(f"round{round_:03d}/*"):
                if any(round_ == r and fold in _folds_of(old.name) for r, fold in members):
                    shutil.rmtree(old)
        for path in sorted(run_folder.glob("metrics*.jsonl")):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            self.add([line for line in lines if (line["round"], line["folds"][0]) in members])

    def __enter__(self) -> GroupEvents:
        return self

    def __exit__(self, *_):
        for writer in self._writers.values():
            writer.close()

    def add(self, lines: Sequence[dict]) -> None:
        """Draws lines of metrics.jsonl; they can be seen at once."""
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
        for writer in self._writers.values():
            writer.flush()

    def _write(self, name: str, summary, step: int) -> None:
        folder = self._folder / name
        if folder not in self._writers:
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[folder] = EventsWriter(str(folder / "events"))
        self._writers[folder].write_event(Event(summary=summary, step=step, wall_time=time.time()))


def _folds_of(name: str) -> range:
    """Folds that a folder of events is about: fold03, or mean_of_folds00-09."""
    first, _, last = name.rpartition("fold")[2].lstrip("s").partition("-")
    return range(int(first), int(last or first) + 1) if first.isdigit() else range(0)


def write_picture(run_folder: Path, name: str, pixels: np.ndarray) -> None:
    """Puts a picture in place of an earlier one of that name.

    Args:
        run_folder: the run's.
        name: of the picture.
        pixels: (H, W, 3) uint8.
    """
    folder = run_folder / "tensorboard" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writer = EventsWriter(str(folder / "events"))
    writer.write_event(Event(summary=image(name, pixels, dataformats="HWC"), step=0, wall_time=time.time()))
    writer.close()
