from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as reference

from skinlesions.core.classes import CLASSES
from skinlesions.core.names import METRIC_NAMES
from skinlesions.evaluation.metrics import ALL_METRICS, METRICS, softmax, summary, weighted_summary

EVERY_CLASS = range(len(CLASSES))


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of 400 images; with ties, many images share their probabilities."""
    generator = np.random.default_rng(3)
    labels = generator.choice(7, size=400, p=[0.05, 0.08, 0.12, 0.03, 0.12, 0.57, 0.03])
    labels[:7] = EVERY_CLASS
    logits = generator.normal(size=(400, 7))
    logits[np.arange(400), labels] += 1.2
    probabilities = softmax(np.round(logits) if request.param == "ties" else logits)
    return labels, probabilities


def answered(probabilities: np.ndarray) -> np.ndarray:
    """The class of each row, 7 where the largest probability is there twice."""
    return np.array([7 if sorted(row)[-1] == sorted(row)[-2] else np.argmax(row) for row in probabilities])


def by_scikit_learn(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    predicted = answered(probabilities)
    known = {"sample_weight": weights}
    over_classes = {"labels": EVERY_CLASS, "average": "macro"}
    truth = np.eye(7)[labels]
    return {
        "balanced_accuracy": reference.recall_score(labels, predicted, **over_classes, **known),
        "accuracy": reference.accuracy_score(labels, predicted, **known),
        "macro_f1": reference.f1_score(labels, predicted, **over_classes, **known),
        "weighted_f1": reference.f1_score(labels, predicted, **(over_classes | {"average": "weighted"}), **known),
        "macro_auc": reference.roc_auc_score(truth, probabilities, average="macro", **known),
        "nll": reference.log_loss(labels, probabilities, labels=EVERY_CLASS, **known),
        "brier": np.average(((probabilities - truth) ** 2).sum(axis=1), weights=weights),
        **{
            f"recall_{name}": reference.recall_score(labels == k, predicted == k, **known)
            for k, name in enumerate(CLASSES)
        },
    }


def by_scikit_learn_and_class(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    predicted = answered(probabilities)
    known = {"sample_weight": weights}
    values = {
        "macro_average_precision": reference.average_precision_score(np.eye(7)[labels], probabilities, **known),
    }
    for k, name in enumerate(CLASSES):
        answers = (labels == k, predicted == k)
        values |= {
            f"specificity_{name}": reference.recall_score(*answers, pos_label=False, **known),
            f"precision_{name}": reference.precision_score(*answers, **known),
            f"f1_{name}": reference.f1_score(*answers, **known),
            f"auc_{name}": reference.roc_auc_score(labels == k, probabilities[:, k], **known),
            f"average_precision_{name}": reference.average_precision_score(labels == k, probabilities[:, k], **known),
        }
    return values


def test_summary_agrees_with_scikit_learn(sample):
    ours = summary(*sample)
    theirs = by_scikit_learn(*sample, np.ones(400))
    assert tuple(ours) == METRICS
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-12)


def test_weighted_metrics_agree_with_scikit_learn_on_every_resample(sample):
    weights = np.random.default_rng(4).poisson(1.0, size=(5, 400))
    weights[:, :7] = 1  # every class occurs: scikit-learn's AUC needs it
    ours = weighted_summary(*sample, weights)
    for row in range(5):
        theirs = by_scikit_learn(*sample, weights[row])
        assert {name: ours[name][row] for name in theirs} == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("kind", ["counts", "fractions"])
def test_the_scores_of_each_class_agree_with_scikit_learn(sample, kind):
    generator = np.random.default_rng(14)
    weights = {"counts": generator.poisson(1.0, size=(5, 400)), "fractions": generator.random(size=(5, 400))}[kind]
    weights[0] = 1
    weights[:, :7] = 1
    ours = weighted_summary(*sample, weights, by_class=True)
    assert tuple(ours) == ALL_METRICS
    assert set(METRIC_NAMES) == set(ALL_METRICS)
    for row in range(5):
        theirs = by_scikit_learn_and_class(*sample, weights[row])
        assert set(theirs) == set(ALL_METRICS) - set(METRICS)
        assert {name: ours[name][row] for name in theirs} == pytest.approx(theirs, rel=1e-9)


def test_asking_for_each_class_changes_no_other_metric(sample):
    weights = np.random.default_rng(15).poisson(1.0, size=(5, 400))
    few, all_of_them = weighted_summary(*sample, weights), weighted_summary(*sample, weights, by_class=True)
    for name in METRICS:
        assert few[name].tobytes() == all_of_them[name].tobytes()
    assert summary(*sample, by_class=True)["macro_auc"] == pytest.approx(
        np.mean([summary(*sample, by_class=True)[f"auc_{name}"] for name in CLASSES])
    )


def test_the_average_precision_of_a_worked_example():
    # Ranks 1, 2 and 4 of five hold the class: precisions 1, 1 and 3/4 there; a tie is called as a whole.
    labels = np.array([0, 0, 1, 0, 1])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    others = np.zeros((5, 5))
    value = summary(labels, np.c_[scores, 1 - scores, others], by_class=True)["average_precision_akiec"]
    assert value == 2.75 / 3
    scores = np.array([0.9, 0.7, 0.7, 0.6, 0.5])
    value = summary(labels, np.c_[scores, 1 - scores, others], by_class=True)["average_precision_akiec"]
    assert value == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_weights_mean_the_same_as_repeated_images(sample):
    labels, probabilities = sample
    weights = np.random.default_rng(5).poisson(1.0, size=400)
    repeated = summary(np.repeat(labels, weights), np.repeat(probabilities, weights, axis=0), by_class=True)
    weighted = weighted_summary(labels, probabilities, weights[None], by_class=True)
    # The calibration error keeps the bins of the original sample, so it is not the same by design.
    for name in set(ALL_METRICS) - {"ece"}:
        assert weighted[name][0] == pytest.approx(repeated[name], rel=1e-12)


def test_an_image_whose_largest_probability_is_there_twice_is_wrong_and_called_nothing():
    probabilities = np.array([[0.4, 0.4, 0.2], [0.4, 0.2, 0.4], [0.1, 0.8, 0.1]]) @ np.eye(3, 7)
    values = summary(np.array([0, 1, 1]), probabilities, by_class=True)
    assert (values["recall_akiec"], values["recall_bcc"]) == (0, 0.5)
    assert np.isnan(values["precision_akiec"]) and values["precision_bcc"] == 1
    assert (values["specificity_akiec"], values["specificity_bkl"]) == (1, 1)
    assert values["accuracy"] == pytest.approx(1 / 3)


def test_calibration_error_against_a_loop_over_equal_mass_bins():
    generator = np.random.default_rng(6)
    probabilities = softmax(generator.normal(size=(307, 7)))
    labels = generator.integers(7, size=307)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence)
    # Rank r of N lies in bin floor(15 r / N): bins of 20 or 21 of the 307 images.
    starts = [int(np.ceil(k * 307 / 15)) for k in range(16)]
    bins = [order[low:high] for low, high in pairwise(starts)]
    assert {len(rows) for rows in bins} == {20, 21}
    expected = sum(len(rows) / 307 * abs(correct[rows].mean() - confidence[rows].mean()) for rows in bins)
    assert summary(labels, probabilities)["ece"] == pytest.approx(expected, rel=1e-12)


def test_known_calibration_errors():
    labels = np.repeat([0, 1], [80, 20])
    certain = np.tile(np.eye(7)[0], (100, 1))
    assert summary(labels, certain)["ece"] == pytest.approx(0.2)
    honest = np.tile([0.8, 0.2, 0, 0, 0, 0, 0], (100, 1))
    assert summary(labels, honest)["ece"] == pytest.approx(0, abs=1e-12)


def test_metrics_do_not_depend_on_the_order_of_the_images(sample):
    labels, probabilities = sample
    order = np.random.default_rng(8).permutation(400)
    assert summary(labels[order], probabilities[order]) == pytest.approx(summary(labels, probabilities), rel=1e-12)


def test_perfect_and_constant_predictions():
    labels = np.arange(70) % 7
    perfect = summary(labels, np.eye(7)[labels], by_class=True)
    assert perfect == pytest.approx({name: 0.0 if name in ("nll", "brier", "ece") else 1.0 for name in ALL_METRICS})
    constant = summary(labels, np.tile(np.eye(7)[5], (70, 1)), by_class=True)
    assert constant["macro_average_precision"] == pytest.approx(1 / 7)
    assert constant["specificity_nv"] == 0
    assert np.isnan(constant["precision_mel"]) and constant["f1_mel"] == 0
    assert constant["balanced_accuracy"] == pytest.approx(1 / 7)
    assert constant["macro_auc"] == 0.5
    assert constant["macro_f1"] == pytest.approx(0.25 / 7)


def test_absent_classes_are_left_out_and_never_crash():
    labels = np.array([4, 5, 5, 5])
    probabilities = softmax(np.random.default_rng(9).normal(size=(4, 7)))
    values = summary(labels, probabilities, by_class=True)
    assert np.isnan([values[f"{metric}_df"] for metric in ("recall", "auc", "average_precision")]).all()
    assert values["macro_average_precision"] == pytest.approx(
        (values["average_precision_mel"] + values["average_precision_nv"]) / 2
    )
    assert values["balanced_accuracy"] == pytest.approx((values["recall_mel"] + values["recall_nv"]) / 2)
    assert not np.isnan([values[name] for name in METRICS if not name.startswith("recall")]).any()
    one_class = summary(labels[1:], probabilities[1:])
    assert np.isnan(one_class["macro_auc"])
    assert one_class["balanced_accuracy"] == one_class["accuracy"]


def test_softmax_of_huge_logits():
    assert softmax(np.array([[1e4, 0.0], [-1e4, 0.0]])) == pytest.approx(np.array([[1, 0], [0, 1]]))
    assert softmax(np.zeros((2, 3, 7), dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.array([], dtype=int), np.zeros((0, 7)), "non-empty"),
        (np.array([0]), np.ones((1, 6)), "probabilities must be"),
        (np.array([7]), np.ones((1, 7)), "labels must be 0 to 6"),
        (np.array([0]), np.full((1, 7), np.nan), r"\[0, 1\]"),
        (np.array([0]), np.full((1, 7), -3.0), "softmax"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        summary(labels, probabilities)
