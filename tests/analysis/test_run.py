"""Run folders that cannot be read say why in one line."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest

from afnet_jax.analysis import load_run
from afnet_jax.errors import RunError
from afnet_jax.runs.checkpoints import EpochRows
from afnet_jax.runs.folder import RunFolder, open_checkpoints


@pytest.fixture
def copy(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"


def test_table_has_a_row_for_each_prediction(run, faces):
    pytest.importorskip("pandas")
    table = run.table()
    assert len(table) == 72 and table["correct"].mean() == pytest.approx(run.summary["accuracy"]["mean"])
    owner = dict(zip(faces.scan_ids, faces.subjects, strict=True))
    assert [owner[scan] for scan in table["scan_id"]] == table["subject"].tolist()
    shares = table[[f"p_{code}" for code in ("AN", "DI", "FE", "HA", "SA", "SU")]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (np.array(["AN", "DI", "FE", "HA", "SA", "SU"])[shares.argmax(1)] == table["predicted"]).all()


def test_without_pandas_it_says_so(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RunError, match="pip install pandas"):
        run.table()


def test_no_run_there(tmp_path):
    with pytest.raises(RunError, match="no run here"):
        load_run(tmp_path)


def test_a_run_of_another_version(copy):
    config = json.loads((copy / "config.json").read_text())
    config["model"]["wings"] = 2
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"written by afnet_jax .* does not know"):
        load_run(copy)


def test_a_run_with_the_retired_field_of_six_classes(copy, faces):
    config = json.loads((copy / "config.json").read_text())
    config["model"]["num_classes"] = 6
    (copy / "config.json").write_text(json.dumps(config))
    run = load_run(copy)
    folder = RunFolder(copy)
    folder.start(run.config, run.splits, faces.digest)  # nor is it a difference when the run goes on
    folder.close()
    config["model"]["num_classes"] = 7
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="does not know"):
        load_run(copy)


def test_an_unfinished_run(copy):
    (copy / "predictions.npz").unlink()
    (copy / "summary.json").unlink()
    run = load_run(copy)
    for ask in (lambda: run.predictions, lambda: run.summary):
        with pytest.raises(RunError, match="not finished"):
            ask()
    with pytest.raises(RunError, match="round 0 fold 0 are not stored"):
        run.params(0)


@pytest.mark.slow
def test_a_relative_path_leads_to_the_same_weights(run, monkeypatch):
    monkeypatch.chdir(run.path.parent)
    found, expected = load_run(run.path.name).params(0), run.params(0)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_weights_of_a_training_under_way(copy):
    group = [(0, 0), (0, 1)]
    arrays = {"params": {"w": np.zeros((2, 3))}, "batch_stats": {}, "opt_state": {"m": np.zeros((2, 3))}}
    open_checkpoints(copy).save(group, arrays, EpochRows(1), {}, step=4)
    with pytest.raises(RunError, match="still being trained"):
        load_run(copy).params(0)
