"""Ensembles: the optimisers against others, and that no test fold is seen before it is scored."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import calibration, ensembles, metrics
from skinlesions.evaluation.bootstrap import lesion_resamples
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


def drawn(count: int, members: int, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from some probabilities, and log-probabilities [N, M, C] of models that know them roughly."""
    generator = np.random.default_rng(seed)
    truth = 1.5 * generator.normal(size=(count, classes))
    labels = (metrics.softmax(truth).cumsum(axis=1) > generator.random((count, 1))).argmax(axis=1)
    stated = truth[:, None] + generator.normal(size=(count, members, classes))
    return labels, np.log(metrics.softmax(stated))


def test_stacking_agrees_with_a_direct_search_of_the_minimum():
    labels, logs = drawn(300, 3)
    spread = 0.3

    def penalised(parameters: np.ndarray) -> float:
        weights, shifts = parameters[:21].reshape(3, 7), parameters[21:]
        inputs = logs - logs.mean(axis=2, keepdims=True)
        probabilities = metrics.softmax(sum(inputs[:, m] * weights[m] for m in range(3)) + shifts)
        away = ((weights - 1 / 3) ** 2).sum() / spread**2 + (shifts**2).sum() / ensembles.SHIFT_PRIOR**2
        return -np.log(probabilities[np.arange(300), labels]).sum() + away / 2

    found = minimize(penalised, np.r_[np.full(21, 1 / 3), np.zeros(7)], method="BFGS", options={"gtol": 1e-4})
    stacker = ensembles.stack(labels, logs, spread)
    ours = np.r_[stacker.weights.ravel(), stacker.shifts]
    assert ours == pytest.approx(found.x, abs=1e-4)
    assert penalised(ours) <= found.fun + 1e-9


def test_stacking_of_two_classes_agrees_with_scikit_learn():
    labels, logs = drawn(400, 3, classes=2)
    logits = logs[:, :, 1] - logs[:, :, 0]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits, labels)
    stacker = ensembles.stack(labels, logs, spread=1e4)
    # The prior of the shifts is not infinite.
    assert stacker(logs) == pytest.approx(theirs.predict_proba(logits), abs=2e-3)


def test_a_narrow_spread_is_the_geometric_mean_with_shifts():
    labels, logs = drawn(500, 4)
    stacker = ensembles.stack(labels, logs, spread=1e-4)
    assert stacker.weights == pytest.approx(0.25, abs=1e-3)
    unshifted = ensembles.Stacker(stacker.weights, np.zeros(7), 0)
    assert unshifted(logs) == pytest.approx(metrics.softmax(logs.mean(axis=1)), abs=1e-3)


def test_the_spread_is_chosen_on_lesions_left_out():
    """One model of four knows the classes, so that equal weights are wrong; of four alike they are right."""
    generator = np.random.default_rng(1)
    labels, logs = drawn(1500, 1, seed=2)
    noise = np.log(metrics.softmax(1.5 * generator.normal(size=(1500, 3, 7))))
    logs = np.concatenate([logs, noise], axis=1)
    groups = np.arange(1500) // 2
    assert ensembles.choose_spread(labels, logs, groups) in ensembles.SPREADS[-2:]
    same = np.repeat(logs[:, :1], 4, axis=1) + 1e-3 * logs
    few = generator.choice(1500, 60, replace=False)
    assert ensembles.choose_spread(labels[few], same[few], groups[few], (0.01, 30.0)) == 0.01


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="N, M, C"):
        ensembles.stack(np.zeros(3, dtype=int), np.zeros((3, 7)), 0.1)
    with pytest.raises(ValueError, match="N > 0"):
        ensembles.stack(np.zeros(0, dtype=int), np.zeros((0, 2, 7)), 0.1)


def test_greedy_selection_against_every_possible_choice():
    labels, logs = drawn(200, 3, seed=4)
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
    sums = built.weights[built.weights["way"] != "stacked"].groupby(["way", "fold"])["weight"].sum()
    assert len(sums) == 10 and sums.to_numpy() == pytest.approx(1)
    single = built.weights[built.weights["way"] == "best_single"]
    assert (single.loc[single["weight"] == 1, "model"] == "good").all()
    assert built.spreads["spread"].isin(ensembles.SPREADS).all()


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
    assert again.weights.equals(built.weights)
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
    assert ensembles.members("all", ["b", "a"]) == ["a", "b"]
    assert ensembles.members(["b"], ["b", "a"]) == ["b"]
    with pytest.raises(UserError, match="the ensemble has the member 'c', which is not among a, b"):
        ensembles.members(["a", "c"], ["b", "a"])


def test_models_that_cannot_be_combined_are_refused(three):
    with pytest.raises(UserError, match="two models or more"):
        ensembles.build({"good": three["good"]}, PLAN)
    other = synthetic_predictions(synthetic_index(LESIONS, seed=9))
    with pytest.raises(UserError, match="train both on one split"):
        ensembles.build({"good": three["good"], "other": other}, PLAN)


def test_stacking_the_published_predictions_gains_in_likelihood():
    files = sorted(paths.REPORTS_PREDICTIONS.glob("*.csv.gz"))
    if len(files) < 3:
        pytest.skip("fewer than three published models")
    published = {file.name: predictions.read(file) for file in files[-3:]}
    test, val = ensembles.shared_rows(published, "test"), ensembles.shared_rows(published, "val")
    fitting, scoring = (val["fold"] == 0).to_numpy(), (test["fold"] == 0).to_numpy()
    logs = {
        split: np.stack([np.log(metrics.softmax(predictions.logits(predictions.select(table, split))))
                         for table in published.values()], axis=1)
        for split in ("test", "val")
    }  # fmt: skip
    stacker = ensembles.stack(predictions.labels(val)[fitting], logs["val"][fitting], 0.2)
    labels = predictions.labels(test)[scoring]
    stacked = metrics.summary(labels, stacker(logs["test"][scoring]))["nll"]
    for m in range(3):
        assert stacked < metrics.summary(labels, np.exp(logs["test"][scoring, m]))["nll"]
    assert stacker.weights.shape == (3, len(CLASSES))
