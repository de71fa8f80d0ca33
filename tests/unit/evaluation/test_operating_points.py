"""Decisions: curves, thresholds and net benefit agree with scikit-learn and with counting by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, MALIGNANT
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import operating_points
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.evaluation.metrics import softmax
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

CONFIDENCE = 0.95


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Positive or not, and the scores of 300 images; with ties, many images share theirs."""
    generator = np.random.default_rng(1)
    positive = generator.random(300) < 0.2
    score = 1 / (1 + np.exp(-(generator.normal(size=300) + 1.5 * positive)))
    return positive, np.round(score, 1) if request.param == "ties" else score


def part(table: pd.DataFrame, split: str) -> operating_points.Part:
    """The rows of a split with the probabilities of their logits as they are."""
    return operating_points.part(table, split, softmax(predictions.logits(predictions.select(table, split))))


def both(table: pd.DataFrame) -> tuple[operating_points.Part, operating_points.Part]:
    return part(table, "test"), part(table, "val")


@pytest.fixture(scope="module")
def models() -> dict[str, pd.DataFrame]:
    index = synthetic_index()
    return {"a": synthetic_predictions(index, 1.0, seed=1), "b": synthetic_predictions(index, 2.0, seed=2)}


@pytest.fixture(scope="module")
def parts(models) -> dict[str, tuple[operating_points.Part, operating_points.Part]]:
    return {name: both(table) for name, table in models.items()}


@pytest.fixture(scope="module")
def weights(parts) -> np.ndarray:
    test, _ = parts["a"]
    return lesion_resamples(test.groups, test.labels, 100, seed=4)


@pytest.fixture(scope="module")
def tables(parts, weights) -> dict[str, pd.DataFrame]:
    return operating_points.tables(parts, weights, CONFIDENCE, ["b"])


def random_weights(rows: int, images: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 4, size=(rows, images))


def test_areas_agree_with_scikit_learn_on_every_resample(sample):
    positive, score = sample
    weights = random_weights(5, 300)
    found = operating_points.counts(positive, score, weights)
    known = [{"sample_weight": row} for row in weights]
    assert operating_points.auc(found) == pytest.approx(
        [reference.roc_auc_score(positive, score, **row) for row in known]
    )
    assert operating_points.average_precision(found) == pytest.approx(
        [reference.average_precision_score(positive, score, **row) for row in known]
    )


def test_the_corners_of_the_roc_curve_are_all_that_areas_and_curves_need(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    every, corners = (operating_points.counts(positive, score, weights, corners=chosen) for chosen in (False, True))
    assert len(corners.thresholds) < len(every.thresholds) or len(np.unique(score)) < 20
    for statistic in (
        operating_points.auc,
        operating_points.average_precision,
        operating_points.roc,
        operating_points.precision_recall,
    ):
        assert statistic(corners) == pytest.approx(statistic(every)), statistic.__name__
    # What is resampled needs no more than its corners, unless a net benefit is among it.
    areas = operating_points.resampled(positive, score, weights, ["auc", "average_precision"])
    everything = operating_points.resampled(positive, score, weights)
    assert areas["auc"] == pytest.approx(everything["auc"])
    assert areas["average_precision"] == pytest.approx(everything["average_precision"])


def test_the_roc_curve_agrees_with_scikit_learn(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    for row, ours in zip(weights, operating_points.roc(operating_points.counts(positive, score, weights)), strict=True):
        alarms, sensitivity, _ = reference.roc_curve(positive, score, sample_weight=row, drop_intermediate=False)
        assert ours == pytest.approx(np.interp(operating_points.GRID, alarms, sensitivity))
        assert (np.diff(ours) >= 0).all() and ours[-1] == 1


def test_the_precision_is_that_of_the_highest_threshold_with_the_recall(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    for row, ours in zip(
        weights, operating_points.precision_recall(operating_points.counts(positive, score, weights)), strict=True
    ):
        precision, recall, _ = reference.precision_recall_curve(positive, score, sample_weight=row)
        # From the highest threshold down, without the end that scikit-learn adds at recall 0.
        precision, recall = precision[:-1][::-1], recall[:-1][::-1]
        expected = [precision[np.flatnonzero(recall >= max(level, 1e-9) - 1e-12)[0]] for level in operating_points.GRID]
        assert ours == pytest.approx(expected)


def test_net_benefit_against_counting_by_hand(sample):
    positive, score = sample
    weights = random_weights(3, 300)
    found = operating_points.counts(positive, score, weights)
    ours, everything = operating_points.net_benefit(found), operating_points.treat_all(found)
    assert operating_points.advantage(found) == pytest.approx(np.minimum(ours, ours - everything))
    for r, row in enumerate(weights):
        for t in (0, 9, 29, 59):
            limit = operating_points.THRESHOLDS[t]
            odds = limit / (1 - limit)
            true, false = row[positive & (score >= limit)].sum(), row[~positive & (score >= limit)].sum()
            assert ours[r, t] == pytest.approx((true - false * odds) / row.sum())
            assert everything[r, t] == pytest.approx((row[positive].sum() - row[~positive].sum() * odds) / row.sum())


def test_below_the_lowest_score_the_net_benefit_is_that_of_treating_all():
    positive, score = np.array([True, False, False]), np.array([0.9, 0.5, 0.4])
    found = operating_points.counts(positive, score, np.ones((1, 3)))
    below = operating_points.THRESHOLDS <= 0.4
    assert (operating_points.net_benefit(found)[0, below] == operating_points.treat_all(found)[0, below]).all()


def test_an_image_of_weight_two_counts_as_two_images(sample):
    positive, score = sample
    weights = random_weights(1, 300)
    once = np.ones((1, weights.sum()), dtype=int)
    weighted = operating_points.resampled(positive, score, weights)
    repeated = operating_points.resampled(np.repeat(positive, weights[0]), np.repeat(score, weights[0]), once)
    for name, values in weighted.items():
        assert values == pytest.approx(repeated[name]), name


def test_without_both_kinds_of_image_there_is_no_curve():
    score = np.array([0.2, 0.6])
    nothing = operating_points.resampled(np.array([True, False]), score, np.array([[1, 0], [0, 1]]))
    assert np.isnan(nothing["auc"]).all()
    assert np.isnan(nothing["average_precision"]).tolist() == [False, True]
    assert np.isnan(nothing["roc"]).all()
    assert np.isnan(nothing["precision_recall"]).all(axis=1).tolist() == [False, True]


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ValueError, match="must be"):
        operating_points.counts(np.array([True]), np.array([0.5, 0.6]), np.ones((1, 2)))


@pytest.mark.parametrize("target", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_thresholds_against_trying_every_score(sample, target):
    positive, score = sample
    tried = np.append(np.unique(score), np.inf)
    sensitivity = np.array([(score[positive] >= limit).mean() for limit in tried])
    specificity = np.array([(score[~positive] < limit).mean() for limit in tried])
    assert (
        operating_points.threshold(positive, score, "specificity", target) == tried[specificity >= target - 1e-12].min()
    )
    assert (
        operating_points.threshold(positive, score, "sensitivity", target) == tried[sensitivity >= target - 1e-12].max()
    )


def test_a_threshold_needs_both_kinds_and_a_known_criterion():
    with pytest.raises(ValueError, match="positive and negative"):
        operating_points.threshold(np.array([True, True]), np.array([0.1, 0.2]), "specificity", 0.9)
    with pytest.raises(ValueError, match="specificity, sensitivity"):
        operating_points.threshold(np.array([True, False]), np.array([0.1, 0.2]), "accuracy", 0.9)


def test_rates_of_several_ways_to_call_are_those_of_each(sample):
    positive, score = sample
    weights = random_weights(4, 300)
    ways = np.stack([score >= limit for limit in (0.3, 0.5, 2.0)], axis=1)
    together = operating_points.rates(positive, ways, weights)
    for place, is_called in enumerate(ways.T):
        alone = operating_points.rates(positive, is_called, weights)
        for one, all_ways in zip(alone, together, strict=True):
            assert (one == all_ways[:, place]).all()
        for row, sensitivity, specificity in zip(weights, *alone, strict=True):
            known = {"sample_weight": row}
            assert sensitivity == pytest.approx(reference.recall_score(positive, is_called, **known))
            assert specificity == pytest.approx(reference.recall_score(~positive, ~is_called, **known))


def test_the_sample_comes_before_its_resamples():
    weights = np.array([[2, 0, 1], [0, 3, 0]], dtype=np.uint16)
    assert operating_points.with_sample(weights).tolist() == [[1, 1, 1], [2, 0, 1], [0, 3, 0]]
    row = operating_points.estimated("auc", np.array([0.9, *np.linspace(0, 1, 101), np.nan]), 0.9)
    assert row == pytest.approx({"auc": 0.9, "auc_low": 0.05, "auc_high": 0.95})


def test_a_part_has_the_rows_of_its_split_and_the_scores_are_sums_of_probabilities(models):
    test = part(models["a"], "test")
    rows = predictions.select(models["a"], "test")
    assert test.groups.tolist() == rows["group"].tolist() and test.fold.tolist() == rows["fold"].tolist()
    malignant = operating_points.scores(test.probabilities, MALIGNANT)
    assert malignant == pytest.approx(sum(test.probabilities[:, CLASSES.index(name)] for name in MALIGNANT))
    assert (operating_points.positives(test.labels, MALIGNANT) == rows["dx"].isin(["mel", "bcc", "akiec"])).all()
    with pytest.raises(ValueError, match="val row by row"):
        operating_points.part(models["a"], "val", test.probabilities[1:])


def test_thresholds_come_from_the_validation_images_of_the_fold_alone(models):
    """Changing every test row changes no threshold; a fold's threshold changes with its own validation rows only."""
    table = models["a"]
    val = part(table, "val")
    chosen = operating_points.fold_thresholds(val, MALIGNANT, "specificity", 0.9)
    disturbed = table.copy()
    disturbed.loc[disturbed["split"] == "test", "logit_mel"] += 5
    assert operating_points.fold_thresholds(part(disturbed, "val"), MALIGNANT, "specificity", 0.9) == chosen
    disturbed.loc[(disturbed["split"] == "val") & (disturbed["fold"] == 2), "logit_mel"] += 5
    again = operating_points.fold_thresholds(part(disturbed, "val"), MALIGNANT, "specificity", 0.9)
    assert {fold for fold in chosen if again[fold] != chosen[fold]} == {2}

    rows = val.fold == 3
    positive, score = (
        operating_points.positives(val.labels[rows], MALIGNANT),
        operating_points.scores(val.probabilities, MALIGNANT),
    )
    assert (score[rows][~positive] < chosen[3]).mean() >= 0.9


def test_an_operating_point_is_what_its_thresholds_do_to_the_test_images(parts, tables):
    row = (
        tables["operating_points"]
        .set_index(["model", "task", "criterion", "target"])
        .loc[("b", "malignant", "specificity", 0.9)]
    )
    test, val = parts["b"]
    limits = operating_points.fold_thresholds(val, MALIGNANT, "specificity", 0.9)
    called = operating_points.scores(test.probabilities, MALIGNANT) >= np.array([limits[fold] for fold in test.fold])
    truth = operating_points.positives(test.labels, MALIGNANT)
    assert row["sensitivity"] == pytest.approx(reference.recall_score(truth, called))
    assert row["specificity"] == pytest.approx(reference.recall_score(~truth, ~called))
    assert (row["threshold_min"], row["threshold_max"]) == (min(limits.values()), max(limits.values()))
    for metric in ("sensitivity", "specificity"):
        assert row[f"{metric}_low"] < row[metric] < row[f"{metric}_high"]


def test_a_better_model_finds_more_at_the_same_specificity(tables):
    points = tables["operating_points"].query("criterion == 'specificity'").set_index(["task", "target", "model"])
    better, worse = (points["sensitivity"].xs(name, level="model") for name in ("b", "a"))
    assert (better > worse).all()


def test_every_model_is_tabulated_and_those_drawn_have_curves(parts, weights, tables):
    assert list(tables["discrimination"]["model"].unique()) == ["a", "b"]
    assert len(tables["operating_points"]) == 2 * 2 * 2 * 2
    table = tables["discrimination"]
    assert ((table["auc_low"] < table["auc"]) & (table["auc"] < table["auc_high"])).all()
    assert set(tables["curves"]["model"]) == {"b"}
    assert set(tables["curves"]["curve"]) == set(operating_points.CURVES)
    assert not tables["curves"].isna().any(axis=None)
    test, _ = parts["b"]
    row = table.set_index(["model", "task"]).loc[("b", "melanoma")]
    mel = CLASSES.index("mel")
    assert row["auc"] == pytest.approx(reference.roc_auc_score(test.labels == mel, test.probabilities[:, mel]))
    again = operating_points.tables(parts, weights, CONFIDENCE, ["b", "a"])["curves"]
    assert set(again["model"]) == {"a", "b"}


def test_an_advantage_above_zero_is_above_both_defaults(tables):
    wide = tables["curves"].pivot(index=["task", "x"], columns="curve", values=["y", "low", "high"])
    wide = wide.dropna(subset=[("y", "advantage")])
    better = np.maximum(wide["y", "treat_all"], 0)
    assert wide["y", "advantage"].to_numpy() == pytest.approx((wide["y", "net_benefit"] - better).to_numpy())
    above = wide["low", "advantage"] > 0
    assert above.any() and (wide["low", "net_benefit"][above] > 0).all()
    assert (wide["y", "net_benefit"] > better)[above].all()


def test_bands_hold_their_curve_almost_everywhere(tables):
    curves = tables["curves"]
    inside = (curves["low"] - 1e-9 <= curves["y"]) & (curves["y"] <= curves["high"] + 1e-9)
    assert inside.groupby(curves["curve"]).mean().min() > 0.9


def test_the_same_parts_give_the_same_tables(parts, weights, tables):
    again = operating_points.tables(parts, weights, CONFIDENCE, ["b"])
    for name, table in tables.items():
        assert files.csv_bytes(again[name]) == files.csv_bytes(table), name


def test_what_cannot_be_decided_is_refused(parts, weights):
    with pytest.raises(UserError, match="at least one model"):
        operating_points.tables({}, weights, CONFIDENCE, ["a"])
    with pytest.raises(UserError, match="cannot draw the curves of a, c; name some of a, b"):
        operating_points.tables(parts, weights, CONFIDENCE, ["a", "c"])
    with pytest.raises(UserError, match="curves of no model"):
        operating_points.tables(parts, weights, CONFIDENCE, [])
    one_kind = {"a": both(synthetic_predictions(synthetic_index({"bkl": 10, "nv": 20})))}
    images = len(one_kind["a"][0].labels)
    with pytest.raises(UserError, match="all of one kind"):
        operating_points.tables(one_kind, np.ones((3, images)), CONFIDENCE, ["a"])


# --- words ------------------------------------------------------------------------------------------------------


def with_advantage(tables: dict[str, pd.DataFrame], state: np.ndarray) -> dict[str, pd.DataFrame]:
    """`tables` with an advantage that is measurably above (1) or below (-1) zero, or neither (0), at each threshold."""
    curves = tables["curves"].copy()
    for task in operating_points.TASKS:
        rows = (curves["task"] == task) & (curves["curve"] == "advantage")
        peak = np.where(state > 0, np.arange(len(state)), 0) / 1000
        curves.loc[rows, "y"] = 0.02 * state + peak
        curves.loc[rows, "low"], curves.loc[rows, "high"] = 0.02 * state + peak - 0.01, 0.02 * state + peak + 0.01
    return tables | {"curves": curves}
