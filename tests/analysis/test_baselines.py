"""Linear models beside scikit-learn's plain pipeline, and what is told of them."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from afnet_jax.analysis import load_run
from afnet_jax.analysis.baselines import FEATURES, are_of, predict_folds, run_baselines, verdict
from afnet_jax.analysis.significance import compare_predictions
from afnet_jax.analysis.tables import baselines_table
from afnet_jax.commands.compare import main
from afnet_jax.errors import RunError
from afnet_jax.protocol import Fold
from afnet_jax.scans.scan import LANDMARKS
from tests.support.finished_run import make_config, splits_of, write_run


@pytest.fixture(scope="module")
def placed(faces):
    """The scans with landmarks that tell the expression; one lacks its chin, and of nine they were found."""
    rng = np.random.default_rng(0)
    of_expression = rng.normal(0, 3, (6, len(LANDMARKS), 3))
    landmarks = of_expression[faces.labels] + rng.normal(0, 3, (len(faces.labels), len(LANDMARKS), 3))
    landmarks[3, LANDMARKS.index("chin")] = np.nan
    return dataclasses.replace(faces, landmarks=landmarks, landmarks_found=np.arange(len(faces.labels)) < 9)


def test_features_are_shared_landmarks_and_means_over_pixels(placed):
    seen = {name: see(placed) for name, see in FEATURES.items()}
    kept = [k for k, name in enumerate(LANDMARKS) if name != "chin"]
    np.testing.assert_array_equal(seen["landmarks"], placed.landmarks[:, kept].reshape(len(placed.labels), -1))
    blocks = placed.maps.texture.astype(float).mean(-1).reshape(-1, 32, 2, 32, 2).mean((2, 4))
    np.testing.assert_allclose(seen["texture"].reshape(blocks.shape), blocks, atol=1.01)  # rounded along both axes
    depth = placed.maps.depth[..., 0].astype(float).reshape(-1, 32, 2, 32, 2)
    known = np.isfinite(depth).sum((2, 4))
    blocks = np.where(known >= 2, np.nansum(depth, (2, 4)) / np.maximum(known, 1), -60)
    assert (known < 2).any() and (known == 4).any()
    np.testing.assert_allclose(seen["depth"].reshape(blocks.shape), blocks, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(seen["depth and texture"], np.hstack([seen["depth"], seen["texture"]]))


@pytest.mark.parametrize("name", ["landmarks", "depth"])
def test_predictions_are_those_of_a_plain_logistic_regression(run, placed, name):
    features = FEATURES[name](placed)
    found = predict_folds(features, placed, run.splits)
    for fold in run.splits:
        train, test = np.isin(placed.subjects, fold.train), np.isin(placed.subjects, fold.test)
        scaler = StandardScaler().fit(features[train])
        model = LogisticRegression(C=0.1, max_iter=3000).fit(scaler.transform(features[train]), placed.labels[train])
        rows = (found["round"] == fold.round) & (found["fold"] == fold.fold)
        np.testing.assert_array_equal(found["scan_id"][rows], placed.scan_ids[test])
        expected = model.predict_log_proba(scaler.transform(features[test]))
        np.testing.assert_allclose(np.exp(found["logits"][rows]), np.exp(expected), atol=0.003)


def test_an_expression_that_nobody_showed_in_training_is_never_predicted(placed):
    sad = placed.labels == 4
    without = dataclasses.replace(placed, subjects=np.where(sad, "F0006", placed.subjects))
    found = predict_folds(FEATURES["landmarks"](without), without, splits_of([("12345", "6")]))
    assert np.isneginf(found["logits"][:, 4]).all() and np.isfinite(np.delete(found["logits"], 4, axis=1)).all()


def test_the_network_is_compared_with_each_on_the_runs_splits(run, placed):
    found = run_baselines(run, placed)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["rounds"] == [0, 1] and found["network"] == pytest.approx(run.summary["accuracy"]["mean"])
    assert set(found["models"]) == set(FEATURES) and found["landmarks_found"] == 0.25 and are_of(found, run)
    model = found["models"]["landmarks"]
    theirs = predict_folds(FEATURES["landmarks"](placed), placed, run.splits)
    right = theirs["logits"].argmax(-1) == theirs["label"]
    assert model["accuracy"]["mean"] == pytest.approx(right.mean()) and right.mean() > 0.5
    compared = compare_predictions(run.predictions, theirs, run.splits, [0, 1])
    assert model["t_test"]["p"] == compared.t_test.p and model["bootstrap"]["p"] == compared.bootstrap_p
    assert model["difference"] == pytest.approx(found["network"] - right.mean())
    joint = found["together"]
    one, other = (
        {(r, i): row for r, i, row in zip(p["round"], p["scan_id"], p["logits"], strict=True)}
        for p in (run.predictions, theirs)
    )
    product = {key: softmax(one[key]) * softmax(other[key]) for key in one}
    label = dict(zip(placed.scan_ids, placed.labels, strict=True))
    share = np.mean([row.argmax() == label[scan] for (_, scan), row in product.items()])
    assert joint["accuracy"]["mean"] == pytest.approx(share)
    assert joint["difference"] == pytest.approx(found["network"] - share)
    assert joint["over_landmarks"]["difference"] == pytest.approx(share - right.mean())
    assert f"together reach {100 * share:.1f} %, " in verdict(found)
    first = run_baselines(run, placed, most_rounds=1)
    assert first["rounds"] == [0] and len(first["models"]["depth"]["accuracy"]["per_round"]) == 1


def test_what_the_data_set_lacks_is_told(run, faces, placed):
    found = run_baselines(run, faces)
    assert found["models"]["landmarks"] == {"reason": "the data set holds no landmarks"} and found["together"] is None
    assert "together" not in verdict(found)
    bare = placed.landmarks.copy()
    bare[5] = np.nan
    (reason,) = run_baselines(run, dataclasses.replace(placed, landmarks=bare))["models"]["landmarks"].values()
    assert reason == f"no landmark is there in every scan; {faces.scan_ids[5]} has none at all"
    other = dataclasses.replace(faces, labels=faces.labels[::-1])
    with pytest.raises(RunError, match="not the one that the run learned from"):
        run_baselines(run, other)


@pytest.mark.parametrize(
    ("difference", "p", "told"),
    [
        (0.05, 0.01, "does better than the best linear model, logistic regression on depth, by 5.0 points (p = 0.010)"),
        (-0.05, 0.01, "does worse than the best linear model, logistic regression on depth, by 5.0 points (p = 0.010)"),
        (0.05, 0.2, "is not shown to differ from the best linear model, logistic regression on depth: +5.0 points"),
        (0.05, None, "too few folds for a test"),
    ],
)
def test_the_verdict_is_on_the_best_linear_model(difference, p, told):
    models = {
        "landmarks": {"reason": "none"},
        "texture": {"accuracy": {"mean": 0.5}, "difference": 0.3, "t_test": {"p": 0.001}},
        "depth": {"accuracy": {"mean": 0.7}, "difference": difference, "t_test": {"p": p}},
    }
    assert told in verdict({"models": models})


def test_scans_that_are_all_alike_are_no_warning(placed):
    alike = np.ones_like(FEATURES["depth"](placed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = predict_folds(alike, placed, splits_of([("12345", "6")]))
    assert np.isfinite(found["logits"]).all()


def test_a_single_fold_has_a_difference_and_no_p(tmp_path, placed):
    run = load_run(write_run(tmp_path, placed, make_config(), splits=splits_of([("12345", "6")])))
    found = run_baselines(run, placed)
    assert found["models"]["depth"]["t_test"]["p"] is None and "too few folds" in verdict(found)
    assert baselines_table(found, "afnet").rows[1][2] != "–" and baselines_table(found, "afnet").rows[1][3:] == (
        "–",
        "–",
    )


def test_the_command_writes_them_into_the_run_and_its_report(tmp_path, placed, call, monkeypatch):
    folder = write_run(tmp_path, placed, make_config())
    asked = []
    monkeypatch.setattr("afnet_jax.datasets.loading.load", lambda dataset, _: asked.append(dataset.data_dir) or placed)
    done = call(main, f"--workdir={folder}", "--rounds=1", "--data_dir=elsewhere")
    assert asked == ["elsewhere"] and load_run(folder).config.dataset.data_dir != "elsewhere"
    assert done.returncode == 0 and load_run(folder).baselines["rounds"] == [0]
    lines = done.stdout.splitlines()
    models = ["network (afnet)", *(f"linear, {n}" for n in FEATURES), "network and landmarks"]
    assert [line.split("  ")[0] for line in lines[1:-2]] == models
    assert lines[-1].startswith("Not told what the network rests on: ") and "not stored" in lines[-1]
    page = (folder / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert lines[-2] in page.replace("&#x27;", "'") and "linear, depth and texture" in page
    assert "Of 25 % of the scans the landmarks were found on the surface" in page and "Round 0 of 2" in page
    (folder / "summary.json").unlink()
    assert call(main, f"--workdir={folder}").stderr.endswith("the run is not finished, start it again to go on\n")


def test_people_who_show_one_expression_to_learn_from(faces):
    one = np.flatnonzero((faces.subjects != "F0001") | (faces.labels == 3))
    few = dataclasses.replace(
        faces, labels=faces.labels[one], subjects=faces.subjects[one], scan_ids=faces.scan_ids[one]
    )
    found = predict_folds(np.eye(len(one)), few, [Fold(0, 0, ("F0001",), ("F0002",))])
    assert (found["logits"].argmax(1) == 3).all()


@pytest.mark.parametrize("content", [{}, [], {"predictions": 3}])
def test_a_file_of_another_form_is_none_of_the_runs(run, content):
    assert not are_of(content, run)
