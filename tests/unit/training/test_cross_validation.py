"""Training on folds: who scores whom, which epoch is kept, and what an interruption leaves."""

import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from skinlesions.core import config
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.data import balancing, predictions, splits
from skinlesions.models import heads
from skinlesions.training import cross_validation, first_phase
from tests.helpers.synthetic import synthetic_index

FOLDS = 3
PLAN = balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0)
HEAD = {"hidden_units": 16, "dropout": 0.1, "l2": 0.0, "learning_rate": 0.03, "batch_size": 16, "epochs": 12}
HEAD |= {"patience": 5, "reduce_patience": 2}
SETTINGS = config.Head(**HEAD)


# Folds. The features of some images say which class it is; those of the others, the secret ones, mean a class
# in their own fold only: who has been trained on a fold knows its secret images, who has not must guess.


@pytest.fixture(scope="module")
def data():
    """Three open and nine secret images of each class in each fold."""
    fold, label, number = (part.ravel() for part in np.mgrid[:FOLDS, :7, :12])
    column = np.where(number < 3, label, 7 + fold * 7 + (label + 3 * fold) % 7)
    order = np.random.default_rng(0).permutation(len(fold))
    return cross_validation.Data(np.eye(7 + FOLDS * 7, dtype="float32")[column[order]], label[order], fold[order])


def run(data: cross_validation.Data, build=None, **changed: object) -> cross_validation.Result:
    arguments = {"seed": 1, "name": "test", "key": {"features": "a"}} | changed
    settings, plan = arguments.pop("settings", SETTINGS), arguments.pop("plan", PLAN)
    return cross_validation.cross_validate(build or first_phase.builder(settings), data, settings, plan, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(data, folder):
    """A run without interruption."""
    return run(data, partial=folder / "partial", weights_folder=folder / "models")


@pytest.fixture
def networks(data, whole, folder):
    """The network of each fold, from the weights that were kept."""
    loaded = []
    for number in range(FOLDS):
        loaded.append(heads.head(data.inputs[:2], SETTINGS.hidden_units, SETTINGS.dropout, SETTINGS.l2))
        loaded[-1].load_weights(folder / "models" / f"fold_{number}.weights.h5")
    return loaded


def test_every_image_is_scored_by_the_networks_of_its_folds(data, whole, networks):
    assert whole.logits_test.shape == whole.logits_validation.shape == (len(data.labels), 7)
    for number, network in enumerate(networks):
        test, validation = data.fold == number, data.fold == (number + 1) % FOLDS
        np.testing.assert_allclose(whole.logits_test[test], network.predict_on_batch(data.inputs[test]), rtol=1e-5)
        np.testing.assert_allclose(
            whole.logits_validation[validation], network.predict_on_batch(data.inputs[validation]), rtol=1e-5
        )


def test_a_network_knows_the_secrets_of_its_training_folds_and_of_no_other(data, networks):
    secret = data.inputs[:, :7].sum(axis=1) == 0
    for number, network in enumerate(networks):
        right = network.predict_on_batch(data.inputs).argmax(axis=1) == data.labels
        assert right[~secret].all()
        for fold in range(FOLDS):
            share = right[secret & (data.fold == fold)].mean()
            trained = fold not in (number, (number + 1) % FOLDS)
            assert share > 0.8 if trained else share < 0.6, (number, fold)


def test_the_kept_epoch_is_the_best_on_validation_and_its_weights_score(data, whole):
    for number, history in whole.history.groupby("fold"):
        (chosen,) = history.index[history["chosen"]]
        assert chosen == history["val_balanced_accuracy"].idxmax()
        rows = data.fold == (number + 1) % FOLDS
        predicted = whole.logits_validation[rows].argmax(axis=1)
        recalls = [(predicted[data.labels[rows] == label] == label).mean() for label in range(7)]
        assert history.loc[chosen, "val_balanced_accuracy"] == pytest.approx(np.mean(recalls), rel=1e-5)
        likelihood = softmax(whole.logits_validation[rows].astype("float64"), axis=1)[
            range(rows.sum()), data.labels[rows]
        ]
        loss = -np.log(np.maximum(likelihood, np.finfo("float64").eps)).mean()
        assert history.loc[chosen, "val_loss"] == pytest.approx(loss, rel=1e-4)
        assert history.loc[chosen, "val_accuracy"] == pytest.approx((predicted == data.labels[rows]).mean(), rel=1e-5)
    assert not whole.history.groupby("fold")["chosen"].apply(lambda chosen: chosen.iloc[-1]).all()  # a choice was made


def test_the_history_follows_the_settings(whole):
    assert whole.history.columns.tolist() == [
        "fold", "phase", "epoch", "learning_rate", "loss", "val_loss", "val_accuracy", "val_balanced_accuracy",
        "diverged", "chosen",
    ]  # fmt: skip
    for _, history in whole.history.groupby("fold"):
        assert history["epoch"].tolist() == list(range(1, len(history) + 1))
        waited = len(history) - history.loc[history["chosen"], "epoch"].item()
        assert waited == SETTINGS.patience or len(history) == SETTINGS.epochs
        halvings = np.log2(SETTINGS.learning_rate / history["learning_rate"])
        np.testing.assert_allclose(halvings, np.round(halvings), atol=1e-4)
        assert halvings.iloc[0] == pytest.approx(0, abs=1e-4) and (halvings.diff().dropna() > -1e-4).all()
    assert whole.history["learning_rate"].min() < 0.6 * SETTINGS.learning_rate  # it was halved somewhere


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(data, whole):
    keras.utils.set_random_seed(99)
    again = run(data)
    np.testing.assert_array_equal(again.logits_test, whole.logits_test)
    np.testing.assert_array_equal(again.logits_validation, whole.logits_validation)
    other = run(data, seed=2, settings=config.Head(**HEAD | {"epochs": 1}))
    assert not np.array_equal(other.logits_test[data.fold == 0], whole.logits_test[data.fold == 0])


def refuse(inputs: np.ndarray) -> keras.Model:
    raise KeyboardInterrupt


def test_an_interrupted_run_trains_only_what_is_left_and_gives_the_same_numbers(data, whole, tmp_path):
    built = []

    def build(inputs: np.ndarray) -> keras.Model:
        built.append(inputs)
        if len(built) == 2:
            raise KeyboardInterrupt
        return first_phase.builder(SETTINGS)(inputs)

    with pytest.raises(KeyboardInterrupt):
        run(data, build, partial=tmp_path)
    resumed = run(data, build, partial=tmp_path)
    assert len(built) == 2 + FOLDS - 1
    np.testing.assert_array_equal(resumed.logits_test, whole.logits_test)
    np.testing.assert_array_equal(resumed.logits_validation, whole.logits_validation)
    pd.testing.assert_frame_equal(resumed.history, whole.history)


def test_a_fold_killed_while_it_was_written_is_trained_again(data, whole, folder, tmp_path):
    shutil.copytree(folder / "partial", tmp_path / "partial")
    (tmp_path / "partial" / "fold_1" / "history.csv").unlink()  # it is written last
    (tmp_path / "partial" / "fold_1" / "test.npy").write_bytes(b"\x93NUMPY")
    built = []

    def build(inputs: np.ndarray) -> keras.Model:
        built.append(inputs)
        return first_phase.builder(SETTINGS)(inputs)

    resumed = run(data, build, partial=tmp_path / "partial")
    assert len(built) == 1
    np.testing.assert_array_equal(resumed.logits_test, whole.logits_test)


def test_finished_folds_are_used_again_only_under_the_same_key(data, whole, folder, tmp_path):
    def attempt(**changed: object) -> cross_validation.Result:
        shutil.rmtree(tmp_path / "partial", ignore_errors=True)
        shutil.copytree(folder / "partial", tmp_path / "partial")
        return run(data, refuse, partial=tmp_path / "partial", **changed)

    np.testing.assert_array_equal(attempt().logits_test, whole.logits_test)  # nothing is trained
    for changed in (
        {"key": {"features": "b"}},
        {"seed": 2},
        {"settings": config.Head(**HEAD | {"dropout": 0.2})},
        {"plan": balancing.Plan("none", 0.5, 0.99, 2.0, 1.0)},
    ):
        with pytest.raises(KeyboardInterrupt):
            attempt(**changed)
        assert not (tmp_path / "partial" / "fold_0").exists()


def test_predictions_satisfy_their_format(tmp_path):
    index = synthetic_index(seed=2)
    folds = splits.make_folds(index, 4, seed=0)
    random = np.random.default_rng(0)
    result = cross_validation.Result(*random.normal(size=(2, len(index), 7)).astype("float32"), pd.DataFrame())
    table = cross_validation.predictions_table(index, folds, result)
    predictions.check(table, "predictions.csv")
    predictions.write(tmp_path / "predictions.csv", table)
    for split, logits in (("test", result.logits_test), ("val", result.logits_validation)):
        part = predictions.select(predictions.read(tmp_path / "predictions.csv"), split)
        assert part["image_id"].tolist() == index["image_id"].tolist()
        assert part["dx"].tolist() == index["dx"].tolist()
        np.testing.assert_allclose(part[list(LOGIT_COLUMNS)], logits, rtol=1e-5)
        shift = 0 if split == "test" else 1
        np.testing.assert_array_equal((part["fold"] + shift) % 4, folds["fold"])
    assert set(table["dx"]) == set(CLASSES)


def test_folds_in_another_order_than_the_index_are_refused():
    index = synthetic_index()
    folds = splits.make_folds(index, 3, seed=0)
    logits = np.zeros((len(index), 7), "float32")
    result = cross_validation.Result(logits, logits, pd.DataFrame())
    with pytest.raises(ValueError, match=r"folds\.csv and index\.csv do not have the same images in the same order"):
        cross_validation.predictions_table(index, folds.iloc[::-1].reset_index(drop=True), result)
    with pytest.raises(ValueError, match="same images"):
        cross_validation.predictions_table(index, folds.iloc[1:], result)
