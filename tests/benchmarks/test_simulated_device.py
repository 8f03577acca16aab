"""The stand-in for a GPU trains through the loop that runs use: a run's own files, complete."""

import json

from benchmarks import simulated_device


def test_a_simulated_run_ends_complete_and_counts_its_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated_device, "_PARAMETERS", 1000)
    folder = tmp_path / "run"
    figures = simulated_device.measure(trainings=2, epochs=2, step=1e-5, minutes=0, copy=20e9, folder=folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(row["folds"], row["epoch"]) for row in rows] == [([0, 1], 0), ([0, 1], 1)]
    assert (folder / "predictions.npz").exists()
    assert figures["checkpoints"] >= 1
    # Steps of two trainings in two epochs: 360 of 720 scans are trained on, 32 a batch.
    assert figures["seconds_in_device"] >= 2 * 2 * 11 * 1e-5
    assert 0 < figures["share_outside"] < 1
