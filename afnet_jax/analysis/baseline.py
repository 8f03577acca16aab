"""A linear baseline on the splits of a run, which the network should beat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.protocol import Fold

SIZE = 32  # edge of the images it sees, pixels
_OUTSIDE_MM = -60.0  # depth of what is not face


def pixel_regression(data: FaceDataset, folds: Sequence[Fold]) -> list[float]:
    """Accuracy of multinomial logistic regression on standardised depth and grey pixels, round by round.

    Args:
        data: the data set at image size `SIZE`.
        folds: the splits; each round's folds are pooled, as `metrics.score` pools them.

    Returns:
        One fraction per round.
    """
    pixels = _pixels(data)
    right: dict[int, list[bool]] = {}
    for fold in folds:
        train, test = np.isin(data.subjects, fold.train), np.isin(data.subjects, fold.test)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=300))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 2,048 pixels of some 200 scans part perfectly
            model.fit(pixels[train], data.labels[train])
        right.setdefault(fold.round, []).extend(model.predict(pixels[test]) == data.labels[test])
    return [float(np.mean(right[round_])) for round_ in sorted(right)]


def _pixels(data: FaceDataset) -> np.ndarray:
    depth = np.nan_to_num(data.maps.depth.astype(np.float32), nan=_OUTSIDE_MM)
    grey = data.maps.texture.astype(np.float32).mean(-1)
    return np.concatenate([depth.reshape(len(depth), -1), grey.reshape(len(grey), -1)], axis=1)
