"""Selective classification against its definition, written out as loops."""

import numpy as np
import pytest

from skinlesions import calibration, intervals, metrics, paths, predictions, selective
from skinlesions.dataset.schema import CLASSES


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


def test_resamples_in_chunks_equal_one_piece(sample, monkeypatch):
    weights = np.random.default_rng(2).poisson(1.0, size=(7, 80))
    whole = selective.risks(*sample, weights=weights), selective.area(*sample, weights)
    monkeypatch.setattr(intervals, "CHUNK_NUMBERS", 170)
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
    assert set(scores) == set(selective.SCORE_NAMES)
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


@pytest.mark.parametrize("coverages", [(0.0, 0.5), (0.5, 1.1), (-0.1,)])
def test_coverages_out_of_range_are_refused(coverages):
    with pytest.raises(ValueError, match="up to 1"):
        selective.risks(np.zeros(3), np.arange(3), coverages)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="N > 0"):
        selective.area(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match=r"\[R, N\]"):
        selective.area(np.zeros(3), np.arange(3), np.ones((2, 4)))


def test_the_tables_of_the_published_predictions():
    names = ("inception_v3", "mobilenet_v2_fine_tuned", "resnet50", "xception")
    tables = [predictions.read(paths.REPORTS_PREDICTIONS / f"{name}.csv.gz") for name in names]
    members = np.stack([calibration.calibrated_probabilities(t, calibration.fold_temperatures(t)) for t in tables])
    truth = predictions.select(tables[0], "test")
    labels, groups = predictions.labels(truth), truth["group"].to_numpy()
    weights = intervals.lesion_resamples(groups, labels, 100, seed=0)
    mean = members.mean(axis=0)
    found = selective.tables(labels, mean, selective.certainties(members), weights, 0.95, (0.2, 0.5, 0.8, 1.0))

    curves = found["curves"]
    assert len(curves) == len(selective.SCORE_NAMES) * 4
    full = curves[curves["coverage"] == 1]
    scores = metrics.summary(labels, mean)
    assert full["risk"].to_numpy() == pytest.approx(1 - scores["accuracy"])
    assert full["balanced_risk"].to_numpy() == pytest.approx(1 - scores["balanced_accuracy"])
    for metric in ("risk", "balanced_risk"):
        assert (curves[f"{metric}_low"] <= curves[metric] + 0.01).all()
        assert (curves[metric] <= curves[f"{metric}_high"] + 0.01).all()
    by_probability = curves[curves["score"] == "probability"]["risk"]
    assert by_probability.is_monotonic_increasing and by_probability.iloc[0] < by_probability.iloc[-1] / 3

    areas = found["areas"].set_index("score")
    assert areas.loc["probability", ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert (areas["excess"] > 0).all() and (areas["area"] < 1 - scores["accuracy"]).all()
    assert (areas["area_low"] < areas["area"]).all() and (areas["area"] < areas["area_high"]).all()

    classes = found["classes"]
    assert len(classes) == len(curves) * 7
    everyone = classes[classes["coverage"] == 1]
    assert (everyone["answered"] == 1).all()
    assert everyone["recall"].to_numpy()[:7] == pytest.approx([scores[f"recall_{dx}"] for dx in CLASSES])
    half = classes[(classes["coverage"] == 0.5) & (classes["score"] == "probability")]
    assert half["images"].sum() == pytest.approx(len(labels) / 2, abs=1)
