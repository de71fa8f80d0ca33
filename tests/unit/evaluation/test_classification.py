"""The tables of one model against scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import classification
from skinlesions.evaluation.metrics import CLASS_METRICS, softmax, summary


@pytest.fixture(params=["all classes", "a class without images", "a class that is never called"])
def scored(request):
    """Labels and probabilities of 400 images."""
    random = np.random.default_rng(0)
    labels = random.choice(7, 400, p=[0.05, 0.05, 0.1, 0.05, 0.1, 0.6, 0.05])
    logits = random.normal(size=(400, 7)) + 1.5 * np.eye(7)[labels]
    if request.param == "a class without images":
        labels[labels == 3] = 4
    if request.param == "a class that is never called":
        logits[:, 3] = -9 + logits[:, 3] / 10
    return labels, softmax(logits)


def test_the_report_is_that_of_scikit_learn(scored):
    labels, probabilities = scored
    predicted = probabilities.argmax(axis=1)
    expected = classification_report(
        labels, predicted, labels=range(7), target_names=CLASSES, output_dict=True, zero_division=0
    )
    table = classification.report_by_class(labels, probabilities).set_index("dx")
    assert table.index.tolist() == [*CLASSES, "macro mean", "weighted mean"]
    names = dict(zip(CLASSES, CLASSES, strict=True)) | {"macro mean": "macro avg", "weighted mean": "weighted avg"}
    for name, theirs in names.items():
        for column, key in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("images", "support"),
        ):
            assert table.loc[name, column] == pytest.approx(expected[theirs][key], abs=1e-12), (name, column)
    assert not table.isna().any(axis=None)


def test_the_scores_are_those_that_are_bootstrapped(scored):
    table = classification.report_by_class(*scored).set_index("dx")
    scores = summary(*scored, by_class=True)
    for name in CLASSES:
        for metric in CLASS_METRICS:
            ours = scores[f"{metric}_{name}"]
            assert table.loc[name, metric] == pytest.approx(0 if np.isnan(ours) else ours), (name, metric)


def test_calls_are_counted_and_means_are_of_the_classes(scored):
    labels, probabilities = scored
    table = classification.report_by_class(labels, probabilities).set_index("dx")
    called = np.bincount(probabilities.argmax(axis=1), minlength=7)
    assert table["called"].tolist() == [*called, len(labels), len(labels)]
    assert table.loc["macro mean", "specificity"] == pytest.approx(table.loc[list(CLASSES), "specificity"].mean())


def test_a_perfect_and_an_always_nv_classifier():
    labels = np.repeat(np.arange(7), 3)
    perfect = classification.report_by_class(labels, np.eye(7)[labels]).set_index("dx")
    scores = ["precision", "recall", "specificity", "f1", "auc", "average_precision"]
    assert (perfect[scores] == 1).all(axis=None)
    always = classification.report_by_class(labels, np.eye(7)[np.full(21, 5)]).set_index("dx")
    assert always.loc["nv", ["recall", "specificity"]].tolist() == [1, 0]
    assert always.loc["mel", ["precision", "recall", "specificity", "f1"]].tolist() == [0, 0, 1, 0]
    assert always.loc["macro mean", "recall"] == pytest.approx(1 / 7)


def test_the_confusion_table_counts_every_cell(scored):
    labels, probabilities = scored
    predicted = probabilities.argmax(axis=1)
    table = classification.confusion_table("resnet50", labels, predicted)
    assert table.columns.tolist() == ["model", "dx", "predicted", "images", "share"]
    assert len(table) == 49 and (table["model"] == "resnet50").all()
    counts = confusion_matrix(labels, predicted, labels=range(7))
    assert table["images"].tolist() == counts.ravel().tolist()
    wide = table.pivot(index="dx", columns="predicted", values="images")
    expected = pd.crosstab(np.array(CLASSES)[labels], np.array(CLASSES)[predicted])
    pd.testing.assert_frame_equal(wide.loc[expected.index, expected.columns], expected, check_names=False)
    totals = table.groupby("dx")["share"].sum(min_count=7)
    present = [name for number, name in enumerate(CLASSES) if (labels == number).any()]
    assert totals[present].to_numpy() == pytest.approx(1)
    assert totals.drop(present).isna().all()
