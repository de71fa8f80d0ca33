"""Selective classification against its definition, written out as loops."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import files, names
from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import bootstrap, metrics, selective, weighted


@pytest.fixture(params=["continuous", "ties"])
def sample(request) -> tuple[np.ndarray, np.ndarray]:
    """Losses and certainties of 80 images: wrong answers are less certain."""
    generator = np.random.default_rng(0)
    losses = (generator.random(80) < 0.3).astype(float)
    certainty = generator.normal(size=80) - losses
    return losses, np.round(certainty) if request.param == "ties" else certainty


def risk_by_definition(losses: np.ndarray, certainty: np.ndarray, coverage: float) -> float:
    threshold = next(t for t in sorted(certainty, reverse=True) if (certainty >= t).mean() >= coverage - 1e-12)
    return losses[certainty >= threshold].mean()


def test_the_curve_and_the_area_by_their_definitions(sample):
    losses, certainty = sample
    coverages = (0.01, 0.1, 0.25, 0.5, 0.7, 0.95, 1.0)
    expected = [risk_by_definition(losses, certainty, coverage) for coverage in coverages]
    assert selective.risks(losses, certainty, coverages) == pytest.approx(expected)
    assert selective.risks(losses, certainty, (1.0,))[0] == pytest.approx(losses.mean())
    area = np.mean([losses[certainty >= own].mean() for own in certainty])
    assert selective.area(losses, certainty) == pytest.approx(area)


def test_weights_mean_the_same_as_repeated_images(sample):
    losses, certainty = sample
    weights = np.random.default_rng(1).poisson(1.0, size=(4, 80)).astype(np.uint16)
    risks, areas = selective.risks(losses, certainty, (0.2, 0.5, 1.0), weights), selective.area(*sample, weights)
    assert risks.shape == (4, 3) and areas.shape == (4,)
    for row, counts in enumerate(weights):
        again = np.repeat(losses, counts), np.repeat(certainty, counts)
        assert risks[row] == pytest.approx(selective.risks(*again, (0.2, 0.5, 1.0)))
        assert areas[row] == pytest.approx(selective.area(*again))


def test_all_classes_alike_means_equal_weight_of_each_on_every_resample(sample):
    losses, certainty = sample
    labels = np.repeat([0, 1, 5], [50, 20, 10])
    weights = np.random.default_rng(5).poisson(1.0, size=(4, 80))
    weights[0, labels == 5] = 0  # a class that a resample lacks
    risks = selective.risks(losses, certainty, (0.3, 0.8, 1.0), weights, labels)
    for row, counts in enumerate(weights):
        totals = np.bincount(labels, weights=counts, minlength=7)
        alike = counts / np.where(totals > 0, totals, 1)[labels]
        assert risks[row] == pytest.approx(selective.risks(losses, certainty, (0.3, 0.8, 1.0), alike[None])[0])
        present = [label for label in (0, 1, 5) if totals[label]]
        means = [np.average(losses[labels == label], weights=counts[labels == label]) for label in present]
        assert risks[row, 2] == pytest.approx(np.mean(means))


def test_what_becomes_of_each_class_by_its_definition(sample):
    losses, certainty = sample
    labels = np.repeat([0, 1, 5], [50, 20, 10])
    weights = np.random.default_rng(6).poisson(1.0, size=(3, 80))
    shares, recalls = selective.answered(labels, losses, certainty, (0.4, 1.0), weights)
    assert shares.shape == recalls.shape == (3, 2, 7)
    for row, counts in enumerate(weights):
        again = (np.repeat(values, counts) for values in (labels, losses, certainty))
        own_labels, own_losses, own_certainty = again
        limit = next(t for t in sorted(own_certainty, reverse=True) if (own_certainty >= t).mean() >= 0.4 - 1e-12)
        accepted = own_certainty >= limit
        for label in (0, 1, 5):
            mine = own_labels == label
            assert shares[row, 0, label] == pytest.approx(accepted[mine].mean())
            assert shares[row, 1, label] == 1
            assert recalls[row, 1, label] == pytest.approx(1 - own_losses[mine].mean())
            expected = 1 - own_losses[mine & accepted].mean() if (mine & accepted).any() else np.nan
            assert recalls[row, 0, label] == pytest.approx(expected, nan_ok=True)
        assert np.isnan(shares[row, :, [2, 3, 4, 6]]).all()


def test_resamples_in_chunks_equal_one_piece(sample, monkeypatch):
    weights = np.random.default_rng(2).poisson(1.0, size=(7, 80))
    whole = selective.risks(*sample, weights=weights), selective.area(*sample, weights)
    monkeypatch.setattr(weighted, "CHUNK_NUMBERS", 170)
    assert (selective.risks(*sample, weights=weights) == whole[0]).all()
    assert (selective.area(*sample, weights) == whole[1]).all()


def test_only_the_order_of_the_certainties_matters(sample):
    losses, certainty = sample
    assert selective.area(losses, np.exp(3 * certainty)) == selective.area(losses, certainty)
    shuffled = np.random.default_rng(3).permutation(80)
    assert selective.area(losses[shuffled], certainty[shuffled]) == pytest.approx(selective.area(losses, certainty))


def test_the_best_the_constant_and_the_worst_certainty():
    generator = np.random.default_rng(4)
    losses = np.repeat([0.0, 1.0], [1500, 500])
    rank = generator.permutation(2000) / 1e4
    best, worst = selective.area(losses, rank - losses), selective.area(losses, rank + losses)
    assert best == pytest.approx(selective.least_area(0.25), abs=1e-3)
    assert selective.area(losses, np.zeros(2000)) == pytest.approx(0.25)
    assert selective.area(losses, rank) == pytest.approx(0.25, abs=0.03)
    assert best < 0.25 < worst
    assert selective.risks(losses, rank - losses, (0.5, 0.75, 1.0)) == pytest.approx([0, 0, 0.25])
    assert selective.least_area(np.array([0.0, 1.0])) == pytest.approx([0, 1])


def test_certainties_of_models_that_agree_and_that_do_not():
    sure, unsure = np.r_[0.94, np.full(6, 0.01)], np.full(7, 1 / 7)
    other = np.roll(sure, 1)
    members = np.stack([[sure, unsure, sure], [sure, unsure, other]])
    scores = selective.certainties(members)
    assert set(scores) == set(names.CERTAINTY_NAMES)
    for name in ("probability", "entropy"):
        assert scores[name][0] == scores[name].max() and scores[name][1] == scores[name].min()
    for name in ("mutual_information", "variance"):
        # Models that are unsure in one voice do not disagree.
        assert scores[name][:2] == pytest.approx(0, abs=1e-12)
        assert scores[name][2] < -0.1
    gap = (sure + other) / 2
    expected = -(gap * np.log(gap)).sum() + (sure * np.log(sure)).sum()
    assert -scores["mutual_information"][2] == pytest.approx(expected)
    assert -scores["variance"][2] == pytest.approx(2 * (0.93 / 2) ** 2)
    certain = np.eye(7)[None, :3].repeat(2, axis=0)
    assert np.isfinite(list(selective.certainties(certain).values())).all()
    # One model has nobody to disagree with.
    assert set(selective.certainties(members[:1])) == {"probability", "entropy"}


@pytest.mark.parametrize("coverages", [(0.0, 0.5), (0.5, 1.1), (-0.1,)])
def test_coverages_out_of_range_are_refused(coverages):
    with pytest.raises(ValueError, match="up to 1"):
        selective.risks(np.zeros(3), np.arange(3), coverages)
    with pytest.raises(ValueError, match="up to 1"):
        selective.answered(np.zeros(3, dtype=int), np.zeros(3), np.arange(3), coverages, np.ones((1, 3)))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="N > 0"):
        selective.area(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match=r"\[R, N\]"):
        selective.area(np.zeros(3), np.arange(3), np.ones((2, 4)))


# --- tables -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_up() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [N], the probabilities of four models [4, N, 7] that find nevi easy, and resamples of the images."""
    generator = np.random.default_rng(7)
    labels = np.repeat(np.arange(7), [30, 40, 80, 20, 90, 500, 40])
    shared = generator.normal(size=(len(labels), 7))
    logits = shared + 0.7 * generator.normal(size=(4, len(labels), 7))
    logits[:, np.arange(len(labels)), labels] += np.where(labels == CLASSES.index("nv"), 3.5, 1.2)
    weights = bootstrap.lesion_resamples(np.arange(len(labels)), labels, 100, seed=0)
    return labels, metrics.softmax(logits), weights


@pytest.fixture(scope="module")
def found(made_up) -> dict[str, pd.DataFrame]:
    labels, members, weights = made_up
    return selective.tables(
        labels, members.mean(axis=0), selective.certainties(members), np.arange(len(labels)), weights, 0.95
    )


def test_the_curves_end_at_the_scores_of_all_images(made_up, found):
    labels, members, _ = made_up
    curves, scores = found["coverage_curves"], metrics.summary(labels, members.mean(axis=0))
    assert len(curves) == len(names.CERTAINTY_NAMES) * len(selective.COVERAGES)
    full = curves[curves["coverage"] == 1]
    assert full["risk"].to_numpy() == pytest.approx(1 - scores["accuracy"])
    assert full["balanced_risk"].to_numpy() == pytest.approx(1 - scores["balanced_accuracy"])
    for metric in ("risk", "balanced_risk"):
        gain = metric.replace("risk", "gain")
        assert (full[[gain, f"{gain}_low", f"{gain}_high"]] == 0).all(axis=None)
        assert (curves[gain] + curves[metric]).to_numpy() == pytest.approx(full[metric].iloc[0])
        assert (curves[f"{metric}_low"] <= curves[metric] + 0.02).all()
        assert (curves[metric] <= curves[f"{metric}_high"] + 0.02).all()
    by_probability = curves[curves["score"] == "probability"]["risk"]
    assert by_probability.iloc[0] < by_probability.iloc[-1] / 3


def test_the_areas_are_compared_with_the_reference(found):
    areas, full = found["coverage_areas"].set_index("score"), found["coverage_curves"]["risk"].iloc[-1]
    assert areas.loc["probability", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert (areas["excess"] > 0).all() and (areas["area"] < full).all()
    assert (areas["area_low"] < areas["area"]).all() and (areas["area"] < areas["area_high"]).all()
    assert (areas["difference"] + areas.loc["probability", "area"]).to_numpy() == pytest.approx(areas["area"])


def test_the_classes_share_out_what_is_answered(made_up, found):
    labels, members, _ = made_up
    classes, scores = found["coverage_classes"], metrics.summary(labels, members.mean(axis=0))
    assert len(classes) == len(names.CERTAINTY_NAMES) * len(selective.CLASS_COVERAGES) * 7
    everyone = classes[classes["coverage"] == 1]
    assert (everyone[["answered", "answered_low", "answered_high"]] == 1).all(axis=None)
    assert everyone["recall"].to_numpy()[:7] == pytest.approx([scores[f"recall_{dx}"] for dx in CLASSES])
    half = classes[(classes["coverage"] == 0.5) & (classes["score"] == "probability")]
    assert half["images"].sum() == pytest.approx(len(labels) / 2, abs=1)
    assert (half["answered"] * np.bincount(labels)).to_numpy() == pytest.approx(half["images"])
    assert half.set_index("dx")["answered"].idxmax() == "nv"


def test_the_same_sample_gives_the_same_tables(made_up, found):
    labels, members, weights = made_up
    again = selective.tables(
        labels, members.mean(axis=0), selective.certainties(members), np.arange(len(labels)), weights, 0.95
    )
    for name, table in found.items():
        assert files.csv_bytes(again[name]) == files.csv_bytes(table), name
