"""Counts how often predictions of a run are called doubtful: on neutral faces, on weak and on strong expressions.

    python -m benchmarks.neutral --run=runs/synthetic [--subjects=20] [--seed=900]

The subjects are synthetic and nobody whom the run has seen; each shows a neutral face, and two expressions at each of
the levels 1, 2 and 4.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from afnet_jax.analysis.prediction import Predictor
from afnet_jax.analysis.run import load_run
from afnet_jax.datasets.records import drawn_maps
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans.scan import EXPRESSION_CODES, NEUTRAL_CODE
from afnet_jax.synthetic import make_scan

LEVELS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of a finished run")
    parser.add_argument("--subjects", type=int, default=20, help="(default: 20)")
    parser.add_argument("--seed", type=int, default=900, help="of the subjects (default: 900)")
    given = parser.parse_args()
    run = load_run(given.run)
    predictor, settings = Predictor(run), run.config
    maps, kinds, labels = [], [], []
    for subject in range(given.subjects):
        print(f"subject {subject + 1} of {given.subjects}", file=sys.stderr, flush=True)
        for code, level in [(NEUTRAL_CODE, None), *_shown(subject)]:
            scan, _ = make_scan(subject, code, level, database="bu3dfe", seed=given.seed)
            face = preprocess(scan)
            size, seen = settings.dataset.image_size, settings.model.modalities
            maps.append(reduce_maps(drawn_maps(face), face.mm_per_pixel, size, seen))
            kinds.append("neutral" if level is None else f"level {level}")
            labels.append(-1 if level is None else EXPRESSION_CODES.index(code))
    _print(predictor(stack(maps)), np.array(kinds), np.array(labels), predictor.doubt_below)


def _shown(subject: int) -> list[tuple[str, int]]:
    """Two expressions of a subject at each level, so that all six come alike often."""
    at = [2 * (subject + k) for k in range(len(LEVELS))]
    return [(EXPRESSION_CODES[(k + half) % 6], level) for k, level in zip(at, LEVELS, strict=True) for half in (0, 1)]


def _print(probabilities: np.ndarray, kinds: np.ndarray, labels: np.ndarray, least: float) -> None:
    top, right = probabilities.max(axis=-1), probabilities.argmax(axis=-1) == labels
    doubted = top < least
    print(f"doubtful below {least:.3f}")
    for kind in dict.fromkeys(kinds):
        own = kinds == kind
        line = f"{kind}: {own.sum()} scans, {doubted[own].mean():.0%} doubtful, median {np.median(top[own]):.2f}"
        if kind != "neutral":
            sure = own & ~doubted
            line += f", right {right[own].mean():.0%} of all, {right[sure].mean():.0%} of those not doubtful"
        print(line)
    area = _area(top[kinds == "neutral"], top[kinds == "level 4"])
    print(f"a scan of level 4 is surer than a neutral one in {area:.0%} of all pairs")


def _area(low: np.ndarray, high: np.ndarray) -> float:
    """Returns how often a value of the second kind exceeds one of the first."""
    return float((high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean())


if __name__ == "__main__":
    main()
