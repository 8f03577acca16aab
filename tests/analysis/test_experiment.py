"""A true run, from nothing to its report."""

import json
import math

import numpy as np
import pytest

from afnet_jax.analysis import load_run
from afnet_jax.analysis.experiment import AllGivenUp, run_experiment
from tests.training.conftest import make_config, make_faces


def test_a_run_leaves_summary_report_and_curves(tmp_path):
    faces = make_faces()
    summary = run_experiment(make_config(), tmp_path, data=faces)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary and summary["complete"]
    assert load_run(tmp_path).summary["scans"] == 36
    page = (tmp_path / "report.html").read_text()
    assert "Heat of the texture trunk" in page and f"{100 * summary['accuracy']['mean']:.2f} %" in page
    curves = {path.parent.name for path in (tmp_path / "tensorboard").rglob("*.tfevents.*")}
    assert curves == {"fold00", "fold01", "fold02", "mean_of_folds00-02", "confusion"}


def test_a_run_whose_trainings_were_all_given_up_is_a_fault_and_leaves_its_summary(tmp_path):
    faces = make_faces()
    faces.arrays.mask56[:] = np.nan
    with pytest.raises(AllGivenUp, match="every training was given up"):
        run_experiment(make_config(**{"train.epochs": 1}), tmp_path, data=faces)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"] is False and summary["accuracy"]["mean"] is None
    assert (tmp_path / "report.html").exists()


def test_what_is_estimated_is_a_number(tmp_path):
    run_experiment(make_config(**{"train.folds_per_group": "2", "train.epochs": 1}), tmp_path, data=make_faces())
    assert math.isfinite(json.loads((tmp_path / "estimate.json").read_text())["seconds"])
