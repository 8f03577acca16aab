"""Linear models on the splits of a run: what its network must beat to earn its cost.

Multinomial logistic regression (C = 0.1) on standardised features: the landmarks' places in the canonical frame, which
a network sees as masks alone; depth and grey, reduced to 32×32 pixels.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import threadpoolctl
from scipy.special import log_softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from afnet_jax.analysis.countdown import Countdown
from afnet_jax.analysis.metrics import complete_rounds, score, why_incomplete
from afnet_jax.analysis.run import Run
from afnet_jax.analysis.significance import Comparison, compare_predictions, p_value, rows_of
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.datasets.reduction import area_mean
from afnet_jax.errors import RunError
from afnet_jax.protocol import Fold
from afnet_jax.scans.scan import EXPRESSIONS
from afnet_jax.sha256 import digest_of

SIZE = 32  # edge of the images that they see, pixels
SIGNIFICANT = 0.05
_OUTSIDE_MM = -60.0  # depth of what is not face


class NoFeatures(RunError):
    """A data set that lacks what a linear model looks at."""


def landmark_features(data: FaceDataset) -> np.ndarray:
    """(N, 3 × landmarks) mm of those landmarks that every scan has.

    Raises:
        NoFeatures: there are none.
    """
    if data.landmarks is None:
        raise NoFeatures("the data set holds no landmarks")
    places = data.landmarks.reshape(len(data.landmarks), -1)
    shared = np.isfinite(places).all(0)
    if not shared.any():
        bare = data.scan_ids[~np.isfinite(places).any(1)]
        raise NoFeatures("no landmark is there in every scan" + (f"; {bare[0]} has none at all" if len(bare) else ""))
    return places[:, shared]


def depth_features(data: FaceDataset) -> np.ndarray:
    """(N, 32 × 32) mm, -60 outside the face."""
    reduced = np.stack([area_mean(image[..., 0].astype(np.float32), SIZE, math.nan) for image in data.maps.depth])
    return np.nan_to_num(reduced, nan=_OUTSIDE_MM).reshape(len(reduced), -1)


def grey_features(data: FaceDataset) -> np.ndarray:
    """(N, 32 × 32) mean of red, green and blue, 0 to 255."""
    reduced = np.stack([area_mean(image, SIZE, 0) for image in data.maps.texture])
    return reduced.mean(-1).reshape(len(reduced), -1)


# Name of a linear model -> what it sees of a data set.
FEATURES: dict[str, Callable[[FaceDataset], np.ndarray]] = {
    "landmarks": landmark_features,
    "depth": depth_features,
    "texture": grey_features,
    "depth and texture": lambda data: np.concatenate([depth_features(data), grey_features(data)], axis=1),
}


def predict_folds(
    features: np.ndarray, data: FaceDataset, folds: Sequence[Fold], done: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Trains a linear model on each fold's training scans and tests it on the others.

    Args:
        features: (N, D) of the data set's scans.
        data: the data set.
        folds: the splits.
        done: called after each fold.

    Returns:
        Columns as in predictions.npz: a row for every test scan and round.
    """
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("round", "fold", "subject", "scan_id", "label", "logits")
    }
    for fold in folds:
        train, test = (np.flatnonzero(np.isin(data.subjects, part)) for part in (fold.train, fold.test))
        columns["round"].append(np.full(len(test), fold.round, np.int32))
        columns["fold"].append(np.full(len(test), fold.fold, np.int32))
        for name, column in (("subject", data.subjects), ("scan_id", data.scan_ids), ("label", data.labels)):
            columns[name].append(column[test])
        columns["logits"].append(_fitted(features[train], data.labels[train])(features[test]))
        done()
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _fitted(features: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A model of these scans: (n, D) features -> (n, 6) log-probabilities, -inf of an expression it never saw."""
    if (shown := np.unique(labels)).size == 1:  # which needs no regression
        return lambda tested: np.where(np.arange(len(EXPRESSIONS)) == shown[0], 0.0, np.full((len(tested), 1), -np.inf))
    # All of the principal axes: they only turn the features into fewer columns where there are more than scans, which
    # leaves the solution of a regression with an L2 penalty as it is, and makes it several times faster.
    model = make_pipeline(StandardScaler(), PCA(), LogisticRegression(C=0.1, max_iter=3000))
    # One thread: several wait for one another longer than they compute.
    # Features that are the same in all scans have no variance to share out.
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)

    def log_probabilities(tested: np.ndarray) -> np.ndarray:
        found = np.full((len(tested), len(EXPRESSIONS)), -np.inf)
        found[:, model.classes_] = model.predict_log_proba(tested)
        return found

    return log_probabilities


def together(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], rounds: Sequence[int]
) -> dict[str, np.ndarray]:
    """Two models of the same splits as one: the product of their probabilities, up to its scale.

    Each was trained without the scans that it tests, and nothing is fitted here, so that it is as honest as they are.

    Args:
        one, other: columns of predictions.npz, each with a row for every test scan of these rounds.
        rounds: those that are taken.

    Returns:
        Columns as in predictions.npz, by round, fold and scan id.
    """
    ours, theirs = rows_of(one, rounds), rows_of(other, rounds)
    return ours | {"logits": log_softmax(ours["logits"], axis=-1) + log_softmax(theirs["logits"], axis=-1)}


def run_baselines(run: Run, data: FaceDataset, *, most_rounds: int | None = None) -> dict:
    """Trains the linear models on a run's splits and compares its network with each.

    Args:
        run: with at least one complete round.
        data: the run's data set.
        most_rounds: compare on so many of the complete rounds, the first ones; all by default.

    Returns:
        The content of baselines.json: "rounds" that were compared, "network", its mean accuracy on them,
        "predictions", their digest, "landmarks_found", the share of scans whose landmarks no file gave, and for each
        model in "models": "features", how many numbers of a scan it sees, "accuracy" as in summary.json, and
        "difference", that of the network less its own, with "t_test" and "bootstrap" of `significance.Comparison`,
        None where they are not defined. A model whose features the data set lacks has "reason" alone. "together" is the
        network with the model on landmarks (`together`), None where there is none: "accuracy", "difference" and its
        tests as for a model, and "over_landmarks", what it has over that model alone.
        `afnet compare` adds "rests_on" (`reliance.rests_on`).

    Raises:
        RunError: no round is complete, or the data set is not the run's.
    """
    if run.environment.get("data_sha256") != data.digest:
        raise RunError(f"{run.path}: this data set is not the one that the run learned from; give its own --data_dir")
    predictions = run.predictions
    rounds = complete_rounds(predictions, run.splits)[:most_rounds]
    if not rounds:
        raise RunError(f"{run.path}: no round is complete: {why_incomplete(predictions, run.splits)}")
    folds = [fold for fold in run.splits if fold.round in rounds]
    counted = Countdown("linear models, fits", len(folds) * len(FEATURES))
    models, both = {}, None
    for name, see in FEATURES.items():
        try:
            features = see(data)
        except NoFeatures as error:
            models[name] = {"reason": str(error)}
            counted.add(len(folds))
            continue
        theirs = predict_folds(features, data, folds, counted.add)
        compared = compare_predictions(predictions, theirs, run.splits, rounds)
        models[name] = {
            "features": features.shape[1],
            "accuracy": score(theirs, rounds)["accuracy"],
            **_as_json(compared),
        }
        if name == "landmarks":
            joint = together(predictions, theirs, rounds)
            both = {
                "accuracy": score(joint, rounds)["accuracy"],
                **_as_json(compare_predictions(predictions, joint, run.splits, rounds)),
                "over_landmarks": _as_json(compare_predictions(joint, theirs, run.splits, rounds)),
            }
    found = data.landmarks_found
    return {
        "rounds": rounds,
        "network": score(predictions, rounds)["accuracy"]["mean"],
        "predictions": digest_of(predictions["scan_id"], predictions["logits"]),
        "landmarks_found": None if found is None else float(found.mean()),
        "models": models,
        "together": both,
    }


def best_of(baselines: dict) -> tuple[str, dict]:
    """Returns the name and the numbers of the linear model that is right most often."""
    models = {name: model for name, model in baselines["models"].items() if "reason" not in model}
    name = max(models, key=lambda each: models[each]["accuracy"]["mean"])
    return name, models[name]


def verdict(baselines: dict) -> str:
    """Returns in a sentence or two whether the network earns its cost beside the best of the linear models."""
    return " ".join([_beside_the_best(baselines), *_with_landmarks(baselines)])


def _beside_the_best(baselines: dict) -> str:
    name, model = best_of(baselines)
    points, p = 100 * model["difference"], model["t_test"]["p"]
    told = _significance(p)
    best = f"the best linear model, logistic regression on {name}"
    if p is None or p >= SIGNIFICANT:
        return f"The network is not shown to differ from {best}: {points:+.1f} points, {told}.".replace("-", "−")
    if points < 0:
        return f"The network does worse than {best}, by {-points:.1f} points ({told})."
    return f"The network does better than {best}, by {points:.1f} points ({told})."


def _with_landmarks(baselines: dict) -> list[str]:
    joint = baselines.get("together")  # which the files of earlier versions lack
    if joint is None:
        return []
    share, alone = 100 * joint["accuracy"]["mean"], joint["over_landmarks"]
    points, told = f"{100 * alone['difference']:+.1f}".replace("-", "−"), _significance(alone["t_test"]["p"])
    return [f"Network and landmarks together reach {share:.1f} %, {points} points beside landmarks alone ({told})."]


def _significance(p: float | None) -> str:
    if p is None:
        return "too few folds for a test"
    told = p_value(p)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def are_of(stored: dict, run: Run) -> bool:
    """Tells whether baselines were compared with the predictions that the run has now."""
    predictions = run.predictions
    if not isinstance(stored, dict) or "rounds" not in stored:
        return False
    return stored.get("predictions") == digest_of(predictions["scan_id"], predictions["logits"])


def _as_json(compared: Comparison) -> dict:
    t_test = {key: _or_none(value) for key, value in dataclasses.asdict(compared.t_test).items() if key != "effect"}
    bootstrap = {"interval": _or_none(compared.bootstrap_interval), "p": _or_none(compared.bootstrap_p)}
    return {"difference": compared.difference, "t_test": t_test, "bootstrap": bootstrap}


def _or_none(value):
    """A number or interval as JSON has them, which knows neither NaN nor infinity."""
    if isinstance(value, tuple):
        return None if not np.isfinite(value).all() else list(value)
    return value if math.isfinite(value) else None
