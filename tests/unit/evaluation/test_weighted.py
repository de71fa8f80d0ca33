"""The kernels of weighted images against scikit-learn and against counting by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from skinlesions.evaluation import weighted
from tests.helpers.scores import random_weights, scored_images


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, and the scores of 300 images; with ties, many images share theirs."""
    return scored_images(ties=request.param == "ties")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_areas_agree_with_scikit_learn_on_every_weighting(sample, dtype, monkeypatch):
    positive, score = sample
    weights = random_weights(5, 300).astype(dtype)
    monkeypatch.setattr(weighted, "CHUNK_NUMBERS", 600)
    found = weighted.areas(positive, score, weights)
    for ours, theirs in zip(found, (reference.roc_auc_score, reference.average_precision_score), strict=True):
        assert ours == pytest.approx([theirs(positive, score, sample_weight=row) for row in weights])
    assert (weighted.auc(positive, score, weights) == found[0]).all()


def test_without_both_kinds_of_image_there_is_no_area():
    one_kind = np.array([[1, 0], [0, 1]])
    areas = weighted.areas(np.array([True, False]), np.array([0.2, 0.6]), one_kind)
    assert np.isnan(areas[0]).all() and np.isnan(areas[1]).tolist() == [False, True]


def test_rates_of_several_ways_to_call_are_those_of_each(sample):
    positive, score = sample
    weights = random_weights(4, 300)
    ways = np.stack([score >= limit for limit in (0.3, 0.5, 2.0)], axis=1)
    together = weighted.rates(positive, ways, weights)
    for place, is_called in enumerate(ways.T):
        alone = weighted.rates(positive, is_called, weights)
        for one, all_ways in zip(alone, together, strict=True):
            assert (one == all_ways[:, place]).all()
        for row, sensitivity, specificity in zip(weights, *alone, strict=True):
            known = {"sample_weight": row}
            assert sensitivity == pytest.approx(reference.recall_score(positive, is_called, **known))
            assert specificity == pytest.approx(reference.recall_score(~positive, ~is_called, **known))


def test_recalls_and_their_mean_agree_with_scikit_learn(monkeypatch):
    generator = np.random.default_rng(3)
    labels, answers = generator.integers(1, 7, size=200), generator.integers(7, size=(2, 200))
    weights = random_weights(4, 200)
    monkeypatch.setattr(weighted, "CHUNK_NUMBERS", 400)
    found = weighted.recalls(labels, answers, weights)
    assert found.shape == (4, 2, 7) and np.isnan(found[:, :, 0]).all()
    for row, by_answer in zip(weights, found, strict=True):
        for own, recalls in zip(answers, by_answer, strict=True):
            known = {"sample_weight": row, "average": None, "labels": range(1, 7)}
            assert recalls[1:] == pytest.approx(reference.recall_score(labels, own, **known))
    assert weighted.mean(found) == pytest.approx(found[:, :, 1:].mean(axis=2))


def test_means_and_ratios_of_nothing_are_undefined():
    assert weighted.ratio(np.array([1.0, 0.0]), np.array([2, 0])) == pytest.approx([0.5, np.nan], nan_ok=True)
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    assert weighted.mean(values) == pytest.approx([2, np.nan], nan_ok=True)
    assert weighted.mean(values[:1], np.array([[True, False, False]])) == pytest.approx([1])
