"""Predictions that are called doubtful."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from afnet_jax.analysis.doubt import doubt_below
from afnet_jax.analysis.prediction import Face, Prediction, to_table
from afnet_jax.errors import RunError


class OfLogits:
    """A run of which only the predictions are asked."""

    def __init__(self, logits):
        self._logits = logits

    @property
    def predictions(self):
        if self._logits is None:
            raise RunError("none yet")
        return {"logits": self._logits}


def test_a_twentieth_of_the_runs_own_test_scans_is_doubtful():
    sure = np.linspace(0.2, 0.99, 400)  # probability of the likeliest of six
    others = (1 - sure) / 5
    logits = np.log(np.stack([sure, *[others] * 5], axis=1))
    least = doubt_below(OfLogits(logits))
    assert least == pytest.approx(0.2 + 0.05 * 0.79, abs=2e-3)
    assert np.mean(sure < least) == pytest.approx(0.05, abs=0.005)


def test_without_predictions_nothing_is_doubtful():
    assert doubt_below(OfLogits(None)) == 0
    assert doubt_below(OfLogits(np.full((3, 6), np.nan))) == 0


def test_doubt_is_said_in_the_table_and_in_json(faces):
    maps = jax.tree.map(lambda m: m[0], faces.maps)
    face = Face(Path("a.obj"), "a", maps)
    sure = Prediction(face, np.array([0.6, 0.1, 0.1, 0.1, 0.05, 0.05]), doubt_below=0.4)
    unsure = Prediction(face, np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1]), doubt_below=0.4, synthetic_only=True)
    assert not sure.doubtful and unsure.doubtful
    assert (
        json.loads(unsure.to_json()).items() >= {"doubtful": True, "doubt_below": 0.4, "synthetic_only": True}.items()
    )
    table = to_table([sure, unsure])
    assert "anger?" in table and "anger " in table and "? below 40%" in table
    assert "?" not in to_table([sure])
