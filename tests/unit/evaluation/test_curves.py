"""Curves over a threshold against scikit-learn and counting by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from skinlesions.evaluation import curves
from tests.helpers.scores import random_weights, scored_images


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, and the scores of 300 images; with ties, many images share theirs."""
    return scored_images(ties=request.param == "ties")


def test_the_roc_curve_agrees_with_scikit_learn(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    for row, ours in zip(weights, curves.roc(curves.counts(positive, score, weights)), strict=True):
        alarms, sensitivity, _ = reference.roc_curve(positive, score, sample_weight=row, drop_intermediate=False)
        assert ours == pytest.approx(np.interp(curves.GRID, alarms, sensitivity))
        assert (np.diff(ours) >= 0).all() and ours[-1] == 1


def test_the_precision_is_that_of_the_highest_threshold_with_the_recall(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    for row, ours in zip(weights, curves.precision_recall(curves.counts(positive, score, weights)), strict=True):
        precision, recall, _ = reference.precision_recall_curve(positive, score, sample_weight=row)
        # From the highest threshold down, without the end that scikit-learn adds at recall 0.
        precision, recall = precision[:-1][::-1], recall[:-1][::-1]
        expected = [precision[np.flatnonzero(recall >= max(level, 1e-9) - 1e-12)[0]] for level in curves.GRID]
        assert ours == pytest.approx(expected)


def test_net_benefit_against_counting_by_hand(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    found = curves.counts(positive, score, weights)
    ours, everything = curves.net_benefit(found), curves.treat_all(found)
    assert curves.advantage(found) == pytest.approx(np.minimum(ours, ours - everything))
    for r, row in enumerate(weights):
        for t in (0, 9, 29, 59):
            limit = curves.THRESHOLDS[t]
            odds = limit / (1 - limit)
            true, false = row[positive & (score >= limit)].sum(), row[~positive & (score >= limit)].sum()
            assert ours[r, t] == pytest.approx((true - false * odds) / row.sum())
            assert everything[r, t] == pytest.approx((row[positive].sum() - row[~positive].sum() * odds) / row.sum())


def test_below_the_lowest_score_the_net_benefit_is_that_of_treating_all():
    positive, score = np.array([True, False, False]), np.array([0.9, 0.5, 0.4])
    found = curves.counts(positive, score, np.ones((1, 3)))
    below = curves.THRESHOLDS <= 0.4
    assert (curves.net_benefit(found)[0, below] == curves.treat_all(found)[0, below]).all()


def test_an_image_of_weight_two_counts_as_two_images(sample):
    positive, score = sample
    weights = random_weights(1, 300)
    once = np.ones((1, weights.sum()), dtype=int)
    weighted = curves.resampled(positive, score, weights)
    repeated = curves.resampled(np.repeat(positive, weights[0]), np.repeat(score, weights[0]), once)
    for name, values in weighted.items():
        assert values == pytest.approx(repeated[name]), name


def test_without_both_kinds_of_image_there_is_no_curve():
    nothing = curves.resampled(np.array([True, False]), np.array([0.2, 0.6]), np.array([[1, 0], [0, 1]]))
    assert np.isnan(nothing["roc"]).all()
    assert np.isnan(nothing["precision_recall"]).all(axis=1).tolist() == [False, True]


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="must be"):
        curves.counts(np.array([True]), np.array([0.5, 0.6]), np.ones((1, 2)))
