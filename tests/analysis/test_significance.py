import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import make_moons
from sklearn.metrics import accuracy_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from afnet_jax.analysis import load_run
from afnet_jax.analysis.significance import compare, corrected_t_test, subject_bootstrap
from afnet_jax.analysis.tables import signed, variants_table
from afnet_jax.errors import RunError
from tests.support.finished_run import make_config, splits_of, write_run


def test_published_example():
    """scikit-learn's "Statistical comparison of models using grid search": t = 0.750, one-sided p = 0.227."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    scores = [
        cross_val_score(SVC(kernel=kernel, random_state=0), x, y, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    ]
    found = corrected_t_test(scores[0] - scores[1], 10 / 90)
    assert round(found.t, 3) == 0.750
    assert round(found.p / 2, 3) == 0.227


def test_without_shared_training_data_it_is_students():
    differences = np.random.default_rng(3).normal(0.02, 0.05, 20)
    found, expected = corrected_t_test(differences, 0.0), scipy.stats.ttest_1samp(differences, 0)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("count", [2, 8])
def test_differences_without_variation(count):
    """Equal is equal; but folds that all differ by the same, as a few do by chance, show no variance to test by."""
    assert corrected_t_test(np.zeros(count), 1 / 9).p == 1
    found = corrected_t_test(np.full(count, 0.1), 1 / 9)
    assert np.isnan([found.p, found.t, *found.interval]).all() and found.effect == pytest.approx(0.1)


def test_bootstrap_draws_whole_subjects():
    """With as many scans of each, the interval is that of the subjects' means (normal theory, 60 subjects)."""
    rng = np.random.default_rng(0)
    of_subject = rng.normal(0.03, 0.1, 60)
    differences = np.repeat(of_subject, 12) + rng.normal(0, 0.01, 720)
    (low, high), p = subject_bootstrap(differences, np.repeat(np.arange(60), 12))
    error = of_subject.std(ddof=1) / np.sqrt(60)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (low + high) / 2 == pytest.approx(differences.mean(), abs=0.2 * error)
    assert p == pytest.approx(2 * scipy.stats.norm.sf(differences.mean() / error), abs=0.02)


@pytest.fixture(scope="module")
def better(tmp_path_factory, faces):
    return load_run(write_run(tmp_path_factory.mktemp("better"), faces, make_config(), skill=6.0, seed=1))


def test_two_runs(run, better):
    found = compare(better, run)
    assert found.one == pytest.approx(better.summary["accuracy"]["mean"])
    assert found.other == pytest.approx(run.summary["accuracy"]["mean"])
    assert found.difference == pytest.approx(found.t_test.effect)
    assert found.bootstrap_interval[0] < found.difference < found.bootstrap_interval[1]
    assert found.rounds == 2 and found.subjects == 6 and found.t_test.degrees == 3
    back = compare(run, better)
    assert back.t_test.p == pytest.approx(found.t_test.p) and back.difference == pytest.approx(-found.difference)


def test_a_run_beside_itself_differs_by_nothing(run):
    found = compare(run, run)
    assert found.difference == 0 and found.t_test.p == 1 and found.bootstrap_p == 1


@pytest.mark.parametrize(
    ("splits", "ratio"),
    [
        # Three folds of two of six subjects; the other four are trained on. Two rounds.
        (splits_of(*[[("3456", "12"), ("1256", "34"), ("1234", "56")]] * 2), 1 / 2),
        # Repeated hold-out: one fold a round, two subjects tested, four trained on.
        (splits_of([("3456", "12")], [("1256", "34")], [("1234", "56")], [("2345", "16")]), 1 / 2),
        # Half of the subjects who are not tested are left out of the training, too.
        (splits_of([("34", "12"), ("56", "34"), ("12", "56")], [("25", "36"), ("46", "15"), ("31", "24")]), 1),
        # One training on a single subject is tested on three: every fold has its own ratio.
        (splits_of([("1", "236"), ("236", "145")], [("23456", "1"), ("1", "2345")]), (3 + 1 + 1 / 5 + 4) / 4),
    ],
)
def test_correction_takes_sizes_from_the_splits(splits, ratio, tmp_path, faces):
    """Beside SciPy's plain t-test, whose t the correction divides by sqrt(1 + n test/train)."""
    one, other = (
        load_run(write_run(tmp_path / name, faces, make_config(), splits=splits, skill=skill, seed=seed))
        for name, skill, seed in (("one", 3.0, 1), ("other", 1.5, 2))
    )
    differences = []
    folds_of_round = len(splits) / len({fold.round for fold in splits})
    for fold in splits:
        accuracies = []
        for run in (one, other):
            rows = (run.predictions["round"] == fold.round) & (run.predictions["fold"] == fold.fold)
            found = run.predictions["logits"][rows].argmax(-1)
            accuracies.append(accuracy_score(run.predictions["label"][rows], found))
        weight = rows.sum() * folds_of_round / (run.predictions["round"] == fold.round).sum()  # a fold's scans count
        differences.append(weight * (accuracies[0] - accuracies[1]))
    plain = scipy.stats.ttest_1samp(differences, 0)
    t = plain.statistic / np.sqrt(1 + len(splits) * ratio)
    compared = compare(one, other)
    found = compared.t_test
    assert (
        found.effect == pytest.approx(np.mean(differences)) == compared.difference and found.degrees == len(splits) - 1
    )
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(t), len(splits) - 1)) and 0 < found.p < 1
    low, high = plain.confidence_interval(0.95)
    wider = np.sqrt(1 + len(splits) * ratio)
    assert found.interval[1] - found.interval[0] == pytest.approx(wider * (high - low))


def test_a_single_fold_has_no_p(tmp_path, faces):
    splits = splits_of([("12345", "6")])
    runs = [
        load_run(write_run(tmp_path / name, faces, make_config(), splits=splits, skill=skill))
        for name, skill in (("one", 6.0), ("other", 0.0))
    ]
    found = compare(*runs)
    assert found.difference > 0 and np.isnan([found.t_test.p, *found.t_test.interval, found.bootstrap_p]).all()
    cells = variants_table(dict(zip(("afnet", "no_ma"), runs, strict=True)), {"no_ma": found}).rows[1]
    assert cells[-2:] == ("–", "–") and cells[-3] == signed(-100 * found.difference)


def test_other_splits_are_refused(run, tmp_path, faces):
    other = load_run(write_run(tmp_path, faces, make_config(**{"protocol.folds": 3})))
    with pytest.raises(RunError, match="split differently"):
        compare(run, other)
