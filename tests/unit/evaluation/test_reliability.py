"""Calibration errors and reliability diagrams against scikit-learn, resampling by hand and repeated draws."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.evaluation import bootstrap, reliability, weighted
from skinlesions.evaluation.metrics import softmax, summary
from tests.helpers.scores import skewed


def test_reliability_of_honest_probabilities_lies_on_the_diagonal():
    labels, truth, _ = skewed(6000, seed=8)
    probabilities = softmax(truth)
    weights = bootstrap.lesion_resamples(np.arange(6000), labels, 300, seed=0)
    table = reliability.diagram(labels, probabilities, weights, 0.95)
    assert table["dx"].unique().tolist() == [reliability.PREDICTED, *CLASSES]
    assert (table.groupby("dx")["images"].sum() == 6000).all()
    assert (table["images"] == 400).all()
    predicted = table[table["dx"] == reliability.PREDICTED]
    assert predicted["confidence"].is_monotonic_increasing
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()
    inside = (table["low"] <= table["confidence"]) & (table["confidence"] <= table["high"])
    assert inside.mean() > 0.85
    gap = (predicted["images"] * (predicted["share"] - predicted["confidence"]).abs()).sum() / 6000
    assert gap == pytest.approx(summary(labels, probabilities)["ece"])


@pytest.fixture(scope="module")
def tabulated():
    """A model that overstates the rare classes and one that is honest, on images of which some share a lesion."""
    labels, truth, stated = skewed(900, seed=9)
    weights = bootstrap.lesion_resamples(np.arange(900) // 2, labels, 60, seed=1)
    scored = {"wrong": {"as_trained": softmax(stated), "vector": softmax(truth)}, "honest": {"vector": softmax(truth)}}
    return labels, scored, weights, reliability.tables(labels, scored, weights, 0.9, ["wrong"])


def test_scores_against_scikit_learn(tabulated):
    labels, scored, _, found = tabulated
    overall = found["calibration"].set_index(["model", "way"])
    assert list(overall.index) == [("wrong", "as_trained"), ("wrong", "vector"), ("honest", "vector")]
    for (model, way), row in overall.iterrows():
        stated = scored[model][way]
        assert row["nll"] == pytest.approx(log_loss(labels, stated, labels=range(7)))
        assert row["brier"] == pytest.approx(brier_score_loss(labels, stated, labels=range(7), scale_by_half=False))
        errors = []
        for right, probability in (
            (labels == stated.argmax(axis=1), stated.max(axis=1)),
            *((labels == k, stated[:, k]) for k in range(7)),
        ):
            share, mean = calibration_curve(right, probability, n_bins=15, strategy="quantile")
            # 60 images in every bin; their edges lie between images, so that one image may change sides.
            errors.append(np.abs(share - mean).mean())
        assert row["ece"] == pytest.approx(errors[0], abs=0.002)
        assert row["class_ece"] == pytest.approx(np.mean(errors[1:]), abs=0.002)
        assert row["ece"] == pytest.approx(summary(labels, stated)["ece"])


def test_intervals_are_those_of_the_resampled_images(tabulated):
    labels, scored, weights, found = tabulated
    stated = scored["wrong"]["as_trained"]
    rows = [np.repeat(np.arange(900), counts) for counts in weights]
    losses = [log_loss(labels[own], stated[own], labels=range(7)) for own in rows]
    after = [log_loss(labels[own], scored["wrong"]["vector"][own], labels=range(7)) for own in rows]
    errors = [stated[own, 4].mean() - (labels[own] == 4).mean() for own in rows]
    overall, by_class = found["calibration"], found["class_calibration"]
    assert overall.loc[0, ["nll_low", "nll_high"]].tolist() == pytest.approx(np.quantile(losses, [0.05, 0.95]))
    changes = np.quantile(np.subtract(after, losses), [0.05, 0.95])
    assert overall.loc[1, ["nll_change_low", "nll_change_high"]].tolist() == pytest.approx(changes)
    mel = by_class.query("way == 'as_trained' and dx == 'mel'").iloc[0]
    assert [mel["error_low"], mel["error_high"]] == pytest.approx(np.quantile(errors, [0.05, 0.95]))
    assert mel["error"] == pytest.approx(mel["stated"] - mel["share"])

    diagram = found["reliability"].query("way == 'as_trained' and dx == 'mel' and bin == 14").iloc[0]
    surest = np.argsort(stated[:, 4])[-60:]
    assert (diagram["images"], diagram["confidence"]) == (60, pytest.approx(stated[surest, 4].mean()))
    shares = [(labels[own] == 4)[np.isin(own, surest)].mean() for own in rows]
    assert [diagram["low"], diagram["high"]] == pytest.approx(np.quantile(shares, [0.05, 0.95]))


def test_tables_hold_what_was_asked_for(tabulated):
    labels, scored, weights, found = tabulated
    overall = found["calibration"].set_index(["model", "way"])
    assert overall.loc[("wrong", "as_trained"), ["nll_change", "nll_change_low"]].tolist() == [0, 0]
    # Without the model as trained there is nothing to compare with.
    assert np.isnan(overall.loc[("honest", "vector"), "nll_change"])
    assert overall.drop(columns=[name for name in overall if "change" in name]).notna().all(axis=None)
    for name in ("class_calibration", "reliability"):
        assert found[name]["model"].unique().tolist() == ["wrong"]
        assert found[name]["way"].unique().tolist() == ["as_trained", "vector"]
    with pytest.raises(UserError, match=r"'absent'.*wrong, honest"):
        reliability.tables(labels, scored, weights, 0.9, ["absent"])


def test_many_resamples_are_taken_in_parts(tabulated, monkeypatch):
    labels, scored, weights, found = tabulated
    monkeypatch.setattr(weighted, "CHUNK_NUMBERS", 7 * 900)
    in_parts = reliability.tables(labels, scored, weights, 0.9, ["wrong"])
    for name, table in found.items():
        pd.testing.assert_frame_equal(in_parts[name], table)


@pytest.mark.parametrize("skew", [0, 1])
def test_calibration_errors_spread_as_their_intervals_say_and_around_chance_if_honest(skew):
    """Other labels drawn from the same truth: the noise of the bins must not push the interval off the error."""
    generator = np.random.default_rng(10)
    logits = 1.5 * generator.normal(size=(1200, 7)) + np.array([-1.0, -1, 0, -2, 0, 2, -2])
    truth, stated = softmax(logits), softmax(logits * (1 + 0.3 * skew))
    tables = []
    for seed in range(20):
        labels = (truth.cumsum(axis=1) > generator.random((1200, 1))).argmax(axis=1)
        weights = bootstrap.lesion_resamples(np.arange(1200), labels, 60, seed=seed)
        tables.append(reliability.calibration_errors(labels, {"it": {"vector": stated}}, weights, 0.95))
    found = pd.concat(tables)
    for score in reliability.CHANCES:
        expected = found[score].mean()
        assert ((found[f"{score}_low"] <= expected) & (expected <= found[f"{score}_high"])).sum() >= 18
        assert (found[f"{score}_low"] <= found[score]).all() and (found[score] <= found[f"{score}_high"]).all()
        assert (found[f"{score}_low"] >= 0).all()
        excess = expected / found[f"{score}_chance"].mean()
        assert excess > 1.5 if skew else excess == pytest.approx(1, abs=0.15)
