import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from skinlesions import calibration, predictions
from skinlesions.metrics import softmax, summary
from tests.synthetic import synthetic_index, synthetic_predictions


def negative_log_likelihood(labels, logits, temperature):
    return -np.log(softmax(logits / temperature)[np.arange(len(labels)), labels]).mean()


@pytest.fixture
def sample():
    """Labels drawn from the softmax of calm logits, which the model then states 2.5 times too strongly."""
    generator = np.random.default_rng(0)
    logits = 1.5 * generator.normal(size=(4000, 7))
    labels = (softmax(logits).cumsum(axis=1) > generator.random((4000, 1))).argmax(axis=1)
    return labels, 2.5 * logits


def test_a_known_temperature_is_recovered(sample):
    assert calibration.temperature(*sample) == pytest.approx(2.5, rel=0.05)


def test_temperature_agrees_with_a_direct_search_of_the_minimum(sample):
    found = minimize_scalar(lambda log: negative_log_likelihood(*sample, np.exp(log)), bounds=(-3, 3), method="bounded")
    assert calibration.temperature(*sample) == pytest.approx(np.exp(found.x), rel=1e-4)


def test_temperature_follows_the_scale_of_the_logits_but_not_the_order_or_a_shift(sample):
    labels, logits = sample
    temperature = calibration.temperature(labels, logits)
    order = np.random.default_rng(1).permutation(len(labels))
    assert calibration.temperature(labels, 3 * logits) == pytest.approx(3 * temperature)
    assert calibration.temperature(labels[order], logits[order] + 100) == pytest.approx(temperature)


def test_perfect_and_worthless_logits_stay_in_bounds():
    labels = np.arange(70) % 7
    assert calibration.temperature(labels, np.eye(7)[labels]) == calibration.LOWEST
    assert calibration.temperature(labels, -np.eye(7)[labels]) == calibration.HIGHEST
    assert np.isfinite(calibration.temperature(labels, np.zeros((70, 7))))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="N > 0"):
        calibration.temperature(np.array([], dtype=int), np.zeros((0, 7)))
    with pytest.raises(ValueError, match="N, C"):
        calibration.temperature(np.array([1, 2]), np.zeros((3, 7)))


def test_each_fold_is_scaled_by_its_own_validation_images_only():
    table = synthetic_predictions(synthetic_index())
    temperatures = calibration.fold_temperatures(table)
    assert sorted(temperatures) == [0, 1, 2, 3, 4]
    rows = table[(table["split"] == "val") & (table["fold"] == 3)]
    assert temperatures[3] == calibration.temperature(predictions.labels(rows), predictions.logits(rows))

    # Other test logits change no temperature.
    doubled = table.copy()
    doubled.loc[doubled["split"] == "test", "logit_nv"] += 5
    assert calibration.fold_temperatures(doubled) == temperatures

    test = predictions.select(table, "test")
    probabilities = calibration.calibrated_probabilities(table, temperatures)
    for row in (0, len(test) - 1):
        expected = softmax(predictions.logits(test)[row] / temperatures[test["fold"][row]])
        assert probabilities[row] == pytest.approx(expected)


def test_scaling_calibrates_and_keeps_the_predicted_class():
    table = synthetic_predictions(synthetic_index(), skill=1.0)
    test = predictions.select(table, "test")
    before = softmax(predictions.logits(test))
    after = calibration.calibrated_probabilities(table, calibration.fold_temperatures(table))
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    labels = predictions.labels(test)
    for metric in ("nll", "brier", "ece"):
        assert summary(labels, after)[metric] < summary(labels, before)[metric]
