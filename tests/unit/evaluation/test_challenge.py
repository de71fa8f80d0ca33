"""The scores of the official scorer: against values that it gave, and against scikit-learn's metrics."""

import json
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as reference

from skinlesions.core import files, paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions, submissions
from skinlesions.evaluation import challenge
from skinlesions.evaluation.metrics import softmax

CATEGORIES = ("MEL", "NV", "BCC")

NAMES = {"overall": "balanced_accuracy", "auc": "auc", "ap": "average_precision", "auc_sens_80": "auc_sens_80"}


def overall(matched: submissions.Matched) -> dict[str, float]:
    weights = matched.weights[:, 0]
    table = challenge.by_class(matched.truth, matched.values, weights, matched.categories)
    balanced = challenge.balanced_accuracy(matched.truth, matched.values, weights)
    return {"balanced_accuracy": balanced} | challenge.macro_average(table)


@pytest.fixture(params=["continuous", "rounded", "weights", "zero weights", "hard"])
def sample(request):
    """Truth, values (rows do not sum to 1) and weights of 300 images of three classes."""
    generator = np.random.default_rng(8)
    truth = generator.integers(3, size=300)
    values = np.clip(generator.normal(0.4, 0.2, size=(300, 3)) + 0.2 * np.eye(3)[truth], 0, 1)
    weights = np.ones(300)
    if request.param == "rounded":
        values = values.round(1)
    if request.param == "hard":
        values = np.eye(3)[values.argmax(axis=1)]
    if "weights" in request.param:
        weights = generator.choice([0.5, 1.0, 2.0] if request.param == "weights" else [0.0, 1.0], size=300)
    return truth, values, weights


def test_every_score_agrees_with_scikit_learn(sample):
    truth, values, weights = sample
    table = challenge.by_class(truth, values, weights, CATEGORIES).set_index("class")
    known = {"sample_weight": weights}
    for position, name in enumerate(CATEGORIES):
        positive, scores = truth == position, values[:, position]
        called = scores > 0.5
        # Of a specificity scikit-learn knows nothing: it is the sensitivity to the others.
        expected = {
            "accuracy": reference.accuracy_score(positive, called, **known),
            "sensitivity": reference.recall_score(positive, called, zero_division=1, **known),
            "specificity": reference.recall_score(~positive, ~called, zero_division=1, **known),
            "f1": reference.f1_score(positive, called, zero_division=1, **known),
            "ppv": reference.precision_score(positive, called, zero_division=1, **known),
            "npv": reference.precision_score(~positive, ~called, zero_division=1, **known),
            "auc": reference.roc_auc_score(positive, scores, **known),
            "auc_sens_80": area_above(positive, scores, weights, 0.8),
            "average_precision": reference.average_precision_score(positive, scores, **known),
        }
        assert table.loc[name].to_dict() == pytest.approx(expected, abs=1e-9)
    answers = np.array([-1 if sorted(row)[-1] == sorted(row)[-2] else np.argmax(row) for row in values])
    recall = reference.recall_score(truth, answers, labels=range(3), average="macro", **known)
    assert challenge.balanced_accuracy(truth, values, weights) == pytest.approx(recall)


def area_above(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, sensitivity: float) -> float:
    """By a fine grid over the false-positive rate of scikit-learn's curve."""
    false, true, _ = reference.roc_curve(positive, scores, sample_weight=weights, drop_intermediate=False)
    after = np.flatnonzero(true >= sensitivity)[0]
    share = (sensitivity - true[after - 1]) / (true[after] - true[after - 1])
    start = false[after - 1] + share * (false[after] - false[after - 1])
    pieces = [(start, sensitivity), *zip(false[after:], true[after:], strict=True)]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(pieces))


def test_what_has_no_cases_counts_as_one_and_has_no_area():
    table = challenge.by_class(np.zeros(4, int), np.full((4, 2), 0.1), np.ones(4), ("A", "B")).set_index("class")
    assert table.loc["B", ["sensitivity", "ppv", "f1", "accuracy", "specificity"]].tolist() == [1] * 5
    assert table.loc["A", ["sensitivity", "specificity", "ppv", "npv", "f1"]].tolist() == [0, 1, 1, 0, 0]
    assert table[list(challenge.AREAS)].isna().all().all()
    assert np.isnan(challenge.balanced_accuracy(np.zeros(2, int), np.ones((2, 2)), np.zeros(2)))


def test_the_area_above_a_sensitivity_of_a_worked_example():
    # The curve: (0, .5), (.5, .5), (.5, 1), (1, 1). It reaches .8 at a false-positive rate of .5.
    positive = np.array([True, False, True, False])
    assert challenge.auc_above(positive, np.array([0.9, 0.8, 0.7, 0.6]), np.ones(4), 0.8) == pytest.approx(0.5)
    # All equal: a straight line from (0, 0) to (1, 1), of which the part from .8 on counts.
    assert challenge.auc_above(positive, np.full(4, 0.3), np.ones(4), 0.8) == pytest.approx(0.2 * 0.9)


def test_the_cases_have_the_scores_that_the_official_scorer_gave(cases_dir):
    folder = cases_dir / "predictions"
    for case, expected in json.loads((folder / "expected.json").read_text()).items():
        files = [folder / name for name in case.split("|")]
        if "Duplicate" in expected.get("error", ""):
            with pytest.raises(UserError, match="'ISIC_0034524' is already in line 2"):
                submissions.read(*files)
            continue
        matched = submissions.read(*files)
        if "non-floating-point" in expected.get("error", ""):
            assert "the official scorer refuses" in matched.notes[0]
            continue
        found = overall(matched)
        assert {name: found[NAMES[name]] for name in expected} == pytest.approx(expected, abs=1e-6), case


HASHES = {
    "mobilenet_v2_fine_tuned": "226752887b1989e02750565232c46cef82262f81796974586523eb53ecd21f8d",
    "resnet50": "2ae0afedd8958c4b5ee0d6859a3b5dd80f0dadda897e60c17080b0782fc4694e",
}
# Of the published run's predictions, split test, with softmax; given by isic-challenge-scoring 5.8.0.
FROZEN = {
    "mobilenet_v2_fine_tuned": {"balanced_accuracy": 0.6911913, "auc": 0.9372, "average_precision": 0.6947},
    "resnet50": {"balanced_accuracy": 0.6709071},
}


@pytest.mark.parametrize("model", FROZEN)
def test_published_predictions_have_the_scores_that_the_official_scorer_gave(model):
    path = paths.REPORTS_PREDICTIONS / f"{model}.csv.gz"
    if not path.exists() or files.sha256(path) != HASHES[model]:
        pytest.skip("other predictions are published now")
    test = predictions.select(predictions.read(path), "test")
    labels, values = predictions.labels(test), softmax(predictions.logits(test))
    weights = np.ones(len(labels))
    found = challenge.macro_average(challenge.by_class(labels, values, weights, CLASSES))
    found["balanced_accuracy"] = challenge.balanced_accuracy(labels, values, weights)
    assert {name: found[name] for name in FROZEN[model]} == pytest.approx(FROZEN[model], abs=5e-5)
    assert found["balanced_accuracy"] == pytest.approx(FROZEN[model]["balanced_accuracy"], abs=1e-7)
