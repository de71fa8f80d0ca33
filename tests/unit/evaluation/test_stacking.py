"""Stackers against other optimisers, and the choice of their spread."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.data import predictions
from skinlesions.evaluation import ensembles, metrics, stacking
from tests.helpers.scores import drawn_models


def test_stacking_agrees_with_a_direct_search_of_the_minimum():
    labels, logs = drawn_models(300, 3)
    spread = 0.3

    def penalised(parameters: np.ndarray) -> float:
        weights, shifts = parameters[:21].reshape(3, 7), parameters[21:]
        inputs = logs - logs.mean(axis=2, keepdims=True)
        probabilities = metrics.softmax(sum(inputs[:, m] * weights[m] for m in range(3)) + shifts)
        away = ((weights - 1 / 3) ** 2).sum() / spread**2 + (shifts**2).sum() / stacking.SHIFT_PRIOR**2
        return -np.log(probabilities[np.arange(300), labels]).sum() + away / 2

    found = minimize(penalised, np.r_[np.full(21, 1 / 3), np.zeros(7)], method="BFGS", options={"gtol": 1e-4})
    stacker = stacking.stack(labels, logs, spread)
    ours = np.r_[stacker.weights.ravel(), stacker.shifts]
    assert ours == pytest.approx(found.x, abs=1e-4)
    assert penalised(ours) <= found.fun + 1e-9


def test_stacking_of_two_classes_agrees_with_scikit_learn():
    labels, logs = drawn_models(400, 3, classes=2)
    logits = logs[:, :, 1] - logs[:, :, 0]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits, labels)
    stacker = stacking.stack(labels, logs, spread=1e4)
    # The prior of the shifts is not infinite.
    assert stacker(logs) == pytest.approx(theirs.predict_proba(logits), abs=2e-3)


def test_a_narrow_spread_is_the_geometric_mean_with_shifts():
    labels, logs = drawn_models(500, 4)
    stacker = stacking.stack(labels, logs, spread=1e-4)
    assert stacker.weights == pytest.approx(0.25, abs=1e-3)
    unshifted = stacking.Stacker(stacker.weights, np.zeros(7), 0)
    assert unshifted(logs) == pytest.approx(metrics.softmax(logs.mean(axis=1)), abs=1e-3)


def test_the_spread_is_chosen_on_lesions_left_out():
    """One model of four knows the classes, so that equal weights are wrong; of four alike they are right."""
    generator = np.random.default_rng(1)
    labels, logs = drawn_models(1500, 1, seed=2)
    noise = np.log(metrics.softmax(1.5 * generator.normal(size=(1500, 3, 7))))
    logs = np.concatenate([logs, noise], axis=1)
    groups = np.arange(1500) // 2
    assert stacking.choose_spread(labels, logs, groups) in stacking.SPREADS[-2:]
    same = np.repeat(logs[:, :1], 4, axis=1) + 1e-3 * logs
    few = generator.choice(1500, 60, replace=False)
    assert stacking.choose_spread(labels[few], same[few], groups[few], (0.01, 30.0)) == 0.01


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="N, M, C"):
        stacking.stack(np.zeros(3, dtype=int), np.zeros((3, 7)), 0.1)
    with pytest.raises(ValueError, match="N > 0"):
        stacking.stack(np.zeros(0, dtype=int), np.zeros((0, 2, 7)), 0.1)


def test_stacking_the_published_predictions_gains_in_likelihood():
    files = sorted(paths.REPORTS_PREDICTIONS.glob("*.csv.gz"))
    if len(files) < 3:
        pytest.skip("fewer than three published models")
    published = {file.name: predictions.read(file) for file in files[-3:]}
    test, val = ensembles.shared_rows(published, "test"), ensembles.shared_rows(published, "val")
    fitting, scoring = (val["fold"] == 0).to_numpy(), (test["fold"] == 0).to_numpy()
    logs = {
        split: np.stack([np.log(metrics.softmax(predictions.logits(predictions.select(table, split))))
                         for table in published.values()], axis=1)
        for split in ("test", "val")
    }  # fmt: skip
    stacker = stacking.stack(predictions.labels(val)[fitting], logs["val"][fitting], 0.2)
    labels = predictions.labels(test)[scoring]
    stacked = metrics.summary(labels, stacker(logs["test"][scoring]))["nll"]
    for m in range(3):
        assert stacked < metrics.summary(labels, np.exp(logs["test"][scoring, m]))["nll"]
    assert stacker.weights.shape == (3, len(CLASSES))
