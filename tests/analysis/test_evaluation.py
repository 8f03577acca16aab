"""A run's networks on another data set: who is tested by whom, what is told, and what is refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from afnet_jax.analysis import evaluation, load_run
from afnet_jax.analysis.calibration import fit_temperature
from afnet_jax.analysis.evaluation import evaluate_on, remarks, scores
from afnet_jax.analysis.evaluation_page import write_evaluation
from afnet_jax.analysis.prediction import Predictor
from afnet_jax.commands import evaluate as command
from afnet_jax.commands import train
from afnet_jax.errors import RunError
from tests.analysis.test_report import _Page
from tests.support.finished_run import make_config, splits_of, write_run


def renamed(faces):
    """Other scans of people with the same ids."""
    return dataclasses.replace(faces, scan_ids=np.char.add(faces.scan_ids, "b"))


OWN = make_config().dataset  # of the run's own data set, "synthetic"
BOSPHORUS = make_config(**{"dataset.name": "bosphorus"}).dataset


@pytest.fixture(scope="module")
def others(faces):
    """The scans in another order, of three other people."""
    order = np.random.default_rng(0).permutation(18)
    return dataclasses.replace(
        faces,
        maps=jax.tree.map(lambda m: m[order], faces.maps),
        labels=faces.labels[order],
        scan_ids=np.array([f"scan{k:02d}" for k in range(18)]),
        subjects=np.array([f"bs{k // 6:03d}" for k in range(18)]),
        levels=faces.levels[order],
    )


class _Stub:
    """Networks whose probabilities are drawn from a seed, without any weights."""

    def __init__(self, run, *, round):
        self.folds, self.drawn = run.folds(round), np.random.default_rng(round + 7)

    def of_each(self, maps):
        return self.drawn.dirichlet(np.ones(6), (len(self.folds), len(maps.texture))).astype(np.float32)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(evaluation, "Predictor", _Stub)


@pytest.mark.slow
def test_networks_are_asked_one_by_one_and_together(run, others):
    found = evaluate_on(run, others, BOSPHORUS)
    assert found.asked.all() and found.seen == found.left_out == () and found.folds == (0, 1)
    together = Predictor(run)(others.maps)
    np.testing.assert_allclose(np.exp(found.log_probabilities()), together, rtol=1e-4, atol=1e-7)
    for fold in (0, 1):
        alone = Predictor(run, fold=fold)(others.maps)
        np.testing.assert_allclose(found.probabilities[fold], alone, rtol=1e-4, atol=1e-7)
        scored = accuracy_score(others.labels, alone.argmax(-1))
        assert scores(found)["accuracy"]["per_network"][fold] == pytest.approx(scored)
    assert scores(found)["accuracy"]["mean"] == pytest.approx(accuracy_score(others.labels, together.argmax(-1)))


@pytest.mark.slow
def test_no_network_is_asked_about_a_subject_whom_it_learned_from(run, faces, stub):
    found = evaluate_on(run, faces, OWN)
    for fold, asked in zip((f for f in run.splits if f.round == 0), found.asked, strict=True):
        assert set(found.subjects[asked].tolist()) == set(fold.test)
    assert found.seen == tuple(f"F000{k}" for k in range(1, 7)) and found.left_out == ()
    expected = [found.probabilities[k, n] for n, k in enumerate(found.asked.argmax(0))]
    np.testing.assert_allclose(np.exp(found.log_probabilities()), expected, rtol=1e-5)
    assert found.temperature is None  # nothing is left that is not tested
    (line,) = remarks(found)
    assert line.startswith("6 subjects have ids that the run was trained on (F0001, F0002, F0003, F0004, F0005 and 1 ")
    free = evaluate_on(run, renamed(faces), OWN, people="other")
    assert free.asked.all() and free.seen == ()


def test_the_same_ids_in_data_sets_of_other_names_or_seeds_are_other_people_and_named(run, faces, stub):
    for settings in (BOSPHORUS, make_config(**{"dataset.synthetic_seed": 1}).dataset):
        found = evaluate_on(run, renamed(faces), settings)
        assert found.asked.all() and found.temperature is not None
        (line,) = remarks(found)
        assert line.startswith("6 ids are also those of subjects that the run was trained on, in another data set (F0")
    assert not evaluate_on(run, faces, BOSPHORUS, people="same").asked.all()


def test_people_whom_the_starting_weights_learned_from_are_left_out(run_folder, others, stub, tmp_path):
    """What a run started from was trained on bs001 of the same database, whoever the run itself was trained on."""
    folder = tmp_path / "started"
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    environment = json.loads((folder / "environment.json").read_text())
    record = {"dataset": {"name": "bosphorus"}, "train": ["bs001", "bs077"], "test": ["bs002"]}
    elsewhere = {**record, "dataset": {"name": "bu3dfe"}}
    through_another = {**elsewhere, "earlier": record}
    for known, left_out in ((record, ("bs001",)), (through_another, ("bs001",)), (elsewhere, ()), ({}, ())):
        start = {"start_from": {"source": "old.safetensors", "record": known}}
        (folder / "environment.json").write_text(json.dumps(environment | start))
        found = evaluate_on(load_run(folder), others, BOSPHORUS)
        assert found.left_out == left_out and set(found.subjects) == {"bs000", "bs001", "bs002"} - set(left_out)
        assert ("does not tell whom it was trained on" in " ".join(remarks(found))) == (not known)


def test_subjects_of_every_networks_training_are_left_out_and_named(tmp_path, faces, others, stub):
    splits = splits_of([("1234", "56"), ("1256", "34")])  # 1 and 2 are never tested
    run = load_run(write_run(tmp_path, faces, make_config(), splits=splits))
    found = evaluate_on(run, faces, OWN)
    assert found.left_out == ("F0001", "F0002") and set(found.subjects) == {f"F000{k}" for k in range(3, 7)}
    assert remarks(found)[1].startswith("2 subjects are left out") and remarks(found)[1].endswith("F0001, F0002")
    first = dataclasses.replace(faces, subjects=np.full(len(faces.subjects), "F0001"))
    with pytest.raises(RunError, match=r"every subject of synthetic .* \(F0001\); .* --people=other"):
        evaluate_on(run, first, OWN)
    mixed = dataclasses.replace(others, subjects=np.where(others.subjects == "bs000", "F0005", others.subjects))
    asked = evaluate_on(run, mixed, BOSPHORUS, people="same").asked
    np.testing.assert_array_equal(asked, [[True] * 18, mixed.subjects != "F0005"])


def test_the_temperature_is_of_the_runs_own_held_out_subjects(run, faces, others, stub):
    predictions = run.predictions
    rows = predictions["round"] == 0
    found = evaluate_on(run, others, BOSPHORUS).temperature
    assert found == pytest.approx(fit_temperature(predictions["logits"][rows], predictions["label"][rows]))
    mixed = dataclasses.replace(others, subjects=np.where(others.subjects == "bs000", "F0002", others.subjects))
    rows &= predictions["subject"] != "F0002"
    found = evaluate_on(run, mixed, BOSPHORUS, people="same").temperature
    assert found == pytest.approx(fit_temperature(predictions["logits"][rows], predictions["label"][rows]))


def test_numbers_are_those_of_the_probabilities(run, others, stub, tmp_path):
    found = evaluate_on(run, others, BOSPHORUS)
    written = write_evaluation(found, tmp_path / "new" / "folder")
    assert json.loads((tmp_path / "new" / "folder" / "evaluation.json").read_text()) == written
    guess = found.log_probabilities().argmax(-1)
    np.testing.assert_allclose(np.exp(found.log_probabilities()), found.probabilities.mean(0), rtol=1e-5)
    assert written["accuracy"]["mean"] == pytest.approx(accuracy_score(others.labels, guess))
    low, high = written["accuracy"]["interval"]
    assert 0 <= low <= written["accuracy"]["mean"] <= high <= 1
    assert np.trace(written["confusion"]) == (guess == others.labels).sum() and np.sum(written["confusion"]) == 18
    for subject, row in written["per_subject"].items():
        own = others.subjects == subject
        assert row == {"accuracy": pytest.approx((guess == others.labels)[own].mean()), "scans": 6}
    warm = found.probabilities.astype(float) ** (1 / found.temperature)
    warm = (warm / warm.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(np.exp(found.log_probabilities(found.temperature)), warm, rtol=1e-5)
    surprise = -np.log(warm[np.arange(18), others.labels]).mean()
    assert written["calibration"]["scaled"]["nll"] == pytest.approx(surprise)
    with np.load(tmp_path / "new" / "folder" / "predictions.npz") as file:
        assert file["probabilities"].shape == (2, 18, 6) and file["scan_id"].tolist() == others.scan_ids.tolist()


def test_the_page_shows_them(run, others, stub, tmp_path):
    written = write_evaluation(evaluate_on(run, others, BOSPHORUS), tmp_path)
    page = _Page((tmp_path / "evaluation.html").read_text())
    for key, value, _ in page.numbers:
        expected = written
        for part in key.split("."):
            expected = expected[int(part) if isinstance(expected, list) else part]
        assert value == expected, key
    assert page.rows("network")["fold 1"][1] == "18" and "bs002" in page.rows("subject")
    assert "tested on Bosphorus" in page.text and "Temperature" in page.text
    assert len(page.all("table")) == len(page.all("caption"))


@pytest.mark.slow
def test_what_cannot_be_evaluated_is_refused(run, run_folder, others, tmp_path, faces):
    small = dataclasses.replace(others, maps=others.maps._replace(texture=others.maps.texture[:, ::2, ::2]))
    with pytest.raises(RunError, match="take images of 64 x 64 pixels, found 32 x 32"):
        evaluate_on(run, small, BOSPHORUS)
    grey = others.maps.texture.copy()
    grey[3] = np.where(grey[3].any(-1, keepdims=True), 150, 0)
    bare = dataclasses.replace(others, maps=others.maps._replace(texture=grey))
    with pytest.raises(RunError, match="1 scans have no colours, the first scan03"):
        evaluate_on(run, bare, BOSPHORUS)
    with pytest.raises(RunError, match="has no round 5"):
        evaluate_on(run, others, BOSPHORUS, round=5)
    with pytest.raises(RunError, match="keep_rounds above 1"):
        evaluate_on(run, others, BOSPHORUS, round=1)
    lost = load_run(write_run(tmp_path / "lost", faces, make_config(), given_up=[(0, 1)], weights=True))
    with pytest.raises(RunError, match=r"round 0 is not finished: no predictions of round 0 fold 1; .* given up"):
        evaluate_on(lost, others, BOSPHORUS)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text((run_folder / "config.json").read_text())
    with pytest.raises(RunError, match="the run is not finished"):
        evaluate_on(load_run(tmp_path / "begun"), others, BOSPHORUS)


@pytest.fixture
def data_sets(monkeypatch, faces, others):
    """Stands for prepared data sets; the names of those that were loaded, in order."""
    loaded = []

    def load(settings, modalities):
        loaded.append((settings.name, str(settings.data_dir), settings.image_size, tuple(settings.levels)))
        return {"synthetic": faces, "bosphorus": others}[settings.name]

    monkeypatch.setattr("afnet_jax.analysis.cross_database.load", load)
    return loaded


def test_the_command_on_one_data_set(run_folder, stub, data_sets, call, tmp_path):
    arguments = [f"--workdir={run_folder}", "--on=bosphorus", f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}"]
    done = call(command.main, *arguments, "--levels=4")
    assert done.returncode == 0 and done.stdout == f"{tmp_path / 'out'}: evaluation.html\n"
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert f"{100 * found['accuracy']['mean']:.1f} % of 18 scans of 3 subjects of Bosphorus (95 % inter" in done.stderr
    assert data_sets == [("bosphorus", str(tmp_path), 64, (4,))]


def test_the_command_on_all_pairs_of_runs_and_data_sets(run_folder, faces, stub, data_sets, call, tmp_path):
    other = write_run(tmp_path / "other" / "afnet", faces, make_config("no_ma"), weights=False)
    done = call(
        command.main,
        *(f"--workdir={folder}" for folder in (run_folder, other)),
        *("--on=synthetic", "--on=bosphorus", f"--data_dir={tmp_path}/a", f"--data_dir={tmp_path}/b"),
        f"--out={tmp_path / 'out'}",
    )
    assert done.returncode == 0 and [(name, folder[-1]) for name, folder, *_ in data_sets] == [
        ("synthetic", "a"),
        ("bosphorus", "b"),
    ]
    cells = json.loads((tmp_path / "out" / "cross_database.json").read_text())
    assert [each["tested_on"] for each in cells] == ["synthetic", "bosphorus"] * 2
    page = _Page((tmp_path / "out" / "cross_database.html").read_text())
    (names, rows) = list(page.rows("run")), page.rows("run")
    assert names[2] == "other-afnet" and rows["run"] == ["trained on", "synthetic subjects", "Bosphorus"]
    for place, name in enumerate(names[1:]):
        for column, database in enumerate(("synthetic", "bosphorus")):
            mean = cells[2 * place + column]["accuracy"]["mean"]
            assert rows[name][1 + column].startswith(f"{100 * mean:.1f} (")
            assert (tmp_path / "out" / f"{name}-on-{database}" / "evaluation.html").exists()
    assert "warning: other-afnet on synthetic: 6 subjects have ids that the run was trained on" in done.stderr


def test_runs_that_mean_other_synthetic_subjects_get_no_table(run_folder, faces, stub, data_sets, call, tmp_path):
    """Their columns would hold accuracies on different data sets under one name."""
    settings = make_config(**{"dataset.synthetic_seed": 7})
    other = write_run(tmp_path / "other", faces, settings, weights=False)
    runs = [f"--workdir={folder}" for folder in (run_folder, other)]
    done = call(command.main, *runs, "--on=synthetic", f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 1 and "subjects of seed 7 for other; evaluate these runs one by one" in done.stderr
    assert done.stderr.count("\n") == 1 and not data_sets and not (tmp_path / "out").exists()
    done = call(command.main, *runs, "--on=bosphorus", f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--on=bosphorus"], "--workdir=…, --data_dir=… and --out=… must be given"),
        (["--on=a", "--on=a", "--workdir=r", "--data_dir=d", "--out=o"], "--on: a data set is given twice"),
        (["--on=a", "--workdir=r", "--data_dir=d", "--data_dir=e", "--out=o"], "as many as --on (1), found 2"),
        (["--on=a", "--workdir=r", "--data_dir=d", "--out=o", "--levels=x"], "such as 3,4, found 'x'"),
    ],
)
def test_wrong_arguments(arguments, told, call):
    done = call(command.main, *arguments)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("on", "told"), [("../x", "--on=../x: expected the name of a data set"), ("twice", "this run is given twice")]
)
def test_faults(on, told, run_folder, call, tmp_path):
    runs = [f"--workdir={run_folder}"] * (2 if on == "twice" else 1)
    done = call(command.main, *runs, f"--on={on}", f"--data_dir={tmp_path}", f"--out={tmp_path}")
    assert done.returncode == 1 and told in done.stderr and done.stderr.count("\n") == 1


def test_a_runs_own_folder_is_not_written_into(run_folder, call, tmp_path):
    before = (run_folder / "predictions.npz").read_bytes()
    given = (f"--workdir={run_folder}", "--on=bosphorus", f"--data_dir={tmp_path}", f"--out={run_folder}")
    done = call(command.main, *given)
    assert done.returncode == 1 and "holds a run, whose predictions would be lost" in done.stderr
    assert (run_folder / "predictions.npz").read_bytes() == before


def test_with_a_config_the_runs_own_checkpoints_are_tested(call, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(train, "main", lambda: seen.append(list(command.sys.argv)) or 0)
    assert call(command.main, "--config=synthetic", f"--workdir={tmp_path}").returncode == 0
    assert seen == [["command", "--mode=evaluate", "--config=synthetic", f"--workdir={tmp_path}"]]


def test_the_scans_that_a_run_learned_from_are_known_under_any_name(run, faces, stub):
    assert not evaluate_on(run, faces, BOSPHORUS).asked.all()
    with pytest.raises(RunError, match="holds the very scans that the run learned from"):
        evaluate_on(run, faces, OWN, people="other")


def test_runs_of_different_levels_get_no_table(run_folder, faces, stub, data_sets, call, tmp_path):
    other = write_run(tmp_path / "other", faces, make_config(**{"dataset.levels": (4,)}), weights=True)
    arguments = [f"--workdir={folder}" for folder in (run_folder, other)]
    arguments += ["--on=bosphorus", f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}"]
    done = call(command.main, *arguments)
    assert done.returncode == 1 and "the runs learned from different ones (3,4 for" in done.stderr
    assert call(command.main, *arguments, "--levels=4").returncode == 0
