import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from afnet_jax.analysis import load_run
from afnet_jax.analysis.significance import compare, corrected_t_test, subject_bootstrap
from afnet_jax.errors import RunError
from tests.analysis.conftest import make_config, write_run


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


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_differences_without_variation(value, p):
    assert corrected_t_test(np.full(8, value), 1 / 9).p == p


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


def test_other_splits_are_refused(run, tmp_path, faces):
    other = load_run(write_run(tmp_path, faces, make_config(**{"protocol.folds": 3})))
    with pytest.raises(RunError, match="split differently"):
        compare(run, other)
