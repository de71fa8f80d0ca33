"""The leakage audit: the swap changes nothing but the mates, and the scores show what was put into the features."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, class_indices, read_index
from skinlesions.core.errors import UserError
from skinlesions.data import splits
from skinlesions.evaluation import checkpoint_selection, injection, leakage, published
from skinlesions.evaluation.bootstrap import Resampling
from tests.helpers.synthetic import synthetic_index

RESAMPLING = Resampling(confidence=0.95, resamples=200, seed=4)
NETWORK = checkpoint_selection.Network(hidden_units=8, learning_rate=0.01, batch_size=32, epochs=6)


def made_up(by_class: float, by_lesion: float, seed: int = 0) -> tuple[injection.Images, np.ndarray]:
    """Images whose features tell their class and their lesion as much as said, and the folds of their lesions."""
    index = synthetic_index(dict.fromkeys(CLASSES, 15) | {"nv": 60}, seed)
    generator = np.random.default_rng(seed)
    labels = class_indices(index["dx"]).to_numpy()
    names, members = np.unique(index["lesion_id"], return_inverse=True)
    features = by_class * generator.normal(size=(7, 24))[labels]
    features += by_lesion * generator.normal(size=(len(names), 24))[members]
    features += generator.normal(size=features.shape)
    fold = splits.make_folds(index, 3, seed)["fold"].to_numpy()
    return injection.Images(features.astype(np.float32), labels, index["lesion_id"].to_numpy()), fold


@pytest.fixture(scope="module")
def remembered():
    """Features that tell lesions apart and hardly tell classes, and the experiment on them."""
    images, fold = made_up(by_class=0.3, by_lesion=5.0)
    tested = injection.one_image_per_lesion(images.groups, seed=1)
    found = injection.inject(images, fold, tested, repeats=2, strength=0.001, seed=1)
    return images, fold, tested, found


# --- the original's split ---------------------------------------------------------------------------------------


def test_the_split_of_the_original_shares_475_of_its_1499_validation_images(ham10000_dir):
    index = read_index(ham10000_dir / "HAM10000_metadata.csv")
    validation = leakage.original_validation(index)
    shared = leakage.shared_lesions(index, validation).set_index("dx")
    assert shared.loc["all", ["images", "shared"]].tolist() == [1499, 475]
    assert (published.VALIDATION_IMAGES, published.SHARED_IMAGES) == (1499, 475)
    percent = (100 * shared["share"]).round().astype(int).to_dict()
    known = {"mel": 56, "bcc": 55, "akiec": 53, "bkl": 47, "df": 41, "vasc": 33, "nv": 22}
    assert {name: percent[name] for name in CLASSES} == known


def test_the_first_of_the_sorted_names_of_each_class_validate_whatever_the_order():
    names = [f"ISIC_{number:07d}" for number in range(30)]
    index = pd.DataFrame({"image_id": names, "lesion_id": names, "dx": ["mel"] * 13 + ["nv"] * 17})
    shuffled = index.sample(frac=1, random_state=1).reset_index(drop=True)
    chosen = shuffled.loc[leakage.original_validation(shuffled), "image_id"]
    assert set(chosen) == {names[0], names[13], names[14]}  # 15 % of 13 is 1.95, of 17 is 2.55


def test_shared_counts_images_of_lesions_on_both_sides():
    index = pd.DataFrame({"lesion_id": list("aabbcd"), "dx": ["mel"] * 4 + ["nv"] * 2})
    validation = np.array([True, False, True, True, True, False])
    table = leakage.shared_lesions(index, validation)
    assert table.values.tolist() == [["mel", 3, 1, 1 / 3], ["nv", 1, 0, 0.0], ["all", 4, 1, 0.25]]


# --- the swap ---------------------------------------------------------------------------------------------------


def test_one_image_of_every_lesion_is_tested_and_the_seed_decides_which():
    images, _ = made_up(1, 1)
    first, again, other = (injection.one_image_per_lesion(images.groups, seed) for seed in (1, 1, 2))
    assert sorted(images.groups[first]) == sorted(set(images.groups))
    assert (first == again).all() and (first != other).any()


def test_the_swap_changes_the_mates_and_neither_number_nor_classes():
    images, fold = made_up(1, 1)
    tested = injection.one_image_per_lesion(images.groups, seed=3)
    mates, clean = np.flatnonzero(~tested & (fold == 0)), np.flatnonzero(fold != 0)
    swap = injection.swap(images, mates, clean, seed=3)
    assert (swap.rows(0.0) == clean).all()
    assert set(mates) <= set(swap.rows(1.0))
    before = np.bincount(images.labels[clean], minlength=7)
    inside = set()
    for dose in injection.DOSES:
        rows = swap.rows(dose)
        assert len(np.unique(rows)) == len(clean)
        assert (np.bincount(images.labels[rows], minlength=7) == before).all()
        assert not np.isin(rows, np.flatnonzero(tested & (fold == 0))).any()
        injected = set(rows) & set(mates)
        assert inside <= injected  # a higher dose keeps what a lower one swapped in
        inside = injected
        # Whole lesions come in, and of every class the share that was asked for.
        groups = set(images.groups[list(injected)])
        assert {int(row) for row in mates if images.groups[row] in groups} == injected
        for label in range(7):
            all_groups = {images.groups[row] for row in mates if images.labels[row] == label}
            assert len(groups & all_groups) == round(dose * len(all_groups))


def test_more_mates_than_images_to_make_room_are_refused():
    images, _ = made_up(1, 1)
    melanomas = np.flatnonzero(images.labels == CLASSES.index("mel"))
    with pytest.raises(UserError, match=r"class mel has .* mates"):
        injection.swap(images, melanomas[1:], melanomas[:1], seed=0)


# --- the heads --------------------------------------------------------------------------------------------------


def test_heads_agree_with_scikit_learn():
    images, fold = made_up(1.0, 1.0)
    train, asked = np.flatnonzero(fold > 0), np.flatnonzero(fold == 0)
    given = (images.features[train], images.labels[train], images.features[asked])
    nearest = KNeighborsClassifier(1, metric="cosine").fit(*given[:2])
    ours = injection.predict("nearest_neighbour", *given, 0.01)
    assert (ours.argmax(axis=1) == nearest.predict(given[2])).all()
    for head, strength in (("logistic_regression", 0.01), ("weak_penalty", 1.0)):
        exact = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000, tol=1e-7).fit(*given[:2])
        ours = injection.predict(head, *given, 0.01)
        assert ours == pytest.approx(exact.predict_proba(given[2]), abs=0.02)


@pytest.mark.parametrize("head", injection.HEADS)
def test_a_class_that_was_not_trained_on_is_never_answered(head):
    images, _ = made_up(1.0, 1.0)
    train = np.flatnonzero(images.labels != CLASSES.index("df"))
    answers = injection.predict(head, images.features[train], images.labels[train], images.features, 0.01)
    assert (answers[:, CLASSES.index("df")] == 0).all()
    assert answers.sum(axis=1) == pytest.approx(1)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="nearest_neighbour"):
        injection.predict("forest", np.ones((1, 2)), np.zeros(1, int), np.ones((1, 2)), 1.0)


# --- what the experiment shows ----------------------------------------------------------------------------------


def test_where_lesions_are_remembered_mates_help_those_that_have_them_and_no_others(remembered):
    images, _, tested, found = remembered
    changes = leakage.changes(images, tested, found, RESAMPLING).set_index(["head", "part", "metric"])
    exposed = changes.loc[("nearest_neighbour", "exposed", "balanced_accuracy")]
    control = changes.loc[("nearest_neighbour", "unexposed", "balanced_accuracy")]
    assert exposed["injected"] > 0.95 > 0.5 > exposed["clean"]
    assert exposed["low"] > 0.3
    assert abs(control["change"]) < 0.1
    doses = leakage.doses(images, tested, found, RESAMPLING).query("head == 'nearest_neighbour' and part == 'exposed'")
    assert list(doses["dose"]) == list(injection.DOSES)
    assert doses["balanced_accuracy"].is_monotonic_increasing
    assert set(leakage.repeats(images, tested, found)["repeat"]) == {0, 1}


def test_where_images_of_a_lesion_are_not_alike_mates_are_worth_nothing():
    images, fold = made_up(by_class=1.0, by_lesion=0.0)
    tested = injection.one_image_per_lesion(images.groups, seed=1)
    found = injection.inject(images, fold, tested, repeats=2, strength=0.001, seed=1)
    changes = leakage.changes(images, tested, found, RESAMPLING)
    row = changes.set_index(["head", "part", "metric"]).loc[("logistic_regression", "all", "balanced_accuracy")]
    assert row["low"] <= 0 <= row["high"]


def test_the_experiment_comes_back_the_same_and_in_the_order_of_the_rows(remembered):
    images, fold, tested, found = remembered
    again = injection.inject(images, fold, tested, repeats=2, strength=0.001, seed=1)
    assert all((again[key] == found[key]).all() for key in found)
    # Trained on everything but its fold, by hand, for the images of fold 1.
    rows = np.flatnonzero(fold != 1)
    mean, deviation = images.features[rows].mean(axis=0), images.features[rows].std(axis=0)
    standardised = (images.features - mean) / deviation
    here = np.flatnonzero(tested & (fold == 1))
    expected = injection.predict(
        "nearest_neighbour", standardised[rows], images.labels[rows], standardised[here], strength=1
    )
    assert (found["nearest_neighbour", 0.0][0][(fold == 1)[tested]] == expected).all()


def test_scores_agree_with_scikit_learn_and_are_averaged_over_repeats():
    generator = np.random.default_rng(5)
    labels = generator.permutation(np.arange(140) % 7)
    probabilities = generator.dirichlet(np.ones(7), size=(2, 140))
    weights = np.vstack([np.ones(140), generator.integers(0, 3, size=140)]).astype(np.float32)
    ours = leakage.scored(labels, probabilities, weights)
    for row, weight in enumerate(weights):
        known = {"sample_weight": weight}
        for metric, score in (
            ("balanced_accuracy", lambda p, k: reference.balanced_accuracy_score(labels, p.argmax(axis=1), **k)),
            ("accuracy", lambda p, k: reference.accuracy_score(labels, p.argmax(axis=1), **k)),
            ("macro_auc", lambda p, k: reference.roc_auc_score(np.eye(7)[labels], p, average="macro", **k)),
            ("recall_mel", lambda p, k: reference.recall_score(labels == 4, p.argmax(axis=1) == 4, **k)),
        ):
            expected = np.mean([score(one, known) for one in probabilities])
            assert ours[metric][row] == pytest.approx(expected, rel=1e-6), metric


def test_a_change_is_paired_and_leaves_out_absent_classes():
    generator = np.random.default_rng(6)
    labels = np.repeat([0, 1, 4, 5], 30)
    groups = np.repeat(np.arange(60), 2)
    before = generator.dirichlet(np.ones(7), size=(1, 120))
    after = before.copy()
    after[0, :30] = np.eye(7)[0]  # every akiec is found now
    table = leakage.change(labels, groups, before, after, RESAMPLING).set_index("metric")
    assert "recall_df" not in table.index
    assert (table.loc["recall_mel", ["change", "low", "high"]] == 0).all()
    assert table.loc["recall_akiec", "injected"] == 1 and table.loc["recall_akiec", "images"] == 30
    gain = table.loc["recall_akiec", "change"]
    assert table.loc["balanced_accuracy", "change"] == pytest.approx(gain / 4)
    assert 0 < table.loc["recall_akiec", "low"] < gain < table.loc["recall_akiec", "high"]


def test_the_original_split_both_ways(remembered):
    images, _, _, _ = remembered
    index = pd.DataFrame({"image_id": [f"{k:04d}" for k in range(len(images.labels))]})
    index["dx"] = np.array(CLASSES)[images.labels]
    validation = leakage.original_validation(index)
    arms = injection.original_both_ways(images, validation, repeats=1, strength=0.001, seed=2)
    table = leakage.original(images, validation, arms, RESAMPLING)
    row = table.set_index(["head", "part", "metric"]).loc[("nearest_neighbour", "exposed", "balanced_accuracy")]
    assert row["injected"] == row["published"] > 0.95
    assert row["change"] == pytest.approx(row["injected"] - row["clean"]) and row["low"] > 0
    assert table.query("part == 'all'")["images"].unique().tolist() == [validation.sum()]


# --- the choice on the test images ------------------------------------------------------------------------------


def test_the_choice_on_the_test_images_is_never_worse_on_them():
    images, fold = made_up(0.6, 1.0)
    validated, tested = checkpoint_selection.checkpoints(images, fold, NETWORK, seed=1)
    epochs = checkpoint_selection.epochs(images, fold, validated, tested)
    selection = checkpoint_selection.selection(images, fold, tested, epochs, RESAMPLING)
    assert list(selection["fold"]) == ["0", "1", "2", "all"]
    assert (selection["change"] >= 0).all()
    assert len(epochs) == 3 * NETWORK.epochs
    first = epochs[epochs["fold"] == 0].set_index("epoch")
    row = selection.iloc[0]
    assert first["validation"].idxmax() == row["validation_epoch"] and first["test"].idxmax() == row["test_epoch"]
    assert first.loc[row["test_epoch"], "test"] == row["by_test"]
    assert first.loc[row["validation_epoch"], "test"] == row["by_validation"]
    _, validation, test = splits.roles(fold, 0, 3)
    assert first.loc[1, "test"] == pytest.approx(
        reference.recall_score(images.labels[test], tested[0, test], average="macro")
    )
    assert first.loc[1, "validation"] == pytest.approx(
        reference.recall_score(images.labels[validation], validated[0, validation], average="macro")
    )
    pooled = selection.iloc[-1]
    assert pooled["low"] <= pooled["change"] <= pooled["high"]
    assert files.csv_bytes(selection).decode().splitlines()[-1].startswith(f"all,{len(fold)},,,")


def test_checkpoints_come_back_the_same():
    images, fold = made_up(0.6, 1.0)
    first, again = (checkpoint_selection.checkpoints(images, fold, NETWORK, seed=1) for _ in range(2))
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()


# --- examples --------------------------------------------------------------------------------------------------


def test_examples_are_a_tested_image_and_a_mate_of_each_class():
    labels = np.array([0, 0, 4, 4, 4, 5])
    groups = np.array(["a", "a", "b", "c", "c", "d"])
    tested = np.array([False, True, True, True, False, True])
    assert leakage.examples(labels, groups, tested) == [(1, 0), (3, 4)]
