"""Calibration beside scikit-learn's curve and beside networks whose calibration is known."""

import numpy as np
import pytest
import scipy.special
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from afnet_jax.analysis import calibration
from tests.analysis.test_metrics import FOLDS, predictions

__all__ = ["predictions"]


def draw(scans: int, *, temperature: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large, and labels drawn from the right probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (scans, 6))
    return temperature * logits, (logits + rng.gumbel(size=logits.shape)).argmax(-1)


def test_the_error_is_that_of_scikit_learns_curve():
    logits, labels = draw(700, temperature=2.5)
    probabilities = scipy.special.softmax(logits, axis=-1)
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=calibration.BINS, strategy="uniform")
    count, _ = np.histogram(confidence, bins=calibration.BINS, range=(0, 1))
    found = calibration.reliability(probabilities, labels)
    np.testing.assert_array_equal(found.count, count)
    np.testing.assert_allclose(found.accuracy[count > 0], accuracy)
    np.testing.assert_allclose(found.confidence[count > 0], mean)
    assert found.error == pytest.approx(np.average(abs(accuracy - mean), weights=count[count > 0]))


def test_a_confidence_of_one_has_a_bin():
    found = calibration.reliability(np.eye(6)[[0, 1, 2, 3]], np.array([0, 1, 2, 0]))
    assert found.count.tolist() == [0] * (calibration.BINS - 1) + [4] and found.error == 0.25


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_overconfident_and_underconfident_networks_is_found(temperature):
    logits, labels = draw(20_000, temperature=temperature)
    found = calibration.fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.03)
    coarse, fine = np.linspace(0.2, 4, 39), np.linspace(-0.1, 0.1, 21)
    for of_all in (coarse, temperature + fine):  # the surprise has one minimum
        surprises = [log_loss(labels, scipy.special.softmax(logits / t, axis=-1)) for t in of_all]
        assert found == pytest.approx(of_all[np.argmin(surprises)], abs=0.011 if of_all is not coarse else 0.101)


def test_chance_leaves_an_error_where_probabilities_are_exactly_right():
    for scans in (100, 1_000, 10_000):
        errors = []
        for seed in range(40):
            logits, labels = draw(scans, seed=seed)
            probabilities = scipy.special.softmax(logits, axis=-1)
            errors.append(calibration.reliability(probabilities, labels).error)
        probabilities = scipy.special.softmax(draw(scans, seed=99)[0], axis=-1)
        expected = calibration.error_by_chance(probabilities, np.arange(scans))
        assert expected == pytest.approx(np.mean(errors), rel=0.15)


def test_more_rounds_of_the_same_scans_leave_as_much_to_chance():
    """A scan has one true label, however often it is tested."""
    probabilities = scipy.special.softmax(draw(500, seed=1)[0], axis=-1)
    once = calibration.error_by_chance(probabilities, np.arange(500))
    often = calibration.error_by_chance(np.tile(probabilities, (20, 1)), np.tile(np.arange(500), 20))
    assert often == pytest.approx(once, rel=1e-9)


def test_no_label_of_a_tested_scan_enters_its_temperature(predictions):
    """Other labels of a fold change the temperatures of the round's other folds alone."""
    before = calibration.held_out_temperatures(predictions, [0, 1, 2])
    assert set(before) == {(f.round, f.fold) for f in FOLDS}
    rows = (predictions["round"] == 1) & (predictions["fold"] == 2)
    changed = {**predictions, "label": np.where(rows, (predictions["label"] + 1) % 6, predictions["label"])}
    after = calibration.held_out_temperatures(changed, [0, 1, 2])
    differing = {key for key in before if before[key] != after[key]}
    assert differing == {(1, 0), (1, 1), (1, 3)}


def test_a_run_of_overconfident_networks_is_mended(predictions):
    logits, labels = draw(len(predictions["label"]), temperature=4)
    found = calibration.run_calibration({**predictions, "logits": logits, "label": labels}, [0, 1, 2])
    assert found["ece"] > 0.2 > 0.1 > found["scaled"]["ece"] and found["scaled"]["nll"] < found["nll"]
    assert np.shape(found["temperatures"]) == (3, 4) and np.mean(found["temperatures"]) == pytest.approx(4, rel=0.25)
    assert sum(found["bins"]["count"]) == len(labels) and None in found["bins"]["accuracy"]


def test_a_round_of_one_fold_has_no_temperature(predictions):
    first = {name: column[predictions["fold"] == 0] for name, column in predictions.items()}
    found = calibration.run_calibration(first, [0, 1, 2])
    assert found["temperatures"] is None and found["scaled"] is None and found["ece"] > 0
    assert calibration.run_calibration(first, []) is None
