"""Who may work in a run's folder, and what its files hold."""

import json
import os

import numpy as np
import pytest

from afnet_jax.config import default_config
from afnet_jax.errors import ConfigError, RunError
from afnet_jax.protocol import Fold
from afnet_jax.runs.folder import RunFolder, read_splits
from afnet_jax.runs.predictions import GroupPredictions, pool

FOLDS = (Fold(0, 0, ("a",), ("b",)), Fold(0, 1, ("b",), ("a",)))


def test_one_run_at_a_time(tmp_path):
    holder = RunFolder(tmp_path)
    with pytest.raises(RunError, match=f"already under way here .process {os.getpid()}"):
        RunFolder(tmp_path)
    holder.close()
    RunFolder(tmp_path).close()


def test_a_process_that_an_earlier_run_left_behind_is_told(tmp_path):
    """The third process of a run of three is still at work."""
    orphan = RunFolder(tmp_path, process=2, processes=3)
    for processes in (1, 2):
        with pytest.raises(RunError, match="already under way"):
            RunFolder(tmp_path, process=0, processes=processes)
    RunFolder(tmp_path, process=0, processes=3).close()
    orphan.close()
    RunFolder(tmp_path).close()


def test_the_data_set_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = default_config()
    with config.unlocked():
        config.dataset.data_dir = "data"
    folder = RunFolder("run")
    folder.start(config, FOLDS, "digest")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["dataset"]["data_dir"] == str(tmp_path / "data")
    monkeypatch.chdir("/")
    folder.start(config, FOLDS, "digest")  # another folder of data may hold the same
    folder.close()


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    """It counted checkpoints in epochs."""
    folder, config = RunFolder(tmp_path), default_config()
    folder.start(config, FOLDS, "digest")
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["train"]["checkpoint_minutes"]
    stored["train"]["checkpoint_every"] = 5
    (tmp_path / "config.json").write_text(json.dumps(stored))
    folder.start(config, FOLDS, "digest")
    folder.close()


def _predictions(keys, failed=()):
    logits = np.arange(len(keys) * 3 * 6, dtype=np.float32).reshape(len(keys), 3, 6)
    tests = [np.array([10 * fold, 10 * fold + 1]) for _, fold in keys]
    lost = {"epoch": 0, "step": 0}
    return GroupPredictions.of(keys, tests, logits, {f"{r}/{f}": lost for r, f in failed})


def test_predictions_come_back_and_given_up_trainings_have_none(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_group_predictions(_predictions([(1, 0), (0, 1)]))
    folder.write_group_predictions(_predictions([(0, 0), (0, 2)], failed=[(0, 2)]))
    folder.write_group_predictions(_predictions([(2, 0)], failed=[(2, 0)]))
    parts = folder.group_predictions()
    assert {key for part in parts for key in part.trainings} == {(1, 0), (0, 1), (0, 0), (0, 2), (2, 0)}
    columns = pool(parts)
    assert columns["round"].tolist() == [0, 0, 0, 0, 1, 1] and columns["fold"].tolist() == [0, 0, 1, 1, 0, 0]
    assert columns["scan"].tolist() == [0, 1, 10, 11, 0, 1]
    np.testing.assert_array_equal(columns["logits"][:2], np.arange(12, dtype=np.float32).reshape(2, 6))
    folder.close()


def test_a_training_predicted_twice_counts_once(tmp_path):
    columns = pool([_predictions([(0, 0), (0, 1)]), _predictions([(0, 1), (0, 2)])])
    assert columns["fold"].tolist() == [0, 0, 1, 1, 2, 2]


def test_damaged_predictions_are_named_and_do_not_count(tmp_path, caplog):
    folder = RunFolder(tmp_path)
    folder.write_group_predictions(_predictions([(0, 0)]))
    (path,) = tmp_path.glob("checkpoints/*/*.npz")
    path.write_bytes(path.read_bytes()[:100])
    assert folder.group_predictions() == [] and str(path) in caplog.text
    folder.close()


def test_nan_is_no_estimate(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        folder.write_estimate({"seconds": float("nan")})
    assert not (tmp_path / "estimate.json").exists()
    folder.close()


def test_the_first_estimate_stays(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.write_estimate({"seconds": 100.0})
        folder.write_estimate({"seconds": 10.0})  # of a stopped run that goes on
    assert json.loads((tmp_path / "estimate.json").read_text()) == {"seconds": 100.0}


def test_other_pretrained_weights_are_refused(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.start(default_config(), FOLDS, "digest", pretrained_sha256="ab" * 32)
        folder.start(default_config(), FOLDS, "digest", pretrained_sha256="ab" * 32)
        folder.start(default_config(), FOLDS, "digest")  # tested anew, which needs none
        with pytest.raises(RunError, match=r"pretrained weights \(sha256\) was"):
            folder.start(default_config(), FOLDS, "digest", pretrained_sha256="cd" * 32)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "predictions.npz"])
@pytest.mark.parametrize("content", ["[]", '{"my": "own"}'])
def test_files_that_no_run_has_written_are_not_written_over(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with RunFolder(tmp_path) as folder, pytest.raises(RunError, match=f"{name}: is none of a run's, and would be lost"):
        folder.start(default_config(), FOLDS, "digest")
    assert (tmp_path / name).read_text() == content and not (tmp_path / "environment.json").exists()


def test_a_damaged_list_of_splits_is_named_as_the_runs(tmp_path):
    (tmp_path / "splits.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"^{tmp_path}/splits.json: expected"):
        read_splits(tmp_path)
