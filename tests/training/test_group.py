"""A group's trainings whose numbers stop being finite, and how many are computed."""

import numpy as np

from afnet_jax.training.devices import GroupProgram
from afnet_jax.training.group import accuracies, without_predictions
from afnet_jax.training.plan import Training

GROUP = [Training(0, fold, np.arange(0), np.arange(4)) for fold in range(3)]
LABELS = np.array([0, 1, 2, 3, 4, 5])


def logits():
    found = np.eye(6)[None, [0, 1, 2, 0, 0]].repeat(4, axis=0)  # a row that fills up, and a place that does
    found[1, 2, 5] = np.nan
    found[0, 4] = np.nan  # of no test scan
    return found


def test_trainings_that_predict_nothing_finite_are_given_up(caplog):
    place = {"epoch": 2, "step": 7}
    assert without_predictions(GROUP, logits(), {}, place) == {"0/1": place}
    assert "round 0 fold 1: its predictions are not finite" in caplog.text
    assert without_predictions(GROUP, logits(), {"0/1": {}}, place) == {}


def test_they_have_no_accuracy():
    assert accuracies(GROUP, logits(), LABELS) == [0.75, None, 0.75]


def test_no_more_trainings_are_computed_than_a_group_has():
    program = GroupProgram.__new__(GroupProgram)
    program._per_call = 6
    assert program.places(2, 2) == 2 and program.places(7, 20) == 12
    program._per_call = None
    assert program.places(2, 5) == 5
