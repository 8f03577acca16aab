"""The report agrees with summary.json, is self-contained, and works with a screen reader."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from afnet_jax.analysis import load_run
from afnet_jax.analysis.baselines import run_baselines
from afnet_jax.analysis.figures import expression_scans
from afnet_jax.analysis.report import write_report
from afnet_jax.analysis.summary import summarize
from afnet_jax.errors import RunError
from afnet_jax.runs.folder import write_baselines
from tests.support.finished_run import FOLDS, make_config, splits_of, write_run

pytestmark = pytest.mark.slow  # a run and its page are made first

_VOID = {"meta", "link", "img", "br"}


class _Page(HTMLParser):
    """All that the tests ask about a page; fails where elements are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.numbers, self.tables, self.text = [], [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "data":
            self.numbers.append([dict(attributes)["data-key"], float(dict(attributes)["value"]), ""])

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if "data" in self.open:
            self.numbers[-1][2] += data

    def rows(self, first_head):
        """Cells of the table with that first head, {first cell: the others}."""
        (found,) = [rows for rows in self.tables if rows[0][0] == first_head]
        return {first: others for first, *others in found}

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(run, faces):
    path = write_report(run, faces)
    assert path.stat().st_size < 5e6
    return _Page(path.read_text())


def test_every_number_is_that_of_the_summary(page, run):
    keys = set()
    for key, value, shown in page.numbers:
        expected = run.summary
        for part in key.split("."):
            expected = expected[int(part) if isinstance(expected, list) else part]
        assert value == expected, key
        number = float(re.sub(r"[^\d.]", "", shown))
        decimals = len(shown.partition(".")[2].rstrip(" %MiBs"))
        scale = 100 if "%" in shown else 1
        assert number == pytest.approx(scale * expected, abs=0.51 * 10**-decimals), key
        keys.add(key)
    accuracies = {"accuracy.mean", "accuracy.std", "accuracy.per_round.1", "accuracy.per_fold.1.1"}
    assert accuracies | {"scans", "rounds", "parameters.count", "seconds.total", "per_class.SU.recall"} <= keys
    assert sum(key.startswith("confusion") for key in keys) == 36


def test_nothing_is_fetched(page, run):
    references = [a.get(name) for _, a in page.elements for name in ("src", "href", "srcset", "data") if a.get(name)]
    assert all(r.startswith(("#", "data:")) for r in references)
    text = (run.path / "report.html").read_text()
    assert "@import" not in text and "url(" not in text and "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_tables_and_pictures_can_be_read_aloud(page):
    tables = page.all("table")
    assert len(tables) == len(page.all("caption")) > 8
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))
    assert all(a.get("alt") for a in page.all("img"))
    assert not any(a.get("loading") for a in page.all("img"))  # lazy ones are blank in print
    assert all(a.get("aria-label") and a.get("role") == "img" for a in page.all("svg"))
    anchors = {a["id"] for _, a in page.elements if "id" in a}
    assert all(a["href"][1:] in anchors for a in page.all("a"))
    assert page.all("html") == [{"lang": "en"}] and len(page.all("main")) == len(page.all("h1")) == 1


def test_faces_heat_maps_and_importance_weights_are_there(page):
    alts = [a["alt"] for a in page.all("img")]
    assert sum("Texture of" in alt for alt in alts) == sum("Surface of" in alt for alt in alts) == 12
    assert sum(alt.startswith("Heat of the texture trunk") for alt in alts) == 6
    assert "texture above depth" in page.text


def test_the_papers_number_stands_beside(tmp_path, faces):
    config = make_config("no_ma", **{"dataset.name": "bosphorus"})
    run = load_run(write_run(tmp_path, faces, config))
    page = _Page(write_report(run).read_text())
    assert "87.11 %" in page.text
    assert "the data set is not at hand" in page.text


def test_an_incomplete_run_has_a_report_too(run_folder, tmp_path, faces):
    folder = tmp_path / "<part>"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    with np.load(folder / "predictions.npz") as file:
        columns = {name: file[name][:18] for name in file}
    np.savez(folder / "predictions.npz", **columns)
    (folder / "metrics.jsonl").write_text("")
    run = load_run(folder)
    (folder / "summary.json").write_text(json.dumps(summarize(run)))
    page = _Page(write_report(run, faces).read_text())
    assert "0 of 2 rounds are finished" in page.text and "round 1 fold 0" in page.text
    assert "weights of round 0 fold 0 are not stored" in page.text
    assert "<part>" in page.text  # names are escaped


def test_a_run_whose_trainings_were_all_given_up_has_a_report_too(run_folder, tmp_path, faces):
    folder = tmp_path / "failed"
    shutil.copytree(run_folder, folder)
    with np.load(folder / "predictions.npz") as file:
        columns = {name: file[name][:0] for name in file}
    np.savez(folder / "predictions.npz", **columns)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lost = [{**line, "loss": [None] * FOLDS, "gradient_norm": [None] * FOLDS} for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lost))
    run = load_run(folder)
    (folder / "summary.json").write_text(json.dumps(summarize(run)))
    page = _Page(write_report(run, faces).read_text())
    assert "No training has a finite loss" in page.text and "0 of 2 rounds are finished" in page.text
    assert page.text.count("Nothing is predicted") == 2


def _accuracies(run, round_):
    """% of a round and of each of its folds, from the predictions."""
    predictions = run.predictions
    correct = predictions["logits"].argmax(-1) == predictions["label"]
    rows = predictions["round"] == round_
    of_folds = [correct[rows & (predictions["fold"] == fold)].mean() for fold in run.folds(round_)]
    return f"{100 * correct[rows].mean():.2f} %", [f"{100 * share:.1f} %" for share in of_folds]


def test_rounds_of_unequal_numbers_of_folds(tmp_path, faces):
    splits = splits_of([("456", "123"), ("123", "456")], [("3456", "12"), ("1256", "34"), ("1234", "56")], [("1", "2")])
    run = load_run(write_run(tmp_path, faces, make_config(), splits=splits))
    page = _Page(write_report(run, faces).read_text())
    assert run.summary["complete"] and "of 1 to 3 folds" in page.text
    rows = page.rows("round")
    assert rows.pop("round") == ["all folds", "fold 0", "fold 1", "fold 2"]
    for round_, nothing in ((0, 1), (1, 0), (2, 2)):
        whole, folds = _accuracies(run, round_)
        assert rows[f"round {round_}"] == [whole, *folds, *["–"] * nothing]


def test_a_round_whose_trainings_were_all_given_up(tmp_path, faces):
    """The others keep their numbers, and what a network looks at is shown for one that has a result."""
    config = make_config(**{"protocol.rounds": 3, "train.keep_rounds": 1})
    lost = [(1, 0), (1, 1)]
    run = load_run(write_run(tmp_path / "second", faces, config, given_up=lost, weights=True))
    page = _Page(write_report(run, faces).read_text())
    assert list(page.rows("round")) == ["round", "round 0", "round 2"]
    whole, folds = _accuracies(run, 2)
    assert page.rows("round")["round 2"] == [whole, *folds]
    assert "2 of 3 rounds are finished; without predictions: round 1 fold 0, round 1 fold 1." in page.text
    assert "by the network of round 0, fold 0" in page.text
    run = load_run(write_run(tmp_path / "first", faces, config, given_up=[(0, 0), (0, 1)], weights=True))
    page = _Page(write_report(run, faces).read_text())
    assert list(page.rows("round")) == ["round", "round 1", "round 2"]
    assert "weights of round 1 fold 0 are not stored" in page.text
    run = load_run(write_run(tmp_path / "fold", faces, config, given_up=[(0, 0)], weights=True))
    page = _Page(write_report(run, faces).read_text())
    assert "by the network of round 0, fold 1" in page.text


def test_one_round_has_no_spread(tmp_path, faces):
    run = load_run(write_run(tmp_path, faces, make_config(**{"protocol.rounds": 1})))
    page = _Page(write_report(run, faces).read_text())
    assert "±" not in page.text and "deviation" not in page.text and "one round" in page.text
    assert list(page.rows("round")) == ["round", "round 0"]


def test_a_hundred_rounds(tmp_path, faces):
    run = load_run(write_run(tmp_path, faces, make_config(**{"protocol.rounds": 100, "train.epochs": 1})))
    path = write_report(run, faces)
    page = _Page(path.read_text())
    assert path.stat().st_size < 1e6 and "over 100 rounds" in page.text
    assert list(page.rows("round")) == ["round", *(f"round {k}" for k in range(10))]
    assert "Mean of 200 trainings" in page.text and "The other 90 rounds stand in splits.json" in page.text


def test_a_summary_of_other_predictions_is_told(run_folder, tmp_path, faces):
    folder = tmp_path / "old"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    summary = json.loads((folder / "summary.json").read_text())
    summary["accuracy"]["per_fold"].append([0.5, 0.5])
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "summary.json is not of these predictions" in _Page(write_report(load_run(folder)).read_text()).text


def test_calibration_and_the_spread_over_rounds_are_shown(page, run):
    found = run.summary["calibration"]
    rows = page.rows("probabilities")
    assert rows["as trained"] == [f"{found[key]:.3f}" for key in ("ece", "ece_by_chance", "nll")]
    assert rows["scaled"] == [f"{found['scaled'][key]:.3f}" for key in ("ece", "ece_by_chance", "nll")]
    temperatures = np.ravel(found["temperatures"])
    assert f"Temperatures {temperatures.min():.2f} to {temperatures.max():.2f}" in page.text
    labels = [a["aria-label"] for a in page.all("svg")]
    assert "Accuracy of each round and of its folds" in labels
    assert "How often decisions were right, by the probability given to them" in labels


def test_a_run_without_baselines_or_calibration_says_how_to_make_them(run_folder, tmp_path, faces):
    folder = tmp_path / "old"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("checkpoints", "baselines.json"))
    summary = json.loads((folder / "summary.json").read_text())
    del summary["calibration"]
    (folder / "summary.json").write_text(json.dumps(summary))
    page = _Page(write_report(load_run(folder)).read_text())
    assert f"Not compared yet: afnet compare --workdir={folder}" in page.text
    assert "summary.json is of an earlier version" in page.text


def test_baselines_of_other_predictions_are_not_shown(run_folder, tmp_path, faces):
    folder = tmp_path / "again"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    run = load_run(folder)
    write_baselines(folder, run_baselines(run, faces, most_rounds=1))
    page = _Page(write_report(run).read_text())
    assert "Beside linear models" in page.text and "linear, depth" in page.text
    assert "No linear model on landmarks: the data set holds no landmarks." in page.text
    with np.load(folder / "predictions.npz") as file:
        columns = dict(file)
    np.savez(folder / "predictions.npz", **{**columns, "logits": columns["logits"][:, ::-1]})
    assert "baselines.json is not of these predictions" in _Page(write_report(run).read_text()).text


def test_heat_maps_are_of_a_test_subject_who_shows_all_six(tmp_path, faces):
    labels = np.where((faces.subjects == "F0001") & (faces.labels == 5), 0, faces.labels)
    lacking = dataclasses.replace(faces, labels=labels)
    splits = splits_of([("456", "123"), ("123", "456")])
    run = load_run(write_run(tmp_path, lacking, make_config(), splits=splits))
    chosen = expression_scans(run, lacking)
    np.testing.assert_array_equal(lacking.subjects[chosen[:, 0]], ["F0002", "F0004"])
    assert (lacking.labels[chosen] == np.arange(6)).all()
    nobody = dataclasses.replace(faces, labels=np.where(faces.labels == 5, 0, faces.labels))
    with pytest.raises(RunError, match=r"lacks scans of all six expressions .* round 0 fold 0"):
        expression_scans(run, nobody)


@pytest.mark.parametrize(("field", "number"), [("fusion_stages=4", None), ("mask_attention_stages=", "87.11 %")])
def test_the_papers_number_is_that_of_the_network_and_not_of_its_name(tmp_path, faces, field, number):
    """A network that is none of the paper's has none; AFNet-M without mask attention is `no_ma`."""
    name, _, stages = field.partition("=")
    changes = {"dataset.name": "bosphorus", f"model.{name}": tuple(map(int, stages))}
    page = _Page(write_report(load_run(write_run(tmp_path, faces, make_config(**changes)))).read_text())
    assert "88.31 %" not in page.text and ("The paper's" in page.text) == (number is not None)
    assert number is None or number in page.text


def test_test_subjects_that_the_starting_weights_had_seen_are_told(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    file = tmp_path / "run" / "environment.json"
    told = "LEAK: the starting weights were trained on 1 subjects (F0001)"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"start_from": {"seen_before": [told]}}))
    assert told in _Page(write_report(load_run(tmp_path / "run")).read_text()).text
