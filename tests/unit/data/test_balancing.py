"""What each strategy does to loss and sample, against scikit-learn, the papers and the published figures."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight

from skinlesions.core.classes import CLASSES
from skinlesions.data import balancing
from skinlesions.evaluation import metrics, strategies

# The images of HAM10000 by class, and the balanced class weights of the published work.
COUNTS = np.array([327, 514, 1099, 115, 1113, 6705, 142])
PUBLISHED = [4.38, 2.78, 1.30, 12.44, 1.29, 0.213, 10.08]

NV = CLASSES.index("nv")


def plan(strategy: str, **changed: float) -> balancing.Plan:
    numbers = {
        "nv_share_dropped": 0.671,
        "effective_number_beta": 0.999,
        "focal_gamma": 2.0,
        "logit_adjustment_tau": 1.0,
    }
    return balancing.Plan(strategy, **(numbers | changed))


@pytest.fixture(scope="module")
def labels():
    """The classes of HAM10000's images, shuffled."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(7), COUNTS))


def test_counts_include_classes_without_images():
    assert balancing.counts(np.array([1, 5, 5])).tolist() == [0, 1, 0, 0, 0, 2, 0]


def test_balanced_weights_are_those_of_scikit_learn_and_the_published_ones(labels):
    weights = balancing.class_weights(plan("balanced_weights"), balancing.counts(labels))
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(7), y=labels))
    np.testing.assert_allclose(weights, PUBLISHED, rtol=5e-3)


def test_effective_number_weights_follow_the_formula(labels):
    for beta in (0.9, 0.999, 0.9999):
        weights = balancing.class_weights(plan("effective_number_weights", effective_number_beta=beta), COUNTS)
        effective = (1 - beta**COUNTS) / (1 - beta)  # Cui et al. 2019, eq. 2
        assert np.ptp(weights * effective) == pytest.approx(0, abs=1e-9 * weights.max())
        assert (weights[labels]).mean() == pytest.approx(1)


def test_effective_numbers_lie_between_no_weights_and_balanced_ones():
    """The two ends of beta, as the paper has them."""
    none = balancing.class_weights(plan("effective_number_weights", effective_number_beta=0.0), COUNTS)
    np.testing.assert_allclose(none, np.ones(7))
    nearly = balancing.class_weights(plan("effective_number_weights", effective_number_beta=1 - 1e-9), COUNTS)
    np.testing.assert_allclose(nearly, balancing.class_weights(plan("balanced_weights"), COUNTS), rtol=1e-4)


@pytest.mark.parametrize("strategy", ["none", "undersample_nv", "oversample", "logit_adjustment", "focal_loss"])
def test_strategies_without_weights_weigh_every_image_the_same(strategy):
    np.testing.assert_array_equal(balancing.class_weights(plan(strategy), COUNTS), np.ones(7))


@pytest.mark.parametrize("strategy", ["balanced_weights", "effective_number_weights", "logit_adjustment"])
def test_a_class_that_training_lacks_gives_finite_numbers(strategy):
    counts = COUNTS.copy()
    counts[3] = 0
    weights = balancing.class_weights(plan(strategy), counts)
    assert np.isfinite(weights).all() and (weights * counts).sum() == pytest.approx(counts.sum())
    assert np.isfinite(balancing.logit_offset(plan(strategy), counts)).all()


def test_the_offset_is_the_log_prior_times_tau():
    for tau in (0.5, 1.0, 2.0):
        offset = balancing.logit_offset(plan("logit_adjustment", logit_adjustment_tau=tau), COUNTS)
        np.testing.assert_allclose(np.exp(offset / tau), COUNTS / COUNTS.sum())
    for strategy in set(balancing.DESCRIPTIONS) - {"logit_adjustment"}:
        np.testing.assert_array_equal(balancing.logit_offset(plan(strategy), COUNTS), np.zeros(7))


def test_only_the_focal_loss_has_an_exponent():
    assert {name: plan(name, focal_gamma=3.0).gamma for name in balancing.DESCRIPTIONS if name != "focal_loss"} == {
        name: 0.0 for name in balancing.DESCRIPTIONS if name != "focal_loss"
    }
    assert plan("focal_loss", focal_gamma=3.0).gamma == 3.0


@pytest.mark.parametrize("share", [0.0, 0.671, 0.999])
def test_undersampling_drops_that_share_of_nevi_and_nothing_else(labels, share):
    seen = balancing.sample(plan("undersample_nv", nv_share_dropped=share), labels, seed=1)
    assert len(np.unique(seen)) == len(seen)
    left = balancing.counts(labels[seen])
    assert left[NV] == 6705 - round(share * 6705)
    assert np.delete(left, NV).tolist() == np.delete(COUNTS, NV).tolist()


def test_which_nevi_are_dropped_hangs_on_the_seed_alone(labels):
    first, again, other = (balancing.sample(plan("undersample_nv"), labels, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(np.setdiff1d(first, other)) > 1000
    nevi = np.flatnonzero(labels == NV)
    kept = np.isin(nevi, first)
    assert kept[:3000].mean() == pytest.approx(kept[3000:].mean(), abs=0.05)  # from all over, not the first ones


def test_oversampling_repeats_by_the_published_multiples(labels):
    seen = balancing.sample(plan("oversample"), labels, seed=1)
    positions, times = np.unique(seen, return_counts=True)
    assert len(positions) == len(labels)
    multiples = dict(zip(CLASSES, (6, 4, 2, 19, 2, 1, 16), strict=True))
    assert all(times[labels[positions] == number].tolist() == [multiples[name]] * COUNTS[number]
               for number, name in enumerate(CLASSES))  # fmt: skip
    # The published set: 15,104 images, of which 2,205 are the nevi that undersampling had left.
    repeated = balancing.counts(labels[seen])
    assert repeated.sum() - repeated[NV] + 2_205 == 15_104


@pytest.mark.parametrize("strategy", ["none", "balanced_weights", "logit_adjustment", "focal_loss"])
def test_all_other_strategies_see_every_image_once(labels, strategy):
    np.testing.assert_array_equal(balancing.sample(plan(strategy), labels, seed=1), np.arange(len(labels)))


def test_plans_are_kept_in_a_file(tmp_path):
    for strategy in balancing.DESCRIPTIONS:
        balancing.write(tmp_path / "plan.json", plan(strategy))
        assert balancing.read(tmp_path / "plan.json") == plan(strategy)


def test_unknown_strategies_are_refused():
    with pytest.raises(ValueError, match="unknown balancing strategy 'smote'; known: none, balanced_weights"):
        plan("smote")


@pytest.fixture(scope="module")
def compared():
    """Three strategies: the first is best on validation, the last on test."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 12)
    groups = np.array([f"lesion_{number // 2}" for number in range(84)])  # two images each, of one class

    def logits(skill: float) -> np.ndarray:
        return random.normal(size=(84, 7)) + skill * np.eye(7)[labels]

    scores = {"none": (logits(3.0), logits(1.0)), "oversample": (logits(1.5), logits(2.0))}
    scores["focal_loss"] = (logits(0.5), logits(3.5))
    table = strategies.summarise(scores, labels, groups, confidence=0.9, resamples=200, seed=1)
    return scores, labels, groups, table


def test_the_summary_scores_both_kinds_of_folds(compared):
    scores, labels, _, table = compared
    assert table["strategy"].tolist() == list(scores)
    for row in table.to_dict("records"):
        validation, test = (part.argmax(axis=1) for part in scores[row["strategy"]])
        assert row["validation_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, validation))
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, test))
        assert row["low"] < row["balanced_accuracy"] < row["high"]
        assert row["recall_mel"] == pytest.approx((test[labels == 4] == 4).mean())
    assert set(metrics.METRICS) <= set(table.columns)
    assert table.columns[:5].tolist() == [
        "strategy", "validation_balanced_accuracy", "balanced_accuracy", "low", "high"
    ]  # fmt: skip


def test_more_confidence_makes_wider_intervals(compared):
    scores, labels, groups, table = compared
    wider = strategies.summarise(scores, labels, groups, confidence=0.99, resamples=200, seed=1)
    assert (wider["low"] < table["low"]).all() and (wider["high"] > table["high"]).all()
    again = strategies.summarise(scores, labels, groups, confidence=0.99, resamples=200, seed=1)
    pd.testing.assert_frame_equal(wider, again)


def test_the_choice_is_made_on_the_validation_folds_alone(compared):
    scores, labels, groups, table = compared
    assert table["balanced_accuracy"].idxmax() == 2  # the test folds would have chosen another
    assert strategies.choose(table, "auto") == "none"
    shuffled = {name: (validation, np.roll(test, 5, axis=0)) for name, (validation, test) in scores.items()}
    other = strategies.summarise(shuffled, labels, groups, confidence=0.9, resamples=20, seed=1)
    assert strategies.choose(other, "auto") == "none"


def test_a_strategy_that_was_set_is_kept(compared):
    assert strategies.choose(compared[3], "oversample") == "oversample"
