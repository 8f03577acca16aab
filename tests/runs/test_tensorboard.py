"""Event files say what metrics.jsonl says, and no epoch twice, whatever was interrupted."""

import time
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from afnet_jax.runs.tensorboard import Events, draw_metrics, write_picture


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
    with Events(tmp_path) as events:
        events.add([_line(0)])
        events.add([_line(1)])
    round_ = tmp_path / "tensorboard/round000"
    assert _points(round_ / "fold02", "loss") == [(1, pytest.approx(0.2)), (2, pytest.approx(1.2))]
    assert _points(round_ / "mean_of_folds00-02", "loss") == [(1, pytest.approx(0.1)), (2, pytest.approx(1.1))]
    assert _points(round_ / "fold00", "test_accuracy") == [(2, pytest.approx(1.0))]


def test_curves_can_be_seen_while_a_run_is_under_way(tmp_path, monkeypatch):
    with Events(tmp_path) as events:
        later = time.monotonic() + 30
        monkeypatch.setattr(time, "monotonic", lambda: later)
        events.add([_line(0)])
        assert _points(tmp_path / "tensorboard/round000/fold01", "loss") == [(1, pytest.approx(0.1))]


def test_drawn_anew_no_epoch_is_there_twice_and_no_mean_of_other_groups(tmp_path):
    """Two epochs were drawn of groups of three and one; the run went on from the first, all folds together."""
    with Events(tmp_path) as events:
        events.add([_line(0), _line(1), _line(0, (3,))])
    draw_metrics(tmp_path, [_line(0, (0, 1, 2, 3)), _line(0, (0,), round_=1000)])
    round_ = tmp_path / "tensorboard/round000"
    assert [step for step, _ in _points(round_ / "fold00", "loss")] == [1]
    assert {path.name for path in round_.iterdir()} == {"fold00", "fold01", "fold02", "fold03", "mean_of_folds00-03"}
    assert [step for step, _ in _points(tmp_path / "tensorboard/round1000/fold00", "loss")] == [1]


def test_a_picture_replaces_the_one_before(tmp_path):
    for grey in (10, 200):
        write_picture(tmp_path, "confusion", np.full((4, 5, 3), grey, np.uint8))
    (event,) = _events(tmp_path / "tensorboard/confusion")
    assert (event.summary.value[0].image.height, event.summary.value[0].image.width) == (4, 5)
