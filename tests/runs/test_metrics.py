"""What is torn, written twice or left by a process that is no more does not change metrics.jsonl."""

import json

import pytest

from afnet_jax.runs.metrics import MetricsWriter, gather_metrics, read_metrics


def _line(epoch: int, folds=(0, 1), loss: float = 0.5, round_: int = 0) -> dict:
    columns = {key: [loss + f for f in folds] for key in ("loss", "gradient_norm", "train_accuracy", "test_accuracy")}
    times = {"seconds": 1.5 * len(folds), "compile_seconds": 0.5 * len(folds)}
    return {"round": round_, "epoch": epoch, "folds": list(folds), **columns, **times}


def test_one_line_per_round_and_epoch_whatever_the_groups(tmp_path):
    MetricsWriter(tmp_path, 0).append([_line(0, (2,)), _line(0, (0, 1)), _line(0, (0,), round_=1000)])
    MetricsWriter(tmp_path, 1).append([_line(0, (1,), round_=1000), _line(1, (0, 1, 2))])
    expected = [_line(0, (0, 1, 2)), _line(1, (0, 1, 2)), _line(0, (0, 1), round_=1000)]
    assert read_metrics(tmp_path) == expected
    assert gather_metrics(tmp_path) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == expected


def test_the_last_written_wins(tmp_path):
    MetricsWriter(tmp_path, 0).append([_line(0), _line(1, loss=9), _line(1, (1,), loss=3)])
    assert [line["loss"] for line in read_metrics(tmp_path)] == [[0.5, 1.5], [9, 4]]


@pytest.mark.parametrize("torn", ['{"round": 0, "epoch": 1, "folds": [0, 1], "lo', "null", '{"round": 0}', "\x00\x00"])
def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(tmp_path, torn):
    writer = MetricsWriter(tmp_path, 0)
    writer.append([_line(0)])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    assert read_metrics(tmp_path) == [_line(0)]
    writer.append([_line(1)])
    assert read_metrics(tmp_path) == [_line(0), _line(1)]


def test_what_will_be_trained_again_is_dropped(tmp_path):
    MetricsWriter(tmp_path, 0).append([_line(epoch) for epoch in range(3)])
    assert gather_metrics(tmp_path, {(0, 0): 3, (0, 1): 1}) == [_line(0), _line(1, (0,)), _line(2, (0,))]


def test_nothing_is_nothing(tmp_path):
    assert gather_metrics(tmp_path) == [] and not list(tmp_path.iterdir())
