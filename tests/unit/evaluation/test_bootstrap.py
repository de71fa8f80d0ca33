import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from skinlesions.data import predictions
from skinlesions.evaluation import bootstrap, weighted
from skinlesions.evaluation.bootstrap import (
    acceleration,
    holm,
    interval,
    lesion_jackknife,
    lesion_resamples,
    percentile_interval,
    two_sided_p_value,
)
from skinlesions.evaluation.metrics import ALL_METRICS, METRICS, softmax, weighted_summary
from tests.helpers.jackknife import leave_one_out
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


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
    monkeypatch.setattr(weighted, "CHUNK_NUMBERS", 5 * len(labels))
    assert tuple(bootstrap.bootstrap(labels, probabilities, weights)) == METRICS
    chunked = bootstrap.bootstrap(labels, probabilities, weights, by_class=True)
    whole = weighted_summary(labels, probabilities, weights, by_class=True)
    assert tuple(chunked) == ALL_METRICS
    for name in ALL_METRICS:
        assert chunked[name].shape == (23,)
        assert chunked[name] == pytest.approx(whole[name], rel=1e-12)


def test_interval_agrees_with_scipy_where_every_lesion_has_one_image():
    generator = np.random.default_rng(2)
    labels = np.full(200, 5)
    correct = generator.random(200) < 0.7
    probabilities = np.eye(7)[np.where(correct, 5, 4)]
    weights = lesion_resamples(np.arange(200), labels, 4000, seed=0)
    ours = percentile_interval(bootstrap.bootstrap(labels, probabilities, weights)["accuracy"], 0.95)
    theirs = scipy_bootstrap((correct,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.0101)


# The spatial test data of Efron & Tibshirani, An Introduction to the Bootstrap (1993), table 14.1, test A.
SPATIAL = np.array(
    [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
)


def test_bca_of_the_textbook_example():
    jackknife = np.array([np.delete(SPATIAL, row).var() for row in range(len(SPATIAL))])
    assert acceleration(jackknife) == pytest.approx(0.061, abs=0.0005)
    draws = SPATIAL[np.random.default_rng(0).integers(len(SPATIAL), size=(20_000, len(SPATIAL)))].var(axis=1)
    low, high = interval(draws, SPATIAL.var(), jackknife, 0.90, "bca")
    # What the book gives, from 2,000 resamples.
    assert (low, high) == pytest.approx((115.8, 259.6), rel=0.02)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_bca_agrees_with_scipy(confidence):
    values = np.random.default_rng(5).exponential(size=60)
    theirs = scipy_bootstrap((values,), np.var, method="BCa", n_resamples=3000, confidence_level=confidence, rng=1)
    jackknife = np.array([np.delete(values, row).var() for row in range(60)])
    ours = interval(theirs.bootstrap_distribution, values.var(), jackknife, confidence, "bca")
    assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_bca_of_two_strata_agrees_with_scipy():
    """A log ratio of two means, samples of 20 and 35: scipy treats each by itself, as we treat strata."""
    generator = np.random.default_rng(6)
    values, labels = generator.exponential(size=55), np.repeat([0, 1], [20, 35])

    def statistic(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        return np.log(first.mean(axis=axis) / second.mean(axis=axis))

    def weighted(weights: np.ndarray) -> np.ndarray:
        first, second = (weights * (labels == label) for label in (0, 1))
        return np.log((first @ values / first.sum(axis=1)) / (second @ values / second.sum(axis=1)))

    theirs = scipy_bootstrap((values[:20], values[20:]), statistic, method="BCa", n_resamples=3000, rng=1)
    jackknife = leave_one_out(weighted, np.arange(55), labels)
    estimate = weighted(np.ones((1, 55)))[0]
    ours = interval(theirs.bootstrap_distribution, estimate, jackknife, 0.95, "bca")
    assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_bca_without_bias_and_skewness_is_the_percentile_interval():
    values = np.random.default_rng(7).normal(size=4001)
    values = np.r_[values, -values]
    symmetric = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert interval(values, 0.0, symmetric, 0.95, "bca") == pytest.approx(percentile_interval(values, 0.95))
    low, high = interval(values, 0.3, symmetric, 0.95, "bca")
    plain = percentile_interval(values, 0.95)
    assert low > plain[0] and high > plain[1]


def test_bca_where_little_varies():
    flat = np.zeros(9)
    assert interval(np.full(50, 0.7), 0.7, flat, 0.95, "bca") == (0.7, 0.7)
    one_sided = np.linspace(0.2, 0.4, 1999)
    low, high = interval(one_sided, 0.1, flat, 0.95, "bca")
    assert 0.2 <= low <= high < 0.21
    assert interval(np.r_[one_sided, np.nan], 0.3, flat, 0.95, "bca") == pytest.approx(
        percentile_interval(one_sided, 0.95), abs=1e-3
    )
    assert np.isnan(interval(np.array([np.nan]), 0.3, flat, 0.95, "bca")).all()
    assert np.isnan(interval(one_sided, np.nan, flat, 0.95, "bca")).all()


def test_unknown_methods_and_a_missing_jackknife_are_refused():
    with pytest.raises(ValueError, match="percentile, bca"):
        interval(np.arange(9.0), 4.0, None, 0.95, "basic")
    with pytest.raises(ValueError, match="jackknife"):
        interval(np.arange(9.0), 4.0, None, 0.95, "bca")


def test_the_jackknife_from_influences_is_near_that_of_leaving_out(sample):
    labels, probabilities, groups = sample
    right = probabilities.argmax(axis=1) == labels
    sizes = np.bincount(labels)[labels]
    recall = np.bincount(labels, weights=right) / np.bincount(labels)
    influence = (right - recall[labels]) / sizes / 7
    quick = lesion_jackknife(influence, groups, labels)

    def balanced_accuracy(weights: np.ndarray) -> np.ndarray:
        return weighted_summary(labels, probabilities, weights)["balanced_accuracy"]

    slow = leave_one_out(balanced_accuracy, groups, labels)
    assert np.corrcoef(quick, slow)[0, 1] > 0.99
    assert acceleration(quick) == pytest.approx(acceleration(slow), abs=0.01)


def test_a_class_of_one_lesion_has_no_part_in_the_jackknife():
    groups, labels = np.array(["a", "a", "b", "c", "c", "d"]), np.array([0, 0, 1, 1, 1, 1])
    right = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])

    def macro(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            recalls = [(weights * right)[:, labels == k].sum(1) / weights[:, labels == k].sum(1) for k in (0, 1)]
        return np.mean(recalls, axis=0)

    jackknife = leave_one_out(macro, groups, labels)
    assert jackknife[0] == 0
    assert np.isfinite(jackknife).all()
    assert lesion_jackknife(right, groups, labels)[0] == 0


def studies(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Simulated studies of 300 lesions in three classes, one to four images each: a lesion is right or wrong as one.

    Returns:
        The labels and the lesions of the images [N], whether each study is right on them, bool [count, N], and the
        balanced accuracy behind the draw.
    """
    lesions, recalls = {3: 80, 4: 100, 5: 120}, {3: 0.6, 4: 0.75, 5: 0.85}
    of_lesion = np.repeat(list(lesions), list(lesions.values()))
    images = generator.choice([1, 1, 2, 3, 4], size=len(of_lesion))
    chances = np.array([recalls[label] for label in of_lesion])
    right = np.repeat(generator.random((count, len(of_lesion))) < chances, images, axis=1)
    return np.repeat(of_lesion, images), np.repeat(np.arange(len(of_lesion)), images), right, 2.2 / 3


def test_95_percent_intervals_of_lesions_cover_95_percent_and_those_of_images_do_not():
    """1,000 studies, whose truth is known because they are drawn from it; benchmarks/coverage.py has more of them."""
    labels, lesions, right, truth = studies(1000, np.random.default_rng(21))
    classes = np.unique(labels)
    recall = np.stack([right[:, labels == label].mean(axis=1) for label in classes], axis=1)
    estimates = recall.mean(axis=1)
    covered = {}
    for unit, groups in (("lesions", lesions), ("images", np.arange(len(labels)))):
        weights = lesion_resamples(groups, labels, 1000, seed=0)
        parts = [
            weights[:, labels == label]
            @ right[:, labels == label].T.astype(float)
            / weights[:, labels == label].sum(axis=1, keepdims=True)
            for label in classes
        ]
        draws = np.mean(parts, axis=0)  # [resamples, studies]
        # What is done here for all studies at once is what the package does for one.
        probabilities = np.eye(7)[np.where(right[0], labels, 0)]
        of_first = bootstrap.bootstrap(labels, probabilities, weights[:50])["balanced_accuracy"]
        assert of_first == pytest.approx(draws[:50, 0], rel=1e-12)
        for method in bootstrap.METHODS:
            hits = 0
            for study, estimate in enumerate(estimates):
                excess = right[study] - recall[study][np.searchsorted(classes, labels)]
                influence = excess / np.bincount(labels)[labels] / len(classes)
                jackknife = lesion_jackknife(influence, groups, labels) if method == "bca" else None
                low, high = interval(draws[:, study], estimate, jackknife, 0.95, method)
                hits += low <= truth <= high
            covered[unit, method] = hits / len(estimates)
    for method in bootstrap.METHODS:
        assert 0.93 <= covered["lesions", method] <= 0.97, covered
        assert covered["images", method] < 0.85, covered


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


def test_the_sample_comes_before_its_resamples():
    weights = np.array([[2, 0, 1], [0, 3, 0]], dtype=np.uint16)
    assert bootstrap.with_sample(weights).tolist() == [[1, 1, 1], [2, 0, 1], [0, 3, 0]]
    values = {"auc": np.array([0.9, *np.linspace(0, 1, 101), np.nan])}
    assert bootstrap.estimates(values, 0.9) == pytest.approx({"auc": 0.9, "auc_low": 0.05, "auc_high": 0.95})


def test_what_rests_on_one_lesion_has_no_interval_without_width():
    same, spread = np.ones(5), np.array([0.5, 0.4, 0.6, 0.5, 0.5])
    found = bootstrap.estimates({"same": same, "spread": spread}, 0.9, one_lesion=("same", "spread"))
    assert found["same"] == 1 and np.isnan([found["same_low"], found["same_high"]]).all()
    assert found["spread_low"] < 0.5 < found["spread_high"]
    # A share that is the same in every resample of many lesions keeps its interval: they were all alike.
    assert bootstrap.estimate(same, 0.9) == (1, 1, 1)
    labels, groups = np.array([4, 4, 5, 5]), np.array(["a", "a", "b", "c"])
    assert bootstrap.one_lesion_classes(labels, groups) == ["mel"]
    assert bootstrap.has_one_lesion(groups[:2]) and not bootstrap.has_one_lesion(groups)
