"""Whole runs on a tiny data set: what comes out, what survives an interruption, what is refused."""

import json
import signal

import jax
import numpy as np
import pytest

from afnet_jax.errors import ConfigError, RunError
from afnet_jax.training.devices import GroupProgram
from afnet_jax.training.group import GroupTraining, Interrupted
from afnet_jax.training.loop import evaluate, train_and_evaluate
from afnet_jax.training.plan import Training
from afnet_jax.training.run_folder import RunFolder
from tests.training.conftest import make_config, make_faces


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory, faces):
    """A run of 3 folds, 2 epochs, never interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    train_and_evaluate(make_config(), folder, faces)
    return folder


def _predictions(folder):
    with np.load(folder / "predictions.npz") as file:
        return dict(file)


def _assert_same_run(one, other):
    for name, column in _predictions(one).items():
        np.testing.assert_array_equal(column, _predictions(other)[name], err_msg=name)
    assert _metrics(one) == _metrics(other)


def _metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith("seconds")} for line in lines]


def test_every_scan_is_predicted_once(unbroken, faces):
    predictions = _predictions(unbroken)
    assert sorted(predictions["scan_id"]) == sorted(faces.scan_ids)
    assert predictions["logits"].shape == (36, 6) and np.isfinite(predictions["logits"]).all()
    label_of = dict(zip(faces.scan_ids, faces.labels, strict=True))
    assert [label_of[s] for s in predictions["scan_id"]] == predictions["label"].tolist()


def test_metrics_have_one_line_per_round_and_epoch(unbroken):
    lines = _metrics(unbroken)
    assert [(line["round"], line["epoch"], line["folds"]) for line in lines] == [(0, 0, [0, 1, 2]), (0, 1, [0, 1, 2])]
    assert all(np.isfinite(line["loss"]).all() for line in lines)


def test_run_again_changes_nothing(unbroken, faces):
    before = (unbroken / "predictions.npz").read_bytes()
    train_and_evaluate(make_config(), unbroken, faces)
    assert (unbroken / "predictions.npz").read_bytes() == before


def test_the_same_config_gives_the_same_bytes(unbroken, faces, tmp_path):
    train_and_evaluate(make_config(), tmp_path, faces)
    assert (tmp_path / "predictions.npz").read_bytes() == (unbroken / "predictions.npz").read_bytes()
    _assert_same_run(unbroken, tmp_path)


def test_evaluation_of_the_checkpoints_gives_the_same_predictions(unbroken, faces):
    before = _predictions(unbroken)
    evaluate(make_config(**{"train.folds_per_group": "2"}), unbroken, faces)
    np.testing.assert_array_equal(_predictions(unbroken)["logits"], before["logits"])


@pytest.mark.parametrize("call", range(1, 4))
def test_killed_between_two_writes_it_goes_on_to_the_same_end(unbroken, faces, tmp_path, monkeypatch, call):
    """Dies before the metrics of an epoch, after them, or before the last predictions are stored."""

    class Killed(Exception):
        pass

    calls = []

    def dying(real):
        def wrapper(*args, **kwargs):
            calls.append(real)
            if len(calls) == call:
                raise Killed
            return real(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append_metrics", dying(RunFolder.append_metrics))
        patch.setattr(RunFolder, "write_group_predictions", dying(RunFolder.write_group_predictions))
        with pytest.raises(Killed):
            train_and_evaluate(make_config(), tmp_path, faces)
    train_and_evaluate(make_config(), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)


def test_what_does_not_fit_the_memory_is_trained_in_smaller_groups(unbroken, faces, tmp_path, monkeypatch):
    real = GroupProgram.train

    def with_little_memory(self, state, group, *args):
        if len(group) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return real(self, state, group, *args)

    monkeypatch.setattr(GroupProgram, "train", with_little_memory)
    train_and_evaluate(make_config(), tmp_path, faces)
    np.testing.assert_array_equal(_predictions(tmp_path)["logits"], _predictions(unbroken)["logits"])
    evaluate(make_config(), tmp_path, faces)  # whose checkpoints are of other groups than the config says
    np.testing.assert_array_equal(_predictions(tmp_path)["logits"], _predictions(unbroken)["logits"])


def test_sigterm_saves_within_an_epoch_and_the_run_goes_on(unbroken, faces, tmp_path, monkeypatch):
    real, steps = GroupTraining._notice_failures, []

    def terminated_at_step_six(self, *args):
        steps.append(args)
        if len(steps) == 6:
            signal.raise_signal(signal.SIGTERM)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(GroupTraining, "_notice_failures", terminated_at_step_six)
        with pytest.raises(Interrupted, match="run the same command again"):
            train_and_evaluate(make_config(), tmp_path, faces)
    train_and_evaluate(make_config(), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)


def test_results_do_not_depend_on_the_group(unbroken, faces, tmp_path):
    train_and_evaluate(make_config(**{"train.folds_per_group": "2"}), tmp_path, faces)
    for name, column in _predictions(unbroken).items():
        np.testing.assert_array_equal(column, _predictions(tmp_path)[name], err_msg=name)


def test_folds_vmapped_give_the_same_as_one_after_the_other(unbroken, faces, tmp_path):
    train_and_evaluate(make_config(**{"train.folds_per_call": "3"}), tmp_path, faces)
    apart, together = _predictions(unbroken), _predictions(tmp_path)
    np.testing.assert_array_equal(together["scan_id"], apart["scan_id"])
    np.testing.assert_allclose(together["logits"], apart["logits"], rtol=1e-3, atol=1e-3)


def test_trainings_whose_numbers_break_are_given_up_and_the_others_stay(unbroken, faces, tmp_path):
    """A mask of NaN poisons whoever learns from that subject: folds 0 and 2. Fold 1 only tests on it."""
    poisoned = make_faces()
    victim = json.loads((unbroken / "splits.json").read_text())["rounds"][0][1]["test"][0]
    poisoned.arrays.mask56[poisoned.subjects == victim] = np.nan
    train_and_evaluate(make_config(), tmp_path, poisoned)
    found, expected = _predictions(tmp_path), _predictions(unbroken)
    assert set(found["fold"]) == {1}
    healthy = ~np.char.startswith(found["scan_id"], victim)
    np.testing.assert_array_equal(found["logits"][healthy], expected["logits"][expected["fold"] == 1][healthy])
    (part,) = RunFolder(tmp_path).group_predictions()
    failed = json.loads(str(part["failed"]))
    assert set(failed) == {"0/0", "0/2"} and all(place["epoch"] == 0 for place in failed.values())


def test_a_group_of_which_every_training_was_given_up(tmp_path):
    folder = RunFolder(tmp_path)
    group = (Training(0, 0, np.arange(3), np.arange(2)), Training(0, 1, np.arange(2), np.arange(3)))
    lost = {"epoch": 0, "step": 0}
    folder.write_group_predictions(group, np.full((2, 3, 6), np.nan, np.float32), {"0/0": lost, "0/1": lost})
    (part,) = folder.group_predictions()
    assert part["logits"].shape == (0, 6) and folder.finished_trainings() == {(0, 0), (0, 1)}


def test_another_config_is_not_mixed_in(unbroken, faces):
    with pytest.raises(RunError, match=r"train\.learning_rate was 0\.0001 and is 0\.5"):
        train_and_evaluate(make_config(**{"train.learning_rate": 0.5}), unbroken, faces)


def test_other_data_is_not_mixed_in(unbroken):
    with pytest.raises(RunError, match="data set"):
        train_and_evaluate(make_config(), unbroken, make_faces(seed=1))


def test_two_runs_in_one_folder(unbroken, faces):
    holder = RunFolder(unbroken)
    try:
        with pytest.raises(RunError, match="already under way"):
            train_and_evaluate(make_config(), unbroken, faces)
    finally:
        holder.close()


def test_fewer_subjects_than_folds(faces, tmp_path):
    with pytest.raises(ConfigError, match=r"protocol\.folds=10"):
        train_and_evaluate(make_config(**{"protocol.folds": 10}), tmp_path, faces)
