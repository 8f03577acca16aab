"""A true run, from nothing to its report."""

import dataclasses
import json
import math
import statistics

import numpy as np
import pytest

from afnet_jax.analysis import load_run
from afnet_jax.analysis.summary import summarize
from afnet_jax.errors import ConfigError, DatasetError, RunError, WeightsError
from afnet_jax.experiments import run as experiment
from afnet_jax.experiments.run import AllGivenUp, run_experiment
from afnet_jax.runs.folder import RunFolder
from tests.support.finished_run import make_config as analysed_config
from tests.support.finished_run import write_run
from tests.support.small_training import make_config, make_faces


@pytest.mark.slow
def test_a_run_leaves_summary_report_and_curves(tmp_path):
    faces = make_faces()
    summary = run_experiment(make_config(), tmp_path, data=faces).summary
    assert json.loads((tmp_path / "summary.json").read_text()) == summary and summary["complete"]
    assert load_run(tmp_path).summary["scans"] == 36
    page = (tmp_path / "report.html").read_text()
    assert "Heat of the texture trunk" in page and f"{100 * summary['accuracy']['mean']:.2f} %" in page
    curves = {path.parent.name for path in (tmp_path / "tensorboard").rglob("*.tfevents.*")}
    assert curves == {"fold00", "fold01", "fold02", "mean_of_folds00-02", "confusion"}


def test_evaluation_begins_no_run(tmp_path):
    with pytest.raises(RunError, match="runs/mistyped: no run here"):
        run_experiment(make_config(), tmp_path / "runs" / "mistyped", mode="evaluate", data=make_faces())
    assert not any(tmp_path.iterdir())


def test_a_profile_that_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "file").touch()
    config = make_config(profile=str(tmp_path / "file" / "trace"))
    with pytest.raises(ConfigError, match=r"profile=.*/trace: cannot be written to \(Not a directory\)"):
        run_experiment(config, tmp_path / "run", data=make_faces())
    assert not (tmp_path / "run").exists()


def test_starting_weights_that_are_not_there_are_told_before_data_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "load_data", lambda *_: pytest.fail("data were made"))
    with pytest.raises(WeightsError, match=r"start_from=.*/weights\.safetensors: .* found nothing there"):
        run_experiment(make_config(**{"model.start_from": str(tmp_path / "weights.safetensors")}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_summary_counts_what_the_run_folder_holds(run):
    """Two rounds of two folds, three epochs of 1.25 s and 0.5 s of compiling each; six subjects, six scans of each."""
    found = summarize(run)
    assert found["seconds"] == {"total": pytest.approx(10.5), "compile": pytest.approx(3), "per_epoch": 1.25}
    assert (found["rounds"], found["folds"], found["scans"], found["complete"]) == (2, 2, 36, True)
    assert found["parameters"]["mib"] == pytest.approx(88.63, abs=0.005)
    assert found["parameters"]["mib_per_call"] == pytest.approx(91.14, abs=0.005)


def test_the_result_is_told_with_a_spread_where_there_is_one(tmp_path, faces, monkeypatch):
    for name in ("train_and_evaluate", "write_picture"):
        monkeypatch.setattr(experiment, name, lambda *_, **__: None)
    told = []
    monkeypatch.setattr(experiment, "say", told.append)
    for rounds in (1, 3):
        config = analysed_config(**{"protocol.rounds": rounds})
        write_run(tmp_path / str(rounds), faces, config)
        summary = run_experiment(config, tmp_path / str(rounds), data=faces).summary
        per_round = summary["accuracy"]["per_round"]
        spread = f" ± {100 * statistics.stdev(per_round):.2f}" if rounds > 1 else ""
        start = f"accuracy {100 * sum(per_round) / rounds:.2f} %{spread} over {rounds} round(s) of 2 folds, 36 scans\n"
        assert told[-1].startswith(start)


@pytest.mark.slow
def test_a_run_whose_trainings_were_all_given_up_is_a_fault_and_leaves_its_summary(tmp_path):
    faces = make_faces()
    faces.maps.mask1[:] = np.nan
    with pytest.raises(AllGivenUp, match="every training was given up"):
        run_experiment(make_config(**{"train.epochs": 1}), tmp_path, data=faces)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"] is False and summary["accuracy"]["mean"] is None
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_what_is_estimated_is_a_number(tmp_path):
    run_experiment(make_config(**{"train.folds_per_group": "2", "train.epochs": 1}), tmp_path, data=make_faces())
    assert math.isfinite(json.loads((tmp_path / "estimate.json").read_text())["seconds"])


def test_the_folder_is_held_from_before_the_data_are_loaded(tmp_path, faces, monkeypatch):
    """Each of settings, data and folder is taken up once; who wants the folder meanwhile is refused."""
    write_run(tmp_path, faces, analysed_config())
    seen = []

    def in_between(name, result):
        def call(*_, **__):
            seen.append(name)
            with pytest.raises(RunError, match="already under way"):
                RunFolder(tmp_path)
            return result

        return call

    monkeypatch.setattr(experiment, "load", in_between("data", faces))
    monkeypatch.setattr(experiment, "train_and_evaluate", in_between("training", None))
    monkeypatch.setattr(experiment, "write_picture", lambda *_: None)
    run = run_experiment(analysed_config(), tmp_path)
    assert seen == ["data", "training"] and run.summary["complete"]
    RunFolder(tmp_path).close()  # given back


def test_scans_without_colours_are_refused_where_the_network_sees_the_texture(tmp_path):
    faces = make_faces()
    texture = faces.maps.texture.copy()
    texture[3] = 128
    grey = dataclasses.replace(faces, maps=faces.maps._replace(texture=texture))
    told = f"1 scans have no colours, the first {faces.scan_ids[3]}.*the variant depth"
    with pytest.raises(DatasetError, match=told):
        run_experiment(make_config(), tmp_path / "run", data=grey)
