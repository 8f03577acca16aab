"""Paired comparison of two runs on the same splits: is one better than the other, or is it chance?

Two answers: the corrected resampled t-test for repeated cross-validation (Nadeau and Bengio, "Inference for the
Generalization Error", 2003; for repeated folds Bouckaert and Frank, 2004), and a bootstrap over subjects, which asks
what other people would have given.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from afnet_jax.analysis.metrics import complete_rounds
from afnet_jax.analysis.run import Run
from afnet_jax.errors import RunError
from afnet_jax.protocol import Fold

CONFIDENCE = 0.95  # of every interval
_RESAMPLES = 9999  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class TTest:
    """Corrected resampled t-test of paired differences; p is two-sided.

    Attributes:
        effect: mean difference over folds.
        interval: of the effect, at CONFIDENCE.
        t, degrees, p: statistic, degrees of freedom, two-sided p.
    """

    effect: float
    interval: tuple[float, float]
    t: float
    degrees: int
    p: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One run beside another. Accuracies are fractions, differences are `one` - `other`.

    Attributes:
        one, other: mean accuracy of each over the compared rounds.
        rounds, subjects: what was compared.
        t_test: over folds and rounds.
        bootstrap_interval, bootstrap_p: of the difference, over subjects.
    """

    one: float
    other: float
    rounds: int
    subjects: int
    t_test: TTest
    bootstrap_interval: tuple[float, float]
    bootstrap_p: float

    @property
    def difference(self) -> float:
        """Mean accuracy of `one` - that of `other`."""
        return self.one - self.other


def compare(one: Run, other: Run) -> Comparison:
    """Compares two runs on the rounds that both have finished.

    Args:
        one, other: the runs; their splits must be the same.

    Raises:
        RunError: the runs differ in splits or scans, or share no finished round.
    """
    if one.splits != other.splits:
        raise RunError(
            f"{one.path} and {other.path} were split differently and cannot be compared pair by pair; "
            f"give both the same protocol, or --config.protocol.splits={one.path / 'splits.json'}"
        )
    finished = [complete_rounds(run.predictions, run.splits) for run in (one, other)]
    rounds = sorted(set(finished[0]) & set(finished[1]))
    if not rounds:
        raise RunError(f"{one.path} and {other.path} share no finished round; finish both")
    mine, theirs = (rows_of(run.predictions, rounds) for run in (one, other))
    for column in ("round", "fold", "scan_id", "label"):
        if not np.array_equal(mine[column], theirs[column]):
            raise RunError(f"{one.path} and {other.path} tested different scans; compare runs on one data set")
    return compare_predictions(mine, theirs, one.splits, rounds)


def compare_predictions(
    one: dict[str, np.ndarray],
    other: dict[str, np.ndarray],
    splits: Sequence[Fold],
    rounds: Sequence[int],
) -> Comparison:
    """Compares two models by what they say of the same test scans.

    Args:
        one, other: columns of predictions.npz, each with a row for every test scan of these rounds.
        splits: the folds of both.
        rounds: those that are compared; all of their folds are tested.
    """
    mine, theirs = rows_of(one, rounds), rows_of(other, rounds)
    right = [(p["logits"].argmax(-1) == p["label"]).astype(float) for p in (mine, theirs)]
    means = [np.mean([r[mine["round"] == k].mean() for k in rounds]) for r in right]
    difference, subjects = right[0] - right[1], mine["subject"]
    interval, p = subject_bootstrap(difference, subjects)
    return Comparison(
        one=float(means[0]),
        other=float(means[1]),
        rounds=len(rounds),
        subjects=len(np.unique(subjects)),
        t_test=corrected_t_test(*_fold_differences(difference, mine, rounds, splits)),
        bootstrap_interval=interval,
        bootstrap_p=p,
    )


def rows_of(predictions: Mapping[str, np.ndarray], rounds: Sequence[int]) -> dict[str, np.ndarray]:
    """Returns the rows of these rounds by round, fold and scan id.

    Args:
        predictions: columns of predictions.npz.
        rounds: those that are taken.
    """
    order = np.lexsort((predictions["scan_id"], predictions["fold"], predictions["round"]))
    order = order[np.isin(predictions["round"][order], rounds)]
    return {name: column[order] for name, column in predictions.items()}


def _fold_differences(
    difference: np.ndarray, rows: dict, rounds: Sequence[int], splits: Sequence[Fold]
) -> tuple[np.ndarray, np.ndarray]:
    """Difference in accuracy of each fold of these rounds, and its ratio of test to training subjects.

    A fold counts by its scans: the mean over a round's folds is the difference of the round's accuracies.
    """
    folds = [fold for fold in splits if fold.round in rounds]
    found = []
    for fold in folds:
        of_round = rows["round"] == fold.round
        mean_scans = of_round.sum() / sum(each.round == fold.round for each in folds)
        found.append(difference[of_round & (rows["fold"] == fold.fold)].sum() / mean_scans)
    return np.array(found), np.array([len(fold.test) / len(fold.train) for fold in folds])


def corrected_t_test(differences: np.ndarray, test_to_train: float | np.ndarray) -> TTest:
    """Corrected resampled t-test: the variance of the mean is (1/n + test/train) s², as folds share training data.

    Args:
        differences: (n,) of one fold each, over all folds of all rounds.
        test_to_train: size of a fold's test part for each unit of its training part (1/9 for 10 folds), one for all or
            (n,) of each fold; the correction takes their mean.

    Returns:
        The test; statistic, p and interval are NaN where there is no variance: for a single difference, and for several
        equal ones, whose p is 1 where they are 0.
    """
    differences = np.asarray(differences, np.float64)
    degrees, effect = len(differences) - 1, float(differences.mean())
    if degrees == 0:
        return TTest(effect, (math.nan, math.nan), math.nan, 0, math.nan)
    error = float(np.sqrt((1 / len(differences) + np.mean(test_to_train)) * differences.var(ddof=1)))
    reach = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * error
    if error <= 1e-9 * abs(effect):  # equal to rounding: two or three folds of few scans are so by chance
        return TTest(effect, (math.nan, math.nan), math.nan, degrees, 1.0 if effect == 0 else math.nan)
    t = effect / error
    p = float(2 * scipy.stats.t.sf(abs(t), degrees))
    return TTest(effect, (float(effect - reach), float(effect + reach)), t, degrees, p)


def p_value(p: float) -> str:
    """Returns p as it is printed: 0.1234 -> "0.123", and "< 0.001" of what would be rounded to 0."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def subject_bootstrap(differences: np.ndarray, subjects: np.ndarray) -> tuple[tuple[float, float], float]:
    """Percentile interval and two-sided p of a mean difference, whole subjects drawn with replacement.

    Args:
        differences: (rows,) of one scan in one round each.
        subjects: (rows,) who it was.

    Returns:
        The interval and p; NaN for a single subject, of whom nothing can be drawn anew.
    """
    _, index = np.unique(subjects, return_inverse=True)
    sums, counts = np.bincount(index, weights=differences), np.bincount(index)
    if len(counts) == 1:
        return (math.nan, math.nan), math.nan
    drawn = scipy.stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        vectorized=True,
        batch=999,
        n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    tails = [(drawn.bootstrap_distribution <= 0).sum(), (drawn.bootstrap_distribution >= 0).sum()]
    p = min(1.0, 2 * (min(tails) + 1) / (_RESAMPLES + 1))
    return (float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)), float(p)
