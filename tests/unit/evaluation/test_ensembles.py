"""Ensembles: greedy selection against every choice, and that no test fold is seen before it is scored."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import names
from skinlesions.core.classes import LOGIT_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import calibration, ensembles, metrics, stacking
from skinlesions.evaluation.bootstrap import lesion_resamples
from tests.helpers.scores import drawn_models
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

PLAN = balancing.Plan("balanced_weights", 0.6711, 0.999, 2.0, 1.0)
LESIONS = {"akiec": 20, "bcc": 20, "bkl": 30, "df": 15, "mel": 30, "nv": 120, "vasc": 15}


def models(skills: dict[str, float]) -> dict[str, pd.DataFrame]:
    index = synthetic_index(LESIONS)
    return {
        name: synthetic_predictions(index, skill=skill, seed=seed) for seed, (name, skill) in enumerate(skills.items())
    }


@pytest.fixture(scope="module")
def three() -> dict[str, pd.DataFrame]:
    return models({"good": 2.0, "fair": 1.5, "poor": 0.2})


@pytest.fixture(scope="module")
def built(three) -> ensembles.Ensembles:
    return ensembles.build(three, PLAN)


def test_greedy_selection_against_every_possible_choice():
    labels, logs = drawn_models(200, 3, seed=4)
    probabilities = np.exp(logs).transpose(1, 0, 2)
    importance = 1 / np.bincount(labels)[labels]

    def loss(shares: np.ndarray) -> float:
        of_truth = np.einsum("m,mnc->nc", shares, probabilities)[np.arange(200), labels]
        return -(importance * np.log(of_truth)).sum()

    single = [loss(share) for share in np.eye(3)]
    assert ensembles.greedy(labels, probabilities, steps=1).tolist() == np.eye(3)[np.argmin(single)].tolist()
    first = np.eye(3)[np.argmin(single)]
    pairs = [(first + second) / 2 for second in np.eye(3)]
    expected = min([first, *pairs], key=loss)
    assert ensembles.greedy(labels, probabilities, steps=2) == pytest.approx(expected)
    shares = ensembles.greedy(labels, probabilities)
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    assert loss(shares) <= min(loss(expected), *single)
    best = min(loss(np.array([a, b, 20 - a - b]) / 20) for a in range(21) for b in range(21 - a))
    assert loss(shares) == pytest.approx(best, rel=2e-3)


def test_greedy_selection_leaves_out_what_only_harms():
    labels = np.arange(70) % 7
    perfect, worthless = 0.9 * np.eye(7)[labels] + 0.1 / 7, np.full((70, 7), 1 / 7)
    assert ensembles.greedy(labels, np.stack([worthless, perfect, worthless])).tolist() == [0, 1, 0]


def test_every_image_has_probabilities_of_every_way(built):
    assert set(built.probabilities) == {
        "best_single", "best_single_rebalanced", "geometric_mean", "greedy", "mean", "prior_corrected_mean",
        "prior_corrected_mean_rebalanced", "stacked", "stacked_rebalanced",
    }  # fmt: skip
    for probabilities in built.probabilities.values():
        assert probabilities.shape == (len(built.truth), 7)
        assert probabilities.sum(axis=1) == pytest.approx(1)
    weights = ensembles.coefficients(built)
    sums = weights[weights["way"] != "stacked"].groupby(["way", "fold"])["weight"].sum()
    assert len(sums) == 10 and sums.to_numpy() == pytest.approx(1)
    single = weights[weights["way"] == "best_single"]
    assert (single.loc[single["weight"] == 1, "model"] == "good").all()
    assert ensembles.spreads(built)["spread"].isin(stacking.SPREADS).all()


def test_the_mean_is_that_of_the_comparison(three, built):
    scaled = [calibration.probabilities(three[name], "test", "temperature") for name in three]
    assert built.probabilities["mean"] == pytest.approx(np.mean(scaled, axis=0))


def test_nothing_of_a_test_fold_is_used_to_score_it(three, built):
    """Other labels and other logits on test fold 2 change what is said of no other fold, the labels of none at all."""
    tested = built.truth["fold"].to_numpy() == 2
    images = built.truth.loc[tested, "image_id"]
    generator = np.random.default_rng(0)
    # All of a lesion keep one label: that of another lesion of the fold.
    labels = built.truth.loc[tested, ["group", "dx"]].drop_duplicates()
    other = dict(zip(labels["group"], generator.permutation(labels["dx"]), strict=True))
    relabelled = {}
    for name, table in three.items():
        dx = table["group"].map(other)
        relabelled[name] = table.assign(dx=dx.where(table["image_id"].isin(images), table["dx"]))
    assert (relabelled["good"]["dx"] != three["good"]["dx"]).any()
    again = ensembles.build(relabelled, PLAN)
    for way, probabilities in built.probabilities.items():
        assert (again.probabilities[way][tested] == probabilities[tested]).all(), way

    moved = {name: table.copy() for name, table in three.items()}
    for table in moved.values():
        rows = (table["split"] == "test") & (table["fold"] == 2)
        table.loc[rows, list(LOGIT_COLUMNS)] += generator.normal(size=(rows.sum(), 7))
    again = ensembles.build(moved, PLAN)
    assert ensembles.coefficients(again).equals(ensembles.coefficients(built))
    for way, probabilities in built.probabilities.items():
        assert (again.probabilities[way][~tested] == probabilities[~tested]).all(), way
        assert (again.probabilities[way][tested] != probabilities[tested]).any(), way


def test_a_fold_is_fitted_on_the_validation_rows_of_its_own_models(three, built):
    moved = {name: table.copy() for name, table in three.items()}
    for seed, table in enumerate(moved.values()):
        rows = (table["split"] == "val") & (table["fold"] == 3)
        table.loc[rows, list(LOGIT_COLUMNS)] += np.random.default_rng(seed).normal(size=(rows.sum(), 7))
    again = ensembles.build(moved, PLAN)
    fitted = built.truth["fold"].to_numpy() == 3
    for way in ("greedy", "stacked"):
        assert (again.probabilities[way][~fitted] == built.probabilities[way][~fitted]).all()
        assert (again.probabilities[way][fitted] != built.probabilities[way][fitted]).any()


def test_the_comparison_of_ensembles(built):
    weights = lesion_resamples(built.truth["group"].to_numpy(), predictions.labels(built.truth), 200, seed=0)
    table = ensembles.compare(built, weights, confidence=0.95)
    assert sorted(table["way"]) == sorted(built.probabilities)
    assert table["balanced_accuracy"].is_monotonic_decreasing
    reference = table[table["way"] == ensembles.REFERENCE].iloc[0]
    assert reference[["difference", "p_value", "p_holm"]].isna().all()
    others = table[table["way"] != ensembles.REFERENCE]
    assert others["difference"].to_numpy() == pytest.approx(
        (others["balanced_accuracy"] - reference["balanced_accuracy"]).to_numpy()
    )
    assert (others["difference_low"] <= others["difference"]).all()
    assert (others["difference"] <= others["difference_high"]).all()
    assert (table["balanced_accuracy_low"] < table["balanced_accuracy"]).all()
    assert (others["p_holm"] >= others["p_value"]).all()
    labels = predictions.labels(built.truth)
    row = table.set_index("way").loc["stacked"]
    assert row["nll"] == pytest.approx(metrics.summary(labels, built.probabilities["stacked"])["nll"])


def test_the_members_are_named_or_all():
    assert names.members("all", ["b", "a"]) == ["a", "b"]
    assert names.members(["b"], ["b", "a"]) == ["b"]
    with pytest.raises(UserError, match="the ensemble has the member 'c', which is not among a, b"):
        names.members(["a", "c"], ["b", "a"])


def test_models_that_cannot_be_combined_are_refused(three):
    with pytest.raises(UserError, match="two models or more"):
        ensembles.build({"good": three["good"]}, PLAN)
    other = synthetic_predictions(synthetic_index(LESIONS, seed=9))
    with pytest.raises(UserError, match="train both on one split"):
        ensembles.build({"good": three["good"], "other": other}, PLAN)
