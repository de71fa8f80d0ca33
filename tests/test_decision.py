"""Decisions: curves, thresholds and net benefit agree with scikit-learn and with counting by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from skinlesions import calibration, decision, files, predictions
from skinlesions.dataset.schema import CLASSES, MALIGNANT
from skinlesions.errors import UserError
from tests.synthetic import synthetic_index, synthetic_predictions

SETTINGS = {"confidence": 0.95, "resamples": 100, "seed": 4}


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, and the scores of 300 images; with ties, many images share theirs."""
    generator = np.random.default_rng(1)
    positive = generator.random(300) < 0.2
    score = 1 / (1 + np.exp(-(generator.normal(size=300) + 1.5 * positive)))
    return positive, np.round(score, 1) if request.param == "ties" else score


@pytest.fixture(scope="module")
def models() -> dict[str, pd.DataFrame]:
    index = synthetic_index()
    return {"a": synthetic_predictions(index, 1.0, seed=1), "b": synthetic_predictions(index, 2.0, seed=2)}


@pytest.fixture(scope="module")
def tables(models) -> dict[str, pd.DataFrame]:
    return decision.tables(models, **SETTINGS)


def random_weights(rows: int, images: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4, size=(rows, images))


def test_areas_agree_with_scikit_learn_on_every_resample(sample):
    positive, score = sample
    weights = random_weights(5, 300)
    found = decision.counts(positive, score, weights)
    known = [{"sample_weight": row} for row in weights]
    assert decision.auc(found) == pytest.approx([reference.roc_auc_score(positive, score, **row) for row in known])
    assert decision.average_precision(found) == pytest.approx(
        [reference.average_precision_score(positive, score, **row) for row in known]
    )


def test_the_roc_curve_agrees_with_scikit_learn(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    for row, ours in zip(weights, decision.roc(decision.counts(positive, score, weights)), strict=True):
        alarms, sensitivity, _ = reference.roc_curve(positive, score, sample_weight=row, drop_intermediate=False)
        assert ours == pytest.approx(np.interp(decision.GRID, alarms, sensitivity))
        assert (np.diff(ours) >= 0).all() and ours[-1] == 1


def test_the_precision_is_that_of_the_highest_threshold_with_the_recall(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    for row, ours in zip(weights, decision.precision_recall(decision.counts(positive, score, weights)), strict=True):
        precision, recall, _ = reference.precision_recall_curve(positive, score, sample_weight=row)
        # From the highest threshold down, without the end that scikit-learn adds at recall 0.
        precision, recall = precision[:-1][::-1], recall[:-1][::-1]
        expected = [precision[np.flatnonzero(recall >= max(level, 1e-9) - 1e-12)[0]] for level in decision.GRID]
        assert ours == pytest.approx(expected)


def test_net_benefit_against_counting_by_hand(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    found = decision.counts(positive, score, weights)
    ours, everything = decision.net_benefit(found), decision.treat_all(found)
    for r, row in enumerate(weights):
        for t in (0, 9, 29, 59):
            limit = decision.THRESHOLDS[t]
            odds = limit / (1 - limit)
            true, false = row[positive & (score >= limit)].sum(), row[~positive & (score >= limit)].sum()
            assert ours[r, t] == pytest.approx((true - false * odds) / row.sum())
            assert everything[r, t] == pytest.approx((row[positive].sum() - row[~positive].sum() * odds) / row.sum())


def test_below_the_lowest_score_the_net_benefit_is_that_of_treating_all():
    positive, score = np.array([True, False, False]), np.array([0.9, 0.5, 0.4])
    found = decision.counts(positive, score, np.ones((1, 3)))
    below = decision.THRESHOLDS <= 0.4
    assert (decision.net_benefit(found)[0, below] == decision.treat_all(found)[0, below]).all()


def test_an_image_of_weight_two_counts_as_two_images(sample):
    positive, score = sample
    weights = random_weights(1, 300)
    once = np.ones((1, weights.sum()), dtype=int)
    weighted = decision.resampled(positive, score, weights)
    repeated = decision.resampled(np.repeat(positive, weights[0]), np.repeat(score, weights[0]), once)
    for name, values in weighted.items():
        assert values == pytest.approx(repeated[name]), name


def test_without_both_kinds_of_image_there_is_no_curve():
    score = np.array([0.2, 0.6])
    nothing = decision.resampled(np.array([True, False]), score, np.array([[1, 0], [0, 1]]))
    assert np.isnan(nothing["auc"]).all()
    assert np.isnan(nothing["average_precision"]).tolist() == [False, True]
    assert np.isnan(nothing["roc"]).all()
    assert np.isnan(nothing["precision_recall"]).all(axis=1).tolist() == [False, True]


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="must be"):
        decision.counts(np.array([True]), np.array([0.5, 0.6]), np.ones((1, 2)))


@pytest.mark.parametrize("target", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_thresholds_against_trying_every_score(sample, target):
    positive, score = sample
    tried = np.append(np.unique(score), np.inf)
    sensitivity = np.array([(score[positive] >= limit).mean() for limit in tried])
    specificity = np.array([(score[~positive] < limit).mean() for limit in tried])
    assert decision.threshold(positive, score, "specificity", target) == tried[specificity >= target - 1e-12].min()
    assert decision.threshold(positive, score, "sensitivity", target) == tried[sensitivity >= target - 1e-12].max()


def test_a_threshold_needs_both_kinds_and_a_known_criterion():
    with pytest.raises(ValueError, match="positive and negative"):
        decision.threshold(np.array([True, True]), np.array([0.1, 0.2]), "specificity", 0.9)
    with pytest.raises(ValueError, match="specificity, sensitivity"):
        decision.threshold(np.array([True, False]), np.array([0.1, 0.2]), "accuracy", 0.9)


def test_scores_are_sums_of_calibrated_probabilities(models):
    test = decision.part(models["a"], "test")
    expected = calibration.calibrated_probabilities(models["a"], calibration.fold_temperatures(models["a"]))
    assert test.probabilities == pytest.approx(expected, abs=0)
    malignant = decision.scores(test.probabilities, MALIGNANT)
    assert malignant == pytest.approx(sum(expected[:, CLASSES.index(name)] for name in MALIGNANT))
    dx = predictions.select(models["a"], "test")["dx"]
    assert (decision.positives(test.labels, MALIGNANT) == dx.isin(["mel", "bcc", "akiec"])).all()


def test_thresholds_come_from_the_validation_images_of_the_fold_alone(models):
    """Changing every test row changes no threshold; a fold's threshold changes with its own validation rows only."""
    table = models["a"]
    val = decision.part(table, "val")
    chosen = decision.fold_thresholds(val, MALIGNANT, "specificity", 0.9)
    disturbed = table.copy()
    disturbed.loc[disturbed["split"] == "test", "logit_mel"] += 5
    assert decision.fold_thresholds(decision.part(disturbed, "val"), MALIGNANT, "specificity", 0.9) == chosen
    disturbed.loc[(disturbed["split"] == "val") & (disturbed["fold"] == 2), "logit_mel"] += 5
    again = decision.fold_thresholds(decision.part(disturbed, "val"), MALIGNANT, "specificity", 0.9)
    assert {fold for fold in chosen if again[fold] != chosen[fold]} == {2}

    rows = val.fold == 3
    positive, score = decision.positives(val.labels[rows], MALIGNANT), decision.scores(val.probabilities, MALIGNANT)
    assert (score[rows][~positive] < chosen[3]).mean() >= 0.9


def test_an_operating_point_is_what_its_thresholds_do_to_the_test_images(models, tables):
    row = (
        tables["operating_points"]
        .set_index(["model", "task", "criterion", "target"])
        .loc[("b", "malignant", "specificity", 0.9)]
    )
    test, val = (decision.part(models["b"], split) for split in ("test", "val"))
    limits = decision.fold_thresholds(val, MALIGNANT, "specificity", 0.9)
    called = decision.scores(test.probabilities, MALIGNANT) >= np.array([limits[fold] for fold in test.fold])
    truth = decision.positives(test.labels, MALIGNANT)
    assert row["sensitivity"] == pytest.approx(reference.recall_score(truth, called))
    assert row["specificity"] == pytest.approx(reference.recall_score(~truth, ~called))
    assert (row["threshold_min"], row["threshold_max"]) == (min(limits.values()), max(limits.values()))
    for metric in ("sensitivity", "specificity"):
        assert row[f"{metric}_low"] < row[metric] < row[f"{metric}_high"]


def test_a_better_model_finds_more_at_the_same_specificity(tables):
    points = tables["operating_points"].query("criterion == 'specificity'").set_index(["task", "target", "model"])
    better, worse = (points["sensitivity"].xs(name, level="model") for name in ("b", "a"))
    assert (better > worse).all()


def test_every_model_and_the_ensemble_are_tabulated(tables):
    assert list(tables["discrimination"]["model"].unique()) == ["a", "b", "ensemble"]
    assert len(tables["operating_points"]) == 3 * 2 * 2 * 2
    table = tables["discrimination"]
    assert ((table["auc_low"] < table["auc"]) & (table["auc"] < table["auc_high"])).all()
    assert set(tables["curves"]["model"]) == {"ensemble"}
    assert set(tables["curves"]["curve"]) == set(decision.CURVES)
    assert not tables["curves"].isna().any(axis=None)


def test_the_ensemble_is_the_mean_of_calibrated_probabilities(models, tables):
    parts = [decision.part(table, "test") for table in models.values()]
    mean = decision.scores(np.mean([part.probabilities for part in parts], axis=0), ("mel",))
    row = tables["discrimination"].set_index(["model", "task"]).loc[("ensemble", "melanoma")]
    assert row["auc"] == pytest.approx(reference.roc_auc_score(parts[0].labels == CLASSES.index("mel"), mean))


def test_the_ensemble_has_the_members_that_are_named(models, tables):
    more = models | {"c": synthetic_predictions(synthetic_index(), 0.1, seed=3)}
    chosen = decision.tables(more, **SETTINGS, ensemble=["b", "a"])["discrimination"]
    ensembles = [
        table[table["model"] == "ensemble"].reset_index(drop=True) for table in (chosen, tables["discrimination"])
    ]
    pd.testing.assert_frame_equal(*ensembles)
    assert "ensemble" not in set(decision.tables(models, **SETTINGS, ensemble=["a"])["discrimination"]["model"])
    with pytest.raises(UserError, match="member 'c', which is not among a, b"):
        decision.tables(models, **SETTINGS, ensemble=["a", "c"])


def test_bands_hold_their_curve_almost_everywhere(tables):
    curves = tables["curves"]
    inside = (curves["low"] - 1e-9 <= curves["y"]) & (curves["y"] <= curves["high"] + 1e-9)
    assert inside.groupby(curves["curve"]).mean().min() > 0.9


def test_one_model_has_its_own_curves_and_no_ensemble(models):
    alone = decision.tables({"a": models["a"]}, **SETTINGS)
    assert set(alone["discrimination"]["model"]) == set(alone["curves"]["model"]) == {"a"}
    chosen = decision.tables(models, **SETTINGS, drawn=["a", "b"])
    assert set(chosen["curves"]["model"]) == {"a", "b"}


def test_the_same_predictions_give_the_same_tables(models, tables):
    again = decision.tables(dict(reversed(models.items())), **SETTINGS)
    for name, table in tables.items():
        assert files.csv_bytes(again[name]) == files.csv_bytes(table), name


def test_what_cannot_be_decided_is_refused():
    with pytest.raises(UserError, match="at least one model"):
        decision.tables({}, **SETTINGS)
    index = synthetic_index({"bkl": 10, "nv": 20})
    with pytest.raises(UserError, match="all of one kind"):
        decision.tables({"a": synthetic_predictions(index)}, **SETTINGS)
