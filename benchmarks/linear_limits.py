"""How much of the expressions linear models can tell, on prepared maps of people whom nobody here has drawn.

python -m benchmarks.linear_limits bosphorus_format.npz

Fisher's linear discriminant analysis measures distances by the covariance within the classes, and so counts the ways
in which people differ for little; its covariance is shrunk towards a sphere by a fixed 0.3. It sees the landmarks, the
gradients of depth and of grey at every second pixel, and all of them; once more on fewer subjects, which tells what
more people would bring. All scans, tested ones too, say how features are scaled, without their labels. Folds, rounds
and file are those of `benchmarks.transfer`.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from afnet_jax.datasets.loading import FaceDataset
from benchmarks.transfer import draw_folds, read_maps

_SHRINKAGE = 0.3
_STEEPEST_MM = 5.0  # of depth, a pixel: what is steeper is the rim
_OUTSIDE_MM = -70.0


def gradients(images: np.ndarray, most: float = math.inf) -> np.ndarray:
    """(N, H, W) -> (N, H·W/2): what each changes by down and right, at every second pixel."""
    both = np.stack([np.gradient(images, axis=axis)[:, ::2, ::2] for axis in (1, 2)], axis=1)
    return both.clip(-most, most).reshape(len(images), -1)


def features_of(data: FaceDataset, marks: np.ndarray) -> dict[str, np.ndarray]:
    """By name (N, D): what the models see, each of total variance 1, the landmarks' 4 where all come together."""
    depth = np.nan_to_num(data.maps.depth[..., 0].astype(np.float32), nan=_OUTSIDE_MM)
    grey = data.maps.texture.mean(-1, dtype=np.float32)
    grey = (grey - grey.mean((1, 2), keepdims=True)) / grey.std((1, 2), keepdims=True)
    parts = {
        "landmarks": (marks - marks.mean(0)) / marks.std(0),
        "depth": gradients(depth, _STEEPEST_MM),
        "texture": gradients(grey),
    }
    parts = {name: (x - x.mean(0)) / np.sqrt(x.var(0).sum()) for name, x in parts.items()}
    together = np.concatenate([2 * parts["landmarks"], parts["depth"], parts["texture"]], axis=1)
    return {name: principal_axes(x) for name, x in (parts | {"all": together}).items()}


def principal_axes(features: np.ndarray) -> np.ndarray:
    """The same points along the axes that they differ along: as far from one another, in at most N numbers."""
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    return left * sizes


def told(features: np.ndarray, data: FaceDataset, folds, share: float) -> np.ndarray:
    """(folds,) accuracy of models that learn from this share of each fold's training subjects, drawn by the fold."""
    found = []
    for fold in folds:
        order = np.random.default_rng([fold.round, fold.fold]).permutation(fold.train)
        train = np.isin(data.subjects, order[: round(share * len(order))])
        test = np.isin(data.subjects, fold.test)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE)
        model.fit(features[train], data.labels[train])
        found.append((model.predict(features[test]) == data.labels[test]).mean())
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", type=Path, help=".npz of prepared maps")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of five folds")
    given = parser.parse_args()
    data, marks = read_maps(given.maps, 64)
    folds = draw_folds(data.subjects, given.rounds)
    for name, features in features_of(data, marks).items():
        for share in (0.25, 0.5, 0.75, 1.0):
            per_round = told(features, data, folds, share).reshape(given.rounds, -1).mean(1)
            error = per_round.std(ddof=1) / given.rounds**0.5
            subjects = round(share * len(folds[0].train))
            print(f"{name:10s} {subjects:3d} subjects  {per_round.mean():.3f} ± {error:.3f}", flush=True)


if __name__ == "__main__":
    main()
