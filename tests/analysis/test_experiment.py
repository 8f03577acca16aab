"""A true run, from nothing to its report."""

import json

from afnet_jax.analysis import load_run
from afnet_jax.analysis.experiment import run_experiment
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
