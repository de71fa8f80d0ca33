"""The tables about decisions: each number is what scikit-learn gives for the thresholds of the validation images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, MALIGNANT
from skinlesions.core.errors import UserError
from skinlesions.evaluation import operating_points, thresholds
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.evaluation.curves import CURVES
from tests.helpers.scores import part
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

CONFIDENCE = 0.95


def both(table: pd.DataFrame) -> tuple[thresholds.Part, thresholds.Part]:
    return part(table, "test"), part(table, "val")


@pytest.fixture(scope="module")
def models() -> dict[str, pd.DataFrame]:
    index = synthetic_index()
    return {"a": synthetic_predictions(index, 1.0, seed=1), "b": synthetic_predictions(index, 2.0, seed=2)}


@pytest.fixture(scope="module")
def parts(models) -> dict[str, tuple[thresholds.Part, thresholds.Part]]:
    return {name: both(table) for name, table in models.items()}


@pytest.fixture(scope="module")
def weights(parts) -> np.ndarray:
    test, _ = parts["a"]
    return lesion_resamples(test.groups, test.labels, 100, seed=4)


@pytest.fixture(scope="module")
def tables(parts, weights) -> dict[str, pd.DataFrame]:
    return operating_points.tables(parts, weights, CONFIDENCE, ["b"])


def test_an_operating_point_is_what_its_thresholds_do_to_the_test_images(parts, tables):
    row = (
        tables["operating_points"]
        .set_index(["model", "task", "criterion", "target"])
        .loc[("b", "malignant", "specificity", 0.9)]
    )
    test, val = parts["b"]
    limits = thresholds.fold_thresholds(val, MALIGNANT, "specificity", 0.9)
    called = thresholds.scores(test.probabilities, MALIGNANT) >= np.array([limits[fold] for fold in test.fold])
    truth = thresholds.positives(test.labels, MALIGNANT)
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
    assert set(tables["curves"]["curve"]) == set(CURVES)
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


def test_a_share_of_one_lesion_has_no_interval(parts, weights):
    test, val = parts["a"]
    # All melanomas are of one lesion, which is found or missed in every resample alike.
    mel = test.labels == CLASSES.index("mel")
    one = {"a": (replace(test, groups=np.where(mel, test.groups[mel][0], test.groups)), val)}
    weights = np.where(mel, 1, weights)
    points = operating_points.tables(one, weights, CONFIDENCE, ["a"])["operating_points"].set_index("task")
    assert points.loc["melanoma", ["sensitivity_low", "sensitivity_high"]].isna().all(axis=None)
    assert (points.loc["melanoma", "specificity_low"] < points.loc["melanoma", "specificity_high"]).all()
    assert points.loc["malignant"].notna().all(axis=None)
