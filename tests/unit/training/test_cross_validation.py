"""Training on folds: the loss, who scores whom, which epoch is kept, and what an interruption leaves."""

import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.data import balancing, predictions, splits
from skinlesions.models import heads
from skinlesions.training import cross_validation
from tests.helpers.synthetic import synthetic_index

FOLDS = 3
PLAN = balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0)
SETTINGS = cross_validation.Settings(
    hidden_units=16, dropout=0.1, l2=0.0, learning_rate=0.03, batch_size=16, epochs=12, patience=5, reduce_patience=2
)


# The loss


@pytest.fixture(scope="module")
def batch():
    """One-hot labels and logits of 50 images."""
    random = np.random.default_rng(0)
    return np.eye(7, dtype="float32")[random.integers(0, 7, 50)], random.normal(0, 3, (50, 7)).astype("float32")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("offset", [np.zeros(7), np.log([0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])])
def test_the_loss_is_that_of_the_papers(batch, offset, gamma):
    truth, logits = batch
    loss = keras.ops.convert_to_numpy(cross_validation.BalancedCrossEntropy(offset, gamma).call(truth, logits))
    log_probability = (log_softmax(logits.astype("float64") + offset, axis=1) * truth).sum(axis=1)
    expected = -((1 - np.exp(log_probability)) ** gamma) * log_probability
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)


def test_plain_it_is_kerass_own_cross_entropy_weights_included(batch):
    truth, logits = batch
    weights = np.random.default_rng(1).uniform(0.2, 12, len(truth)).astype("float32")
    ours = cross_validation.BalancedCrossEntropy(np.zeros(7), 0.0)(truth, logits, sample_weight=weights)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True)(truth, logits, sample_weight=weights)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_loss_and_gradient_are_finite_when_the_network_is_sure(gamma):
    """Right or wrong by a hundred, where probabilities are 1 and 0 in float32."""
    truth = np.eye(7, dtype="float32")[[0, 1, 2]]
    logits = np.zeros((3, 7), "float32")
    logits[0, 0] = logits[1, 0] = 100
    kernel = keras.Variable(logits)
    tensorflow = pytest.importorskip("tensorflow")
    with tensorflow.GradientTape() as tape:
        loss = cross_validation.BalancedCrossEntropy(np.zeros(7), gamma).call(truth, kernel.value)
    gradient = tape.gradient(loss, kernel.value)
    assert np.isfinite(loss).all() and float(loss[0]) == 0 and float(loss[1]) == pytest.approx(100)
    assert np.isfinite(gradient).all()
    assert gradient[1, 0] > 0.9 and gradient[1, 1] < -0.9  # it still learns from the mistake


def test_the_loss_survives_saving(batch):
    loss = cross_validation.BalancedCrossEntropy(np.log(np.full(7, 1 / 7)), 1.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(*batch)) == pytest.approx(float(loss(*batch)))


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
    return cross_validation.cross_validate(
        build or cross_validation.builder(settings), data, settings, plan, **arguments
    )


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
        "fold", "phase", "epoch", "learning_rate", "loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "chosen"
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
    other = run(data, seed=2, settings=cross_validation.Settings(**{**vars(SETTINGS), "epochs": 1}))
    assert not np.array_equal(other.logits_test[data.fold == 0], whole.logits_test[data.fold == 0])


def refuse(inputs: np.ndarray) -> keras.Model:
    raise KeyboardInterrupt


def test_an_interrupted_run_trains_only_what_is_left_and_gives_the_same_numbers(data, whole, tmp_path):
    built = []

    def build(inputs: np.ndarray) -> keras.Model:
        built.append(inputs)
        if len(built) == 2:
            raise KeyboardInterrupt
        return cross_validation.builder(SETTINGS)(inputs)

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
        return cross_validation.builder(SETTINGS)(inputs)

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
        {"settings": cross_validation.Settings(**{**vars(SETTINGS), "dropout": 0.2})},
        {"plan": balancing.Plan("none", 0.5, 0.99, 2.0, 1.0)},
    ):
        with pytest.raises(KeyboardInterrupt):
            attempt(**changed)
        assert not (tmp_path / "partial" / "fold_0").exists()


def test_the_baseline_learns_from_augmented_images():
    """Classes of one colour each."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(7), 4)
    colors = np.array([[255 * (number >> bit & 1) for bit in range(3)] for number in range(7)])[labels]
    noise = random.integers(-20, 20, (28, 46, 46, 3))
    images = np.clip(colors[:, None, None, :] + noise, 0, 255).astype("uint8")
    settings = cross_validation.Settings(32, 0.0, 0.0, 0.001, 7, 8, 9, 9)
    keras.utils.set_random_seed(0)
    network = cross_validation.builder(settings, "dihedral")(images)
    history = cross_validation.fit(network, (images, labels), (images, labels), settings, PLAN, seed=1, name="baseline")
    assert len(history) == 8 and history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]


@pytest.mark.parametrize("strategy", sorted(balancing.DESCRIPTIONS))
def test_every_strategy_reaches_the_loss(strategy):
    """One step over everything, too small to change the network: the loss is what NumPy says of the fresh network."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(7), [8, 12, 24, 5, 22, 120, 6]))
    inputs = random.normal(size=(len(labels), 5)).astype("float32")
    plan = balancing.Plan(strategy, 0.5, 0.99, 2.0, 1.5)
    seen = balancing.sample(plan, labels, seed=7)
    counts = np.bincount(labels)
    network = heads.head(inputs, 8, 0.0, 0.0)
    logits = network.predict_on_batch(inputs[seen]).astype("float64")
    settings = cross_validation.Settings(8, 0.0, 0.0, 1e-12, len(seen), 1, 5, 5)
    history = cross_validation.fit(network, (inputs, labels), (inputs, labels), settings, plan, seed=7, name=strategy)

    offset = 1.5 * np.log(counts / counts.sum()) if strategy == "logit_adjustment" else 0
    log_probability = log_softmax(logits + offset, axis=1)[range(len(seen)), labels[seen]]
    losses = -log_probability * ((1 - np.exp(log_probability)) ** 2 if strategy == "focal_loss" else 1)
    weights = {
        "balanced_weights": len(labels) / (7 * counts),
        "effective_number_weights": balancing.class_weights(plan, counts),
    }.get(strategy, np.ones(7))
    assert history["loss"].item() == pytest.approx((losses * weights[labels[seen]]).mean(), rel=1e-4)


# What surrounds the training


def test_predictions_come_in_order_whatever_the_number_of_images(monkeypatch):
    network = heads.head(np.zeros((2, 3), "float32"), 4, 0.0, 0.0)
    inputs = np.random.default_rng(0).normal(size=(23, 3)).astype("float32")
    expected = network.predict_on_batch(inputs)
    monkeypatch.setattr(cross_validation, "PREDICTION_BATCH", 5)
    np.testing.assert_allclose(cross_validation.predict(network, inputs), expected, rtol=1e-5, atol=1e-6)


def test_inputs_are_features_in_float32_or_images_scaled_down(tmp_path):
    random = np.random.default_rng(0)
    features = random.normal(size=(5, 4)).astype("float16")
    files.write_array(tmp_path / "features.npy", features)
    loaded = cross_validation.load_inputs(tmp_path / "features.npy", 224)
    assert loaded.dtype == "float32"
    np.testing.assert_array_equal(loaded, features)
    pixels = random.integers(0, 256, (3, 24, 24, 3), dtype="uint8")
    files.write_array(tmp_path / "images.npy", pixels)
    small = cross_validation.load_inputs(tmp_path / "images.npy", 12)
    assert small.dtype == "uint8" and small.shape == (3, 12, 12, 3)
    assert np.abs(small - pixels.reshape(3, 12, 2, 12, 2, 3).mean(axis=(2, 4))).max() <= 1
    np.testing.assert_array_equal(cross_validation.load_inputs(tmp_path / "images.npy"), pixels)


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
