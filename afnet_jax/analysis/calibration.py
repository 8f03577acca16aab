"""Calibration: whether a network is right as often as its probabilities say (Guo et al. 2017).

Temperature scaling divides a network's logits by one number before the softmax. It changes no decision, only how sure
the network is of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.special

BINS = 15  # of equal width, as in Guo et al.
_LEAST, _MOST = 0.05, 20.0  # temperatures that are looked through
_DRAWS = 500


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Counts how often N decisions of about the same confidence were right.

    Attributes:
        confidence: (BINS,) mean probability of the decisions in each bin, from 0 to 1; NaN in an empty one.
        accuracy: (BINS,) fraction of them that were right, likewise.
        count: (BINS,) how many they are.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: |accuracy - confidence|, averaged over bins by their counts."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(gaps @ self.count[filled] / self.count.sum())


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> Reliability:
    """Counts right decisions by their confidence.

    Args:
        probabilities: (N, 6).
        labels: (N,) true expressions.
    """
    return _binned(probabilities.max(-1), probabilities.argmax(-1) == labels)


def _binned(confidence: np.ndarray, right: np.ndarray) -> Reliability:
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(index, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(index, weights=each, minlength=BINS) / count for each in (confidence, right))
    return Reliability(mean, share, count)


def error_by_chance(probabilities: np.ndarray, scans: np.ndarray, *, seed: int = 0) -> float:
    """The mean calibration error of so many scans whose probabilities are exactly right: what chance alone leaves.

    The error of few scans is never 0. It is computed here of labels drawn from the probabilities themselves, one for
    each scan, however many rounds it was tested in: more rounds bring no more scans.

    Args:
        probabilities: (N, 6).
        scans: (N,) ids.
    """
    confidence, guess = probabilities.max(-1), probabilities.argmax(-1)
    ids, scan = np.unique(scans, return_inverse=True)
    steps, rng = probabilities.cumsum(-1)[:, :-1], np.random.default_rng(seed)
    draws = (rng.random(len(ids))[scan, None] for _ in range(_DRAWS))
    return float(np.mean([_binned(confidence, (steps < drawn).sum(-1) == guess).error for drawn in draws]))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature from 0.05 to 20 at which the labels are most probable.

    Args:
        logits: (N, 6).
        labels: (N,) true expressions.
    """
    logits = logits.astype(np.float64)

    def negative_log_likelihood(log_temperature: float) -> float:
        return mean_surprise(logits / np.exp(log_temperature), labels)

    bounds = np.log([_LEAST, _MOST])
    return float(np.exp(scipy.optimize.minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded").x))


def mean_surprise(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative log-likelihood of the true labels, nats."""
    return float(-scipy.special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean())


def held_out_temperatures(predictions: dict[str, np.ndarray], rounds: Sequence[int]) -> dict[tuple[int, int], float]:
    """(round, fold) -> the temperature for that fold's network, fitted without any scan that it is tested on.

    It is fitted on what the other folds' networks of the round say of their own test scans. Those are subjects of this
    fold's training part, each seen by a network that never learned from them. A round of a single fold has none.

    Args:
        predictions: columns of predictions.npz.
        rounds: those to fit.
    """
    temperatures = {}
    for round_ in rounds:
        of_round = predictions["round"] == round_
        for fold in np.unique(predictions["fold"][of_round]):
            others = of_round & (predictions["fold"] != fold)
            if others.any():
                found = fit_temperature(predictions["logits"][others], predictions["label"][others])
                temperatures[int(round_), int(fold)] = found
    return temperatures


def scaled_logits(
    predictions: dict[str, np.ndarray], temperatures: dict[tuple[int, int], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows whose training has a temperature, (rows,) bool, and their logits divided by it, (n, 6)."""
    keys = zip(predictions["round"].tolist(), predictions["fold"].tolist(), strict=True)
    of_row = np.array([temperatures.get(key, np.nan) for key in keys], np.float64)
    known = np.isfinite(of_row)
    return known, predictions["logits"][known].astype(np.float64) / of_row[known, None]


def calibration(logits: np.ndarray, labels: np.ndarray, scans: np.ndarray) -> dict:
    """The calibration of N decisions, as it stands in a JSON file.

    Args:
        logits: (N, 6), divided by their temperatures where there are any.
        labels: (N,) true expressions.
        scans: (N,) ids; one that several rounds tested stands there as often.

    Returns:
        "ece", the expected calibration error; "ece_by_chance", see `error_by_chance`; "nll", the mean negative
        log-likelihood; "bins": {"confidence", "accuracy", "count"} of each of the 15 bins, None in an empty one.
    """
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=-1)
    found = reliability(probabilities, labels)
    return {
        "ece": found.error,
        "ece_by_chance": error_by_chance(probabilities, scans),
        "nll": mean_surprise(logits.astype(np.float64), labels),
        "bins": {
            "confidence": [float(c) if n else None for c, n in zip(found.confidence, found.count, strict=True)],
            "accuracy": [float(a) if n else None for a, n in zip(found.accuracy, found.count, strict=True)],
            "count": found.count.tolist(),
        },
    }


def run_calibration(predictions: dict[str, np.ndarray], rounds: Sequence[int]) -> dict | None:
    """The calibration of a run's networks on scans that they never learned from, before and after scaling.

    Args:
        predictions: columns of predictions.npz.
        rounds: the complete ones.

    Returns:
        What `calibration` gives, with "temperatures", a list for each round of one for each fold, and "scaled", the
        same with each fold's logits divided by its temperature (`held_out_temperatures`); both None where a round has
        one fold alone. None without a complete round.
    """
    chosen = np.isin(predictions["round"], rounds)
    if not chosen.any():
        return None
    rows = {name: column[chosen] for name, column in predictions.items()}
    temperatures = held_out_temperatures(rows, rounds)
    known, scaled = scaled_logits(rows, temperatures)
    per_round = [[t for (of, _), t in temperatures.items() if of == round_] for round_ in rounds]
    return {
        **calibration(rows["logits"], rows["label"], rows["scan_id"]),
        "temperatures": per_round if known.all() else None,
        "scaled": calibration(scaled, rows["label"], rows["scan_id"]) if known.all() else None,
    }
