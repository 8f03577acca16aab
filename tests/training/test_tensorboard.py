"""Event files say what metrics.jsonl says, and no epoch twice, whatever was interrupted."""

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from afnet_jax.training.plan import Training
from afnet_jax.training.tensorboard import GroupEvents, write_picture

NOBODY = np.zeros(0, np.int32)
GROUP = tuple(Training(0, fold, NOBODY, NOBODY) for fold in range(3))


def _line(epoch: int, folds=(0, 1, 2), round_: int = 0) -> dict:
    values = [epoch + 0.1 * fold for fold in folds]
    curves = ("loss", "gradient_norm", "train_accuracy")
    return {
        "round": round_,
        "epoch": epoch,
        "folds": list(folds),
        **dict.fromkeys(curves, values),
        "test_accuracy": values if epoch else [None] * len(folds),
    }


def _events(folder: Path) -> list[Event]:
    return [
        event
        for path in sorted(folder.rglob("*.tfevents.*"))
        for record in _records(path)
        if (event := Event.FromString(record)).summary.value
    ]


def _records(path: Path):
    data = path.read_bytes()
    while data:  # TFRecord: length, its checksum, the record, its checksum
        length = int.from_bytes(data[:8], "little")
        yield data[12 : 12 + length]
        data = data[16 + length :]


def _points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(e.step, v.simple_value) for e in _events(folder) for v in e.summary.value if v.tag == tag]


def test_curves_of_each_fold_and_of_their_mean(tmp_path):
    with GroupEvents(tmp_path, GROUP) as events:
        events.add([_line(0)])
        assert _points(tmp_path / "tensorboard/round000/fold01", "loss") == [(1, pytest.approx(0.1))]
        events.add([_line(1)])
    round_ = tmp_path / "tensorboard/round000"
    assert _points(round_ / "fold02", "loss") == [(1, pytest.approx(0.2)), (2, pytest.approx(1.2))]
    assert _points(round_ / "mean_of_folds00-02", "loss") == [(1, pytest.approx(0.1)), (2, pytest.approx(1.1))]
    assert _points(round_ / "fold00", "test_accuracy") == [(2, pytest.approx(1.0))]


def test_going_on_repeats_no_epoch(tmp_path):
    """Two epochs were drawn; the checkpoint is of the first, so that metrics.jsonl keeps that alone."""
    with GroupEvents(tmp_path, GROUP) as events:
        events.add([_line(0), _line(1)])
    (tmp_path / "metrics.jsonl").write_text(json.dumps(_line(0)) + "\n" + json.dumps(_line(0, (3, 4))) + "\n")
    with GroupEvents(tmp_path, GROUP) as events:
        events.add([_line(1)])
    round_ = tmp_path / "tensorboard/round000"
    assert [step for step, _ in _points(round_ / "fold00", "loss")] == [1, 2]
    assert not (round_ / "fold03").exists()


def test_groups_of_another_size_leave_no_old_mean_behind(tmp_path):
    with GroupEvents(tmp_path, GROUP) as events:
        events.add([_line(0)])
    with GroupEvents(tmp_path, GROUP[2:]) as events:
        events.add([_line(0, (2,))])
    names = {path.name for path in (tmp_path / "tensorboard/round000").iterdir()}
    assert names == {"fold00", "fold01", "fold02", "mean_of_folds02-02"}


def test_a_picture_replaces_the_one_before(tmp_path):
    for grey in (10, 200):
        write_picture(tmp_path, "confusion", np.full((4, 5, 3), grey, np.uint8))
    (event,) = _events(tmp_path / "tensorboard/confusion")
    assert (event.summary.value[0].image.height, event.summary.value[0].image.width) == (4, 5)
