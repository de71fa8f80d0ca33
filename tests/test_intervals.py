import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from skinlesions import intervals, predictions
from skinlesions.intervals import bootstrap, holm, lesion_resamples, percentile_interval, two_sided_p_value
from skinlesions.metrics import METRICS, softmax, weighted_summary
from tests.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and groups of the synthetic test predictions."""
    table = predictions.select(synthetic_predictions(synthetic_index()), "test")
    return predictions.labels(table), softmax(predictions.logits(table)), table["group"].to_numpy()


def test_resamples_keep_lesions_whole_and_classes_balanced(sample):
    labels, _, groups = sample
    weights = lesion_resamples(groups, labels, 50, seed=1)
    assert weights.shape == (50, len(labels))
    assert weights.dtype == np.uint16
    assert weights.max() > 1
    lesions, first = np.unique(groups, return_index=True)
    for lesion in lesions:
        assert (weights[:, groups == lesion] == weights[:, groups == lesion][:, :1]).all()
    for label in np.unique(labels):
        of_class = first[labels[first] == label]
        assert (weights[:, of_class].sum(axis=1) == len(of_class)).all()


def test_resamples_follow_the_seed_and_not_the_order_of_the_images(sample):
    labels, _, groups = sample
    weights = lesion_resamples(groups, labels, 20, seed=1)
    assert (weights == lesion_resamples(groups, labels, 20, seed=1)).all()
    assert (weights != lesion_resamples(groups, labels, 20, seed=2)).any()
    assert (weights[:5] == lesion_resamples(groups, labels, 5, seed=1)).all()
    order = np.random.default_rng(0).permutation(len(labels))
    assert (weights[:, order] == lesion_resamples(groups[order], labels[order], 20, seed=1)).all()


def test_each_lesion_is_drawn_once_on_average():
    weights = lesion_resamples(np.arange(40), np.repeat([0, 1], [30, 10]), 4000, seed=0)
    assert weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.1)
    # Sampling n of n with replacement: a binomial count with variance (n - 1) / n.
    assert weights[:, :30].var() == pytest.approx(29 / 30, abs=0.03)
    assert weights[:, 30:].var() == pytest.approx(9 / 10, abs=0.03)


def test_a_group_of_mixed_labels_is_drawn_whole():
    groups, labels = np.array(["a", "a", "a", "b", "c"]), np.array([1, 1, 0, 0, 1])
    weights = lesion_resamples(groups, labels, 100, seed=0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == 1).all()
    assert (weights[:, 0] + weights[:, 4] == 2).all()


def test_bootstrap_in_chunks_equals_one_piece(sample, monkeypatch):
    labels, probabilities, groups = sample
    weights = lesion_resamples(groups, labels, 23, seed=3)
    monkeypatch.setattr(intervals, "CHUNK_NUMBERS", 5 * len(labels))
    chunked = bootstrap(labels, probabilities, weights)
    whole = weighted_summary(labels, probabilities, weights)
    assert tuple(chunked) == METRICS
    for name in METRICS:
        assert chunked[name].shape == (23,)
        assert chunked[name] == pytest.approx(whole[name], rel=1e-12)


def test_interval_agrees_with_scipy_where_every_lesion_has_one_image():
    generator = np.random.default_rng(2)
    labels = np.full(200, 5)
    correct = generator.random(200) < 0.7
    probabilities = np.eye(7)[np.where(correct, 5, 4)]
    weights = lesion_resamples(np.arange(200), labels, 4000, seed=0)
    ours = percentile_interval(bootstrap(labels, probabilities, weights)["accuracy"], 0.95)
    theirs = scipy_bootstrap((correct,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.0101)


def test_lesion_intervals_cover_and_image_intervals_do_not():
    """300 studies of 60 lesions with three alike images each: the truth is known, because it is drawn from."""
    generator = np.random.default_rng(11)
    recalls = {3: 0.5, 4: 0.7, 5: 0.85}
    labels = np.repeat(np.repeat(list(recalls), 20), 3)
    lesions = np.repeat(np.arange(60), 3)
    truth = np.mean(list(recalls.values()))
    covered = {"lesions": 0, "images": 0}
    studies = 300
    for study in range(studies):
        right = np.repeat(generator.random(60) < np.repeat(list(recalls.values()), 20), 3)
        probabilities = np.eye(7)[np.where(right, labels, 0)]
        for unit, groups in (("lesions", lesions), ("images", np.arange(180))):
            weights = lesion_resamples(groups, labels, 200, seed=study)
            low, high = percentile_interval(bootstrap(labels, probabilities, weights)["balanced_accuracy"], 0.95)
            covered[unit] += low <= truth <= high
    assert 0.90 <= covered["lesions"] / studies <= 0.98
    assert covered["images"] / studies < 0.85


def test_percentile_interval():
    assert percentile_interval(np.arange(101), 0.9) == pytest.approx((5, 95))
    assert percentile_interval(np.array([1.0, np.nan, 1.0]), 0.95) == (1.0, 1.0)
    assert np.isnan(percentile_interval(np.array([np.nan]), 0.95)).all()


def test_two_sided_p_value():
    assert two_sided_p_value(np.full(999, 0.1)) == 0.002
    assert two_sided_p_value(np.full(999, -0.1)) == 0.002
    assert two_sided_p_value(np.r_[np.full(990, 0.1), np.full(9, -0.1)]) == pytest.approx(0.02)
    assert two_sided_p_value(np.zeros(999)) == 1
    assert two_sided_p_value(np.full(999, 1e-17)) == 1


def test_p_values_of_equal_models_are_about_uniform():
    generator = np.random.default_rng(12)
    values = [
        two_sided_p_value((generator.multinomial(200, np.full(200, 1 / 200), size=400) @ draw) / 200)
        for draw in generator.normal(size=(300, 200))
    ]
    assert 0.01 <= np.mean(np.array(values) < 0.05) <= 0.10
    assert np.mean(values) == pytest.approx(0.5, abs=0.07)


def test_holm_on_a_worked_example():
    # Ascending .01 × 4, .02 × 3, .03 × 2, .04 × 1, each at least the one before.
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1, 1])
    assert holm(np.array([0.03])) == pytest.approx([0.03])
    assert len(holm(np.array([]))) == 0
