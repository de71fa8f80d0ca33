"""Thresholds against trying every score, and where they come from."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES, MALIGNANT
from skinlesions.data import predictions
from skinlesions.evaluation import thresholds
from tests.helpers.scores import part, scored_images
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, and the scores of 300 images; with ties, many images share theirs."""
    return scored_images(ties=request.param == "ties")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return synthetic_predictions(synthetic_index(), 1.0, seed=1)


@pytest.mark.parametrize("target", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_thresholds_against_trying_every_score(sample, target):
    positive, score = sample
    tried = np.append(np.unique(score), np.inf)
    sensitivity = np.array([(score[positive] >= limit).mean() for limit in tried])
    specificity = np.array([(score[~positive] < limit).mean() for limit in tried])
    assert thresholds.threshold(positive, score, "specificity", target) == tried[specificity >= target - 1e-12].min()
    assert thresholds.threshold(positive, score, "sensitivity", target) == tried[sensitivity >= target - 1e-12].max()


def test_a_threshold_needs_both_kinds_and_a_known_criterion():
    with pytest.raises(ValueError, match="positive and negative"):
        thresholds.threshold(np.array([True, True]), np.array([0.1, 0.2]), "specificity", 0.9)
    with pytest.raises(ValueError, match="specificity, sensitivity"):
        thresholds.threshold(np.array([True, False]), np.array([0.1, 0.2]), "accuracy", 0.9)


def test_a_part_has_the_rows_of_its_split_and_the_scores_are_sums_of_probabilities(table):
    test = part(table, "test")
    rows = predictions.select(table, "test")
    assert test.groups.tolist() == rows["group"].tolist() and test.fold.tolist() == rows["fold"].tolist()
    malignant = thresholds.scores(test.probabilities, MALIGNANT)
    assert malignant == pytest.approx(sum(test.probabilities[:, CLASSES.index(name)] for name in MALIGNANT))
    assert (thresholds.positives(test.labels, MALIGNANT) == rows["dx"].isin(["mel", "bcc", "akiec"])).all()
    with pytest.raises(ValueError, match="val row by row"):
        thresholds.part(table, "val", test.probabilities[1:])


def test_thresholds_come_from_the_validation_images_of_the_fold_alone(table):
    """Changing every test row changes no threshold; a fold's threshold changes with its own validation rows only."""
    val = part(table, "val")
    chosen = thresholds.fold_thresholds(val, MALIGNANT, "specificity", 0.9)
    disturbed = table.copy()
    disturbed.loc[disturbed["split"] == "test", "logit_mel"] += 5
    assert thresholds.fold_thresholds(part(disturbed, "val"), MALIGNANT, "specificity", 0.9) == chosen
    disturbed.loc[(disturbed["split"] == "val") & (disturbed["fold"] == 2), "logit_mel"] += 5
    again = thresholds.fold_thresholds(part(disturbed, "val"), MALIGNANT, "specificity", 0.9)
    assert {fold for fold in chosen if again[fold] != chosen[fold]} == {2}

    rows = val.fold == 3
    positive, score = (
        thresholds.positives(val.labels[rows], MALIGNANT),
        thresholds.scores(val.probabilities, MALIGNANT),
    )
    assert (score[rows][~positive] < chosen[3]).mean() >= 0.9
