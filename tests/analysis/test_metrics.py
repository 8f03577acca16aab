import statistics

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from afnet_jax.analysis.metrics import complete_rounds, score
from afnet_jax.errors import RunError
from afnet_jax.protocol import draw_folds

SUBJECTS = [f"F{k:04d}" for k in range(12)]
FOLDS = draw_folds(SUBJECTS, chosen=0, folds=4, rounds=3, seed=0)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    rows = [(f.round, f.fold, s, f"{s}_{e}", e) for f in FOLDS for s in f.test for e in range(6)]
    rounds, folds, subjects, scans, labels = (np.array(column) for column in zip(*rows, strict=True))
    logits = rng.normal(size=(len(rows), 6)) + 2 * np.eye(6)[labels]
    return {"round": rounds, "fold": folds, "subject": subjects, "scan_id": scans, "label": labels, "logits": logits}


def _without(predictions, drop):
    return {name: column[~drop] for name, column in predictions.items()}


def test_accuracy_is_pooled_over_a_rounds_folds(predictions):
    found = score(predictions, complete_rounds(predictions, FOLDS))
    guess = predictions["logits"].argmax(-1)
    for round_ in range(3):
        rows = predictions["round"] == round_
        assert found["accuracy"]["per_round"][round_] == accuracy_score(predictions["label"][rows], guess[rows])
    assert found["accuracy"]["mean"] == pytest.approx(accuracy_score(predictions["label"], guess))
    assert found["accuracy"]["std"] == pytest.approx(statistics.stdev(found["accuracy"]["per_round"]))
    assert np.mean(found["accuracy"]["per_fold"]) == pytest.approx(found["accuracy"]["mean"])


def test_spread_is_the_sample_standard_deviation_by_hand():
    """Three rounds of one fold of four scans with 2, 3 and 4 right: mean 3/4, variance (1/16 + 0 + 1/16) / 2."""
    right = [2, 3, 4]
    guess = [scan if scan < count else 5 for count in right for scan in range(4)]
    predictions = {
        "round": np.repeat([3, 5, 8], 4),
        "fold": np.zeros(12, int),
        "label": np.tile(np.arange(4), 3),
        "logits": np.eye(6)[guess],
    }
    found = score(predictions, [3, 5, 8])["accuracy"]
    assert found["per_round"] == [0.5, 0.75, 1.0] and found["per_fold"] == [[0.5], [0.75], [1.0]]
    assert (found["mean"], found["std"]) == (0.75, 0.25)
    assert score(predictions, [5])["accuracy"]["std"] == 0


def test_confusion_recall_precision_and_f1_by_hand():
    """Four scans of anger: two right, two taken for disgust; one of disgust, right; one of surprise taken for anger."""
    truth, guess = [0, 0, 0, 0, 1, 5], [0, 0, 1, 1, 1, 0]
    predictions = {
        "round": np.zeros(6, int),
        "fold": np.zeros(6, int),
        "label": np.array(truth),
        "logits": np.eye(6)[guess],
    }
    found = score(predictions, [0])
    expected = np.zeros((6, 6), int)
    expected[0, 0], expected[0, 1], expected[1, 1], expected[5, 0] = 2, 2, 1, 1  # rows are the true expressions
    assert found["confusion"] == expected.tolist()
    assert list(found["per_class"]) == ["AN", "DI", "FE", "HA", "SA", "SU"]
    measures = {
        "AN": ("anger", 2 / 4, 2 / 3, 4 / 7, 4),
        "DI": ("disgust", 1, 1 / 3, 1 / 2, 1),
        "FE": ("fear", 0, 0, 0, 0),
        "SU": ("surprise", 0, 0, 0, 1),
    }
    for code, (name, recall, precision, f1, scans) in measures.items():
        row = found["per_class"][code]
        assert (row["expression"], row["scans"]) == (name, scans)
        assert (row["recall"], row["precision"], row["f1"]) == pytest.approx((recall, precision, f1))


def test_a_round_with_a_missing_fold_does_not_count(predictions):
    part = _without(predictions, (predictions["round"] == 1) & (predictions["fold"] == 2))
    assert complete_rounds(part, FOLDS) == [0, 2]
    assert len(score(part, [0, 2])["accuracy"]["per_round"]) == 2


def test_a_fold_tested_on_some_of_its_subjects_alone_does_not_count(predictions):
    someone = FOLDS[0].test[0]
    part = _without(predictions, (predictions["round"] == 0) & (predictions["subject"] == someone))
    assert complete_rounds(part, FOLDS) == [1, 2]


def test_a_scan_tested_twice_is_refused(predictions):
    twice = {name: np.concatenate([column, column[:1]]) for name, column in predictions.items()}
    with pytest.raises(RunError, match="tested 2 times"):
        complete_rounds(twice, FOLDS)


def test_a_fold_that_the_splits_do_not_have_is_refused(predictions):
    predictions["fold"] = np.where(predictions["fold"] == 3, 7, predictions["fold"])
    with pytest.raises(RunError, match="in fold 7"):
        complete_rounds(predictions, FOLDS)


def test_no_complete_round_has_no_accuracy(predictions):
    assert score(predictions, [])["accuracy"]["mean"] is None
