import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from sklearn.linear_model import LogisticRegression

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import bootstrap, calibration, reliability
from skinlesions.evaluation.metrics import softmax, summary
from tests.helpers.scores import skewed
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


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
    probabilities = calibration.probabilities(table, "test", "temperature")
    for row in (0, len(test) - 1):
        expected = softmax(predictions.logits(test)[row] / temperatures[test["fold"][row]])
        assert probabilities[row] == pytest.approx(expected)


def test_scaling_calibrates_and_keeps_the_predicted_class():
    table = synthetic_predictions(synthetic_index(), skill=1.0)
    test = predictions.select(table, "test")
    before = softmax(predictions.logits(test))
    after = calibration.probabilities(table, "test", "temperature")
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    labels = predictions.labels(test)
    for metric in ("nll", "brier", "ece"):
        assert summary(labels, after)[metric] < summary(labels, before)[metric]


PLAN = {"nv_share_dropped": 0.6711, "effective_number_beta": 0.999, "focal_gamma": 2.0, "logit_adjustment_tau": 1.0}


def test_vector_scaling_recovers_known_factors_and_shifts():
    labels, truth, stated = skewed(60_000)
    scaling = calibration.vector_scaling(labels, stated, factor_prior=np.inf, shift_prior=100)
    assert scaling.factors == pytest.approx(1 / np.linspace(0.6, 1.4, 7), abs=0.06)
    recovered = scaling(stated)
    assert np.abs(softmax(recovered) - softmax(truth)).mean() < 0.005


def test_vector_scaling_agrees_with_a_direct_search_of_the_minimum():
    labels, _, stated = skewed(400, seed=1)
    overall = calibration.temperature(labels, stated)

    def penalised(parameters: np.ndarray) -> float:
        moved = stated / overall * parameters[:7] + parameters[7:]
        away = (parameters[:7] - 1) / calibration.FACTOR_PRIOR, parameters[7:] / calibration.SHIFT_PRIOR
        return 400 * negative_log_likelihood(labels, moved, 1) + sum((part**2).sum() for part in away) / 2

    found = minimize(penalised, np.repeat([1.0, 0.0], 7), method="BFGS", options={"gtol": 1e-4})
    scaling = calibration.vector_scaling(labels, stated)
    assert np.r_[scaling.factors * overall, scaling.shifts] == pytest.approx(found.x, abs=1e-4)
    assert penalised(np.r_[scaling.factors * overall, scaling.shifts]) <= found.fun + 1e-9


def test_vector_scaling_without_priors_agrees_with_scikit_learn():
    """Of two classes only the difference counts, which makes it a logistic regression on the two logits."""
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(500, 2))
    labels = (generator.random(500) < 1 / (1 + np.exp(-(2 * logits[:, 1] - logits[:, 0] + 0.5)))).astype(int)
    scaling = calibration.vector_scaling(labels, logits, factor_prior=1e4, shift_prior=1e4)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits, labels)
    assert softmax(scaling(logits)) == pytest.approx(theirs.predict_proba(logits), abs=1e-4)


def test_vector_scaling_of_a_rare_or_absent_class_stays_near_the_temperature():
    labels, _, stated = skewed(300, seed=3)
    labels = np.where(labels == 3, 5, labels)
    labels[0] = 3
    for left in (labels, np.where(labels == 3, 5, labels)):
        scaling = calibration.vector_scaling(left, stated)
        overall = calibration.temperature(left, stated)
        assert np.abs(scaling.factors * overall - 1).max() < 3 * calibration.FACTOR_PRIOR
        assert np.abs(scaling.shifts).max() < 4 * calibration.SHIFT_PRIOR


@pytest.mark.parametrize("split", predictions.SPLITS)
def test_every_way_scales_each_fold_by_its_own_validation_images(split):
    table, plan = synthetic_predictions(synthetic_index()), balancing.Plan(strategy="balanced_weights", **PLAN)
    val, rows = (predictions.select(table, name) for name in ("val", split))
    counts = calibration.training_counts(table)
    other = table.copy()
    other.loc[other["split"] == "test", "logit_nv"] += 5
    for k in range(5):
        fitting, row = (val["fold"] == k).to_numpy(), int(np.flatnonzero(rows["fold"] == k)[0])
        labels, logits = predictions.labels(val)[fitting], predictions.logits(val)[fitting]
        natural = calibration.natural_logits(logits, plan, counts[k])
        own = predictions.logits(rows)[[row]]
        own_natural = calibration.natural_logits(own, plan, counts[k])
        expected = {
            "as_trained": own,
            "temperature": own / calibration.temperature(labels, logits),
            "vector": calibration.vector_scaling(labels, logits)(own),
            "prior_corrected": own_natural,
            "prior_corrected_temperature": own_natural / calibration.temperature(labels, natural),
        }
        assert list(expected) == list(calibration.WAYS)
        for way in calibration.WAYS:
            found = calibration.probabilities(table, split, way, plan)
            assert found[row] == pytest.approx(softmax(expected[way])[0])
    # Other test logits change nothing about the validation rows.
    for way in calibration.WAYS:
        unmoved = calibration.probabilities(other, "val", way, plan)
        assert (unmoved == calibration.probabilities(table, "val", way, plan)).all()


def test_what_probabilities_cannot_be_made_of_is_refused():
    table = synthetic_predictions(synthetic_index())
    with pytest.raises(ValueError, match=r"'isotonic'.*as_trained, temperature"):
        calibration.probabilities(table, "test", "isotonic")
    with pytest.raises(ValueError, match="balancing plan"):
        calibration.probabilities(table, "test", "prior_corrected")
    with pytest.raises(ValueError, match="split"):
        calibration.probabilities(table, "train", "vector")


@pytest.mark.parametrize("strategy", balancing.DESCRIPTIONS)
def test_the_natural_logits_are_those_that_no_plan_would_have_given(strategy):
    """Images of five kinds, told apart by nothing else: the least loss is known for each, and so are the shares."""
    plan = balancing.Plan(strategy=strategy, **PLAN)
    # images[kind, class]
    images = np.random.default_rng(4).integers(1, 60, size=(5, 7)) * np.array([1, 2, 3, 1, 3, 20, 1])
    labels = np.concatenate([np.repeat(np.arange(7), of_kind) for of_kind in images])
    kinds = np.repeat(np.arange(5), images.sum(axis=1))
    class_counts = images.sum(axis=0)
    if strategy == "undersample_nv":  # which nevi are dropped is random: let it be the same share of each kind
        share = np.ones(7) - plan.nv_share_dropped * (np.arange(7) == 5)
        seen = images * share
    else:
        rows = balancing.sample(plan, labels, seed=0)
        seen = np.zeros((5, 7))
        np.add.at(seen, (kinds[rows], labels[rows]), 1)
    weighted = seen * balancing.class_weights(plan, class_counts)
    offset = balancing.logit_offset(plan, class_counts)

    def loss(logits: np.ndarray, weights: np.ndarray) -> float:
        probabilities = softmax(logits + offset)
        return -(weights * (1 - probabilities) ** plan.gamma * np.log(probabilities)).sum() / weights.sum()

    learned = np.array(
        [minimize(loss, np.zeros(7), args=(weights,), method="BFGS", options={"gtol": 1e-7}).x for weights in weighted]
    )
    expected = images / images.sum(axis=1, keepdims=True)
    found = softmax(calibration.natural_logits(learned, plan, class_counts))
    assert found == pytest.approx(expected, abs=2e-4)
    if strategy != "none":
        assert np.abs(softmax(learned) - expected).max() > 0.03


def test_natural_logits_of_certain_predictions_stay_finite():
    certain = np.array([[800.0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 40, 0]])
    for strategy in balancing.DESCRIPTIONS:
        natural = calibration.natural_logits(certain, balancing.Plan(strategy=strategy, **PLAN), np.full(7, 10))
        assert np.isfinite(natural).all(), strategy
        assert natural.argmax(axis=1).tolist() == [0, 5], strategy


def test_the_training_part_of_a_fold_is_neither_its_test_nor_its_validation_part():
    table = synthetic_predictions(synthetic_index())
    counts = calibration.training_counts(table)
    test = predictions.select(table, "test")
    for k in range(5):
        rows = ~test["fold"].isin([k, (k + 1) % 5])
        assert counts[k].tolist() == [int((test.loc[rows, "dx"] == name).sum()) for name in CLASSES]
    plan = balancing.Plan(strategy="balanced_weights", **PLAN)
    corrected = calibration.without_plan(table, plan)
    rows = table["fold"] == 4
    expected = calibration.natural_logits(predictions.logits(table[rows]), plan, counts[4])
    assert (predictions.logits(corrected[rows]) == expected).all()
    predictions.check(corrected, "corrected")


def test_rebalanced_probabilities_are_those_of_equally_common_classes():
    shares = np.array([0.1, 0.2, 0.7])
    likelihood = np.random.default_rng(5).random((20, 3))
    natural = likelihood * shares / (likelihood * shares).sum(axis=1, keepdims=True)
    expected = likelihood / likelihood.sum(axis=1, keepdims=True)
    assert calibration.rebalanced(natural, shares) == pytest.approx(expected)
    assert calibration.rebalanced(natural, np.tile(shares, (20, 1))) == pytest.approx(expected)
    assert np.isfinite(calibration.rebalanced(natural, np.array([0, 0.3, 0.7]))).all()


@pytest.mark.parametrize("file", sorted(paths.REPORTS_PREDICTIONS.glob("*.csv.gz")), ids=lambda file: file.name)
def test_scaling_fitted_on_validation_images_holds_on_the_test_images_of_the_published_predictions(file):
    table = predictions.read(file)
    test = predictions.select(table, "test")
    labels, groups = predictions.labels(test), test["group"].to_numpy()
    ways = ("as_trained", "temperature", "vector")
    scored = {way: calibration.probabilities(table, "test", way) for way in ways}
    weights = bootstrap.lesion_resamples(groups, labels, 20, seed=0)
    found = reliability.calibration_errors(labels, {"it": scored}, weights, 0.95).set_index("way")
    assert found.loc["temperature", "nll_change"] <= 0.005
    assert found.loc["vector", "nll"] <= found.loc["temperature", "nll"] + 0.005
    assert found.loc["vector", "class_ece"] < 0.02


@pytest.mark.parametrize("strategy", ["none", "balanced_weights"])
def test_every_way_at_once_gives_what_each_gives_alone(strategy):
    table = synthetic_predictions(synthetic_index(), 1.0, seed=1)
    plan = balancing.Plan(strategy=strategy, **PLAN)
    found = calibration.every_way(table, "test", plan)
    assert list(found) == list(calibration.WAYS)
    for way, own in found.items():
        assert np.array_equal(own, calibration.probabilities(table, "test", way, plan))
