import numpy as np
import pytest

from skinlesions.evaluation import bootstrap, influence, pairwise, weighted
from skinlesions.evaluation.bootstrap import lesion_resamples
from skinlesions.evaluation.metrics import softmax

CLASSES = 7


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """Labels, lesions of one to three images, and what two models answer; the second one knows less."""
    generator = np.random.default_rng(0)
    labels = np.repeat(generator.integers(CLASSES, size=150), 2)
    answers = {
        name: np.where(generator.random(300) < right, labels, generator.integers(CLASSES, size=300))
        for name, right in (("good", 0.7), ("poor", 0.3))
    }
    return {"labels": labels, "groups": np.repeat(np.arange(150), 2)} | answers


def scored(drawn: dict[str, np.ndarray], method: str = "percentile", resamples: int = 100) -> pairwise.Paired:
    answers = {name: drawn[name] for name in ("good", "poor")}
    weights = lesion_resamples(drawn["groups"], drawn["labels"], resamples, seed=1)
    return pairwise.compare(drawn["labels"], answers, drawn["groups"], weights, 0.95, method)


def test_the_draws_are_those_of_the_bootstrap(drawn, monkeypatch):
    monkeypatch.setattr(weighted, "CHUNK_NUMBERS", 7 * len(drawn["labels"]))
    found = scored(drawn)
    weights = lesion_resamples(drawn["groups"], drawn["labels"], 100, seed=1)
    for name in ("good", "poor"):
        probabilities = softmax(9.0 * np.eye(CLASSES)[drawn[name]])
        expected = bootstrap.bootstrap(drawn["labels"], probabilities, weights)["balanced_accuracy"]
        np.testing.assert_allclose(found.draws[name], expected)


def test_a_difference_is_of_paired_draws(drawn):
    found = scored(drawn)
    difference = found.difference("good", "poor")
    apart = found.draws["good"] - found.draws["poor"]
    assert difference["difference"] == pytest.approx(found.estimates["good"] - found.estimates["poor"])
    assert (difference["low"], difference["high"]) == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])))
    assert difference["p_value"] == pytest.approx(2 / 101)
    other_way = found.difference("poor", "good")
    assert other_way["low"] == pytest.approx(-difference["high"])
    itself = found.difference("good", "good")
    assert itself == {"difference": 0, "low": 0, "high": 0, "p_value": 1}


def test_corrected_intervals_use_the_jackknife_of_the_difference(drawn):
    found = scored(drawn, "bca")
    change = {
        name: influence.jackknife(drawn["labels"], np.eye(CLASSES)[drawn[name]], drawn["groups"])["balanced_accuracy"]
        for name in ("good", "poor")
    }
    expected = bootstrap.interval(
        found.draws["good"] - found.draws["poor"],
        found.estimates["good"] - found.estimates["poor"],
        change["good"] - change["poor"],
        0.95,
        "bca",
    )
    difference = found.difference("good", "poor")
    assert (difference["low"], difference["high"]) == expected
    assert found.interval("good") != scored(drawn).interval("good")
