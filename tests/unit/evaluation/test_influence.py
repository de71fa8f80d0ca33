"""The influence of every image on every metric, against derivatives taken by brute force."""

import numpy as np
import pytest

from skinlesions.core.classes import CLASSES
from skinlesions.data import predictions
from skinlesions.evaluation import bootstrap
from skinlesions.evaluation.influence import influence, jackknife
from skinlesions.evaluation.metrics import ALL_METRICS, softmax, weighted_summary
from tests.helpers.jackknife import leave_one_out
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(params=["continuous", "ties", "a class without images", "a class that is never called"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of 90 images."""
    generator = np.random.default_rng(3)
    labels = generator.choice(7, size=90, p=[0.1, 0.1, 0.1, 0.1, 0.1, 0.4, 0.1])
    logits = generator.normal(size=(90, 7)) + np.eye(7)[labels]
    if request.param == "ties":
        logits = np.round(logits)
    if request.param == "a class without images":
        labels[labels == 3] = 4
    if request.param == "a class that is never called":
        logits[:, 2] -= 9
    return labels, softmax(logits)


def derivatives(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The slope of every metric in the weight of every image, by central differences."""
    step = 1e-5
    sides = [
        weighted_summary(labels, probabilities, 1 + sign * step * np.eye(len(labels)), by_class=True)
        for sign in (1, -1)
    ]
    return {name: (sides[0][name] - sides[1][name]) / (2 * step) for name in ALL_METRICS}


def test_influences_are_the_derivatives_by_brute_force(sample):
    ours, theirs = influence(*sample), derivatives(*sample)
    assert tuple(ours) == ALL_METRICS
    for name in ALL_METRICS:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-8, nan_ok=True), name


def test_influences_on_a_metric_cancel(sample):
    for name, values in influence(*sample).items():
        assert np.isnan(values).all() or values.sum() == pytest.approx(0, abs=1e-12), name


def test_the_jackknife_gives_the_acceleration_of_leaving_each_lesion_out():
    table = predictions.select(synthetic_predictions(synthetic_index()), "test")
    labels, probabilities = predictions.labels(table), softmax(predictions.logits(table))
    groups = table["group"].to_numpy()
    quick = jackknife(labels, probabilities, groups)
    for name in ("balanced_accuracy", "macro_f1", "macro_auc", "nll", "average_precision_mel", "recall_nv"):

        def metric(weights: np.ndarray, name: str = name) -> np.ndarray:
            return weighted_summary(labels, probabilities, weights, by_class=True)[name]

        slow = leave_one_out(metric, groups, labels)
        assert len(quick[name]) == len(slow) == len(np.unique(groups))
        assert np.corrcoef(quick[name], slow)[0, 1] > 0.98, name
        assert bootstrap.acceleration(quick[name]) == pytest.approx(bootstrap.acceleration(slow), abs=0.02), name


def test_the_spread_of_the_jackknife_is_that_of_the_resamples():
    """To first order the variance over resamples is the sum of squared influences of the lesions."""
    index = synthetic_index(dict.fromkeys(CLASSES, 120))
    table = predictions.select(synthetic_predictions(index), "test")
    labels, probabilities = predictions.labels(table), softmax(predictions.logits(table))
    groups = table["group"].to_numpy()
    weights = bootstrap.lesion_resamples(groups, labels, 1500, seed=0)
    draws = bootstrap.bootstrap(labels, probabilities, weights, by_class=True)
    found = jackknife(labels, probabilities, groups)
    for name in set(ALL_METRICS) - {"ece"}:  # whose gaps have a kink at 0
        assert np.sqrt((found[name] ** 2).sum()) == pytest.approx(draws[name].std(), rel=0.1), name
