"""Whole runs on a tiny data set: what comes out, what survives an interruption, what is refused."""

import dataclasses
import errno
import json
import shutil
import signal

import jax
import numpy as np
import pytest

from afnet_jax.analysis import load_run
from afnet_jax.errors import ConfigError, Interrupted, RunError
from afnet_jax.runs import checkpoint_files
from afnet_jax.runs.checkpoint_files import digest_of_arrays
from afnet_jax.runs.checkpoints import Checkpoints, EpochRows
from afnet_jax.runs.folder import RunFolder, open_checkpoints
from afnet_jax.runs.metrics import MetricsWriter
from afnet_jax.training import loop
from afnet_jax.training.checkpoint_clock import CheckpointClock
from afnet_jax.training.devices import GroupProgram
from tests.support.small_training import evaluate, make_config, make_faces, stop_at, train_and_evaluate

pytestmark = pytest.mark.slow


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
    train_and_evaluate(make_config(), tmp_path, faces, fresh=True)
    assert (tmp_path / "predictions.npz").read_bytes() == (unbroken / "predictions.npz").read_bytes()
    _assert_same_run(unbroken, tmp_path)


def test_evaluation_of_the_checkpoints_gives_the_same_predictions(unbroken, faces):
    before = _predictions(unbroken)
    evaluate(make_config(**{"train.folds_per_group": "2"}), unbroken, faces)
    np.testing.assert_array_equal(_predictions(unbroken)["logits"], before["logits"])


@pytest.fixture
def saved_each_epoch(monkeypatch):
    """A checkpoint is due after every fourth step, the last one of an epoch."""
    calls = []

    def due(clock, call):
        calls.append(call)
        return len(calls) % 4 == 0

    monkeypatch.setattr(CheckpointClock, "due", due)


def test_a_disk_that_fills_before_a_groups_predictions_costs_nothing_but_them(unbroken, faces, tmp_path, monkeypatch):
    """What goes on from finished weights is tested by a program of its own, which must not serve the other groups."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    config = make_config(**{"train.folds_per_group": "1"})
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(RunFolder, "write_group_predictions", full)
        train_and_evaluate(config, tmp_path, faces, fresh=True)
    train_and_evaluate(config, tmp_path, faces, fresh=True)
    _assert_same_run(unbroken, tmp_path)


@pytest.mark.parametrize("call", range(1, 4))
def test_killed_between_two_writes_it_goes_on_to_the_same_end(
    unbroken, faces, tmp_path, monkeypatch, saved_each_epoch, call
):
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
        patch.setattr(MetricsWriter, "append", dying(MetricsWriter.append))
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


def test_what_does_not_fit_is_halved_to_equal_shares_of_the_devices(faces, tmp_path, monkeypatch):
    sizes = []

    def too_large(self, pending, size, *_):
        sizes.append(size)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    monkeypatch.setattr(loop._Run, "_group_size", lambda self: 24)
    monkeypatch.setattr(loop._Run, "_train_groups", too_large)
    with pytest.raises(RunError, match=r"a single training .* lower --config\.train\.batch_size"):
        train_and_evaluate(make_config(), tmp_path, faces)
    assert sizes == [24, 12, 4]


def test_a_signal_after_the_last_step_ends_the_run(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(loop._Run, "train", lambda self, stop: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted, match="run the same command again"):
        train_and_evaluate(make_config(), tmp_path, faces)


def test_sigterm_saves_within_an_epoch_and_the_run_goes_on(unbroken, faces, tmp_path):
    stop_at(faces, tmp_path, 6)
    train_and_evaluate(make_config(), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)


def test_stopped_in_the_last_step_of_the_last_group_it_goes_on(unbroken, faces, tmp_path):
    """Nothing but the evaluation is left; 3 folds in one group, 2 epochs of 4 steps."""
    stop_at(faces, tmp_path, 8)
    train_and_evaluate(make_config(), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)


@pytest.mark.parametrize(("size", "then"), [("3", "1"), ("1", "3"), ("2", "3")])
def test_in_groups_of_another_size_it_goes_on_from_what_each_training_had_reached(
    unbroken, faces, tmp_path, monkeypatch, size, then
):
    """Stopped after 6 calls: in one group all stand within their second epoch, alone the first one is there."""
    stop_at(faces, tmp_path, 6, **{"train.folds_per_group": size})
    trained, real = [], GroupProgram.train

    def counting(self, state, group, *args):
        trained.append(len({t.key for t in group}))
        return real(self, state, group, *args)

    monkeypatch.setattr(GroupProgram, "train", counting)
    train_and_evaluate(make_config(**{"train.folds_per_group": then}), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)
    assert sum(trained) == 3 * 8 - 6 * int(size)  # no step of any training twice
    weights = open_checkpoints(tmp_path)
    assert all(weights.final((0, fold)) for fold in range(3))
    assert {path.name for path in tmp_path.glob("checkpoints/*/*/")} == {"8"}  # what was under way is gone


def test_a_stale_checkpoint_never_overshadows_finished_weights(unbroken, faces, tmp_path):
    """As older versions left them: under way, of more steps than any, in a folder that sorts last."""
    shutil.copytree(unbroken, tmp_path / "run")
    checkpoints = open_checkpoints(tmp_path / "run")
    weights = checkpoints.weights((0, 1))
    stale = {name: jax.tree.map(lambda leaf: np.stack([leaf + 1]), tree) for name, tree in weights.items()}
    record = {"trainings": [[0, 1]], "step": 99, "epoch": dataclasses.asdict(EpochRows(24)), "failed": {}}
    path = tmp_path / "run" / "checkpoints" / "round900_fold01-round900_fold01" / "99"
    checkpoint_files.save_checkpoint(path, stale | {"opt_state": {"m": np.zeros((1, 2), np.float32)}}, record)
    for found in (open_checkpoints(tmp_path / "run"), load_run(tmp_path / "run")):
        params = found.weights((0, 1))["params"] if isinstance(found, Checkpoints) else found.params(0)
        expected = weights["params"] if isinstance(found, Checkpoints) else load_run(unbroken).params(0)
        assert digest_of_arrays(params) == digest_of_arrays(expected)
    train_and_evaluate(make_config(), tmp_path / "run", faces)
    assert not path.parent.exists()


def test_torn_metrics_stop_no_training(unbroken, faces, tmp_path):
    stop_at(faces, tmp_path, 6)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"round": 0, "epoch": 1, "fol')
    (tmp_path / "metrics-1.jsonl").write_text((unbroken / "metrics.jsonl").read_text())  # of a process that is no more
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
    assert len(load_run(tmp_path).metrics) == 2
    train_and_evaluate(make_config(), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)
    assert not (tmp_path / "metrics-1.jsonl").exists()


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(unbroken, faces, tmp_path, saved_each_epoch):
    stop_at(faces, tmp_path, 6)
    newest = max(tmp_path.glob("checkpoints/*/*/"), key=lambda path: int(path.name))
    for path in (newest / "arrays").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    train_and_evaluate(make_config(), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)


def test_damaged_predictions_are_made_again(unbroken, faces, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    (path,) = (tmp_path / "run").glob("checkpoints/*/predictions.npz")
    path.write_bytes(path.read_bytes()[:100])
    train_and_evaluate(make_config(), tmp_path / "run", faces)
    _assert_same_run(unbroken, tmp_path / "run")


def test_damaged_weights_are_named_with_a_remedy_and_cost_no_prediction(unbroken, faces, tmp_path, caplog):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    for path in run.glob("checkpoints/*/*/arrays/**/*"):
        if path.is_file():
            path.write_bytes(b"")
    evaluate(make_config(), run, faces)
    assert "the predictions of these trainings stay as they are" in caplog.text
    assert (run / "predictions.npz").read_bytes() == (unbroken / "predictions.npz").read_bytes()
    with pytest.raises(RunError, match=r"remove .*/checkpoints/round000\S+ and run afnet train again"):
        open_checkpoints(run).weights((0, 0))


def test_a_lowered_batch_size_is_told(faces, tmp_path, capsys, monkeypatch):
    with pytest.raises(ConfigError):
        train_and_evaluate(make_config(**{"train.batch_size": 500, "protocol.folds": 7}), tmp_path, faces)

    def stops_before_its_first_step(*_):
        raise Interrupted("enough")

    monkeypatch.setattr(GroupProgram, "train", stops_before_its_first_step)
    with pytest.raises(Interrupted):
        train_and_evaluate(make_config(**{"train.batch_size": 500}), tmp_path, faces)
    assert "train.batch_size=500 is lowered to 24" in capsys.readouterr().err


def test_a_call_of_several_steps_gives_the_same_bits(unbroken, faces, tmp_path):
    train_and_evaluate(make_config(**{"train.steps_per_dispatch": "4"}), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)


def _weights(folder):
    stored = open_checkpoints(folder)
    return digest_of_arrays(stored.restore(sorted(stored.trainings()))[0])


@pytest.mark.parametrize("changes", [{}, {"train.folds_per_group": "2", "train.steps_per_dispatch": "2"}])
def test_a_streamed_data_set_gives_the_same_bits(unbroken, faces, tmp_path, changes):
    train_and_evaluate(make_config(**changes), tmp_path, dataclasses.replace(faces, streamed=True))
    assert (tmp_path / "predictions.npz").read_bytes() == (unbroken / "predictions.npz").read_bytes()
    assert _weights(tmp_path) == _weights(unbroken)
    if not changes:
        _assert_same_run(unbroken, tmp_path)


def test_a_streamed_run_goes_on_within_an_epoch_streamed_or_not(unbroken, faces, tmp_path):
    streamed = dataclasses.replace(faces, streamed=True)
    stop_at(streamed, tmp_path, 2)
    stop_at(streamed, tmp_path, 4)
    train_and_evaluate(make_config(**{"dataset.placement": "memory"}), tmp_path, faces)
    _assert_same_run(unbroken, tmp_path)
    assert _weights(tmp_path) == _weights(unbroken)


def test_weights_are_kept_of_the_rounds_that_are_wanted(faces, tmp_path):
    train_and_evaluate(make_config(**{"train.keep_rounds": 0, "train.epochs": 1}), tmp_path, faces)
    assert not list(tmp_path.glob("checkpoints/*/*/")) and len(_predictions(tmp_path)["label"]) == 36


def test_results_do_not_depend_on_the_group(unbroken, faces, tmp_path):
    train_and_evaluate(make_config(**{"train.folds_per_group": "2"}), tmp_path, faces)
    for name, column in _predictions(unbroken).items():
        np.testing.assert_array_equal(column, _predictions(tmp_path)[name], err_msg=name)


def test_folds_vmapped_give_the_same_as_one_after_the_other(unbroken, faces, tmp_path):
    train_and_evaluate(make_config(**{"train.folds_per_call": "3"}), tmp_path, faces)
    apart, together = _predictions(unbroken), _predictions(tmp_path)
    np.testing.assert_array_equal(together["scan_id"], apart["scan_id"])
    np.testing.assert_allclose(together["logits"], apart["logits"], rtol=1e-3, atol=1e-3)


def test_trainings_whose_numbers_break_are_given_up_and_the_others_stay(unbroken, faces, tmp_path, caplog):
    """A mask of NaN poisons whoever learns from that subject, folds 0 and 2, and what fold 1 predicts of it."""
    poisoned = make_faces()
    victim = json.loads((unbroken / "splits.json").read_text())["rounds"][0][1]["test"][0]
    poisoned.maps.mask1[poisoned.subjects == victim] = np.nan
    train_and_evaluate(make_config(), tmp_path, poisoned)
    for found, expected in zip(_metrics(tmp_path), _metrics(unbroken), strict=True):
        for name in ("loss", "gradient_norm", "train_accuracy"):
            assert found[name][1] == expected[name][1]
        assert found["loss"][0] is found["loss"][2] is None and found["test_accuracy"] == [None] * 3
    assert len(_predictions(tmp_path)["fold"]) == 0
    (part,) = RunFolder(tmp_path).group_predictions()
    assert {name: place["epoch"] for name, place in part.failed.items()} == {"0/0": 0, "0/2": 0, "0/1": 1}
    assert "round 0 fold 1: its predictions are not finite" in caplog.text
    with pytest.raises(RunError, match="round 0 fold 2 was given up at epoch 1"):
        open_checkpoints(tmp_path).weights((0, 2))


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
