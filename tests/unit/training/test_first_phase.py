"""The first phase of training: the loss, the epoch that is kept, what diverges, and what a network reads."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from skinlesions.core import config, files
from skinlesions.core.errors import UserError
from skinlesions.data import balancing
from skinlesions.models import heads
from skinlesions.training import first_phase

PLAN = balancing.Plan("balanced_weights", 0.5, 0.99, 2.0, 1.0)
SETTINGS = {"hidden_units": 8, "dropout": 0.0, "l2": 0.0, "learning_rate": 0.001, "batch_size": 7, "epochs": 8}
SETTINGS |= {"patience": 9, "reduce_patience": 9}


def settings(**changed: object) -> config.Head:
    return config.Head(**(SETTINGS | changed))


@pytest.fixture(scope="module")
def batch():
    """One-hot labels and logits of 50 images."""
    random = np.random.default_rng(0)
    return np.eye(7, dtype="float32")[random.integers(0, 7, 50)], random.normal(0, 3, (50, 7)).astype("float32")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("offset", [np.zeros(7), np.log([0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02])])
def test_the_loss_is_that_of_the_papers(batch, offset, gamma):
    truth, logits = batch
    loss = keras.ops.convert_to_numpy(first_phase.BalancedCrossEntropy(offset, gamma).call(truth, logits))
    log_probability = (log_softmax(logits.astype("float64") + offset, axis=1) * truth).sum(axis=1)
    expected = -((1 - np.exp(log_probability)) ** gamma) * log_probability
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)


def test_plain_it_is_kerass_own_cross_entropy_weights_included(batch):
    truth, logits = batch
    weights = np.random.default_rng(1).uniform(0.2, 12, len(truth)).astype("float32")
    ours = first_phase.BalancedCrossEntropy(np.zeros(7), 0.0)(truth, logits, sample_weight=weights)
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
        loss = first_phase.BalancedCrossEntropy(np.zeros(7), gamma).call(truth, kernel.value)
    gradient = tape.gradient(loss, kernel.value)
    assert np.isfinite(loss).all() and float(loss[0]) == 0 and float(loss[1]) == pytest.approx(100)
    assert np.isfinite(gradient).all()
    assert gradient[1, 0] > 0.9 and gradient[1, 1] < -0.9  # it still learns from the mistake


def test_the_loss_survives_saving(batch):
    loss = first_phase.BalancedCrossEntropy(np.log(np.full(7, 1 / 7)), 1.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(*batch)) == pytest.approx(float(loss(*batch)))


def test_the_baseline_learns_from_augmented_images():
    """Classes of one colour each."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(7), 4)
    colors = np.array([[255 * (number >> bit & 1) for bit in range(3)] for number in range(7)])[labels]
    noise = random.integers(-20, 20, (28, 46, 46, 3))
    images = np.clip(colors[:, None, None, :] + noise, 0, 255).astype("uint8")
    chosen = settings(hidden_units=32)
    keras.utils.set_random_seed(0)
    network = first_phase.builder(chosen, "dihedral")(images)
    history = first_phase.fit(network, (images, labels), (images, labels), chosen, PLAN, seed=1, name="baseline")
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
    chosen = settings(learning_rate=1e-12, batch_size=len(seen), epochs=1)
    history = first_phase.fit(network, (inputs, labels), (inputs, labels), chosen, plan, seed=7, name=strategy)

    offset = 1.5 * np.log(counts / counts.sum()) if strategy == "logit_adjustment" else 0
    log_probability = log_softmax(logits + offset, axis=1)[range(len(seen)), labels[seen]]
    losses = -log_probability * ((1 - np.exp(log_probability)) ** 2 if strategy == "focal_loss" else 1)
    weights = {
        "balanced_weights": len(labels) / (7 * counts),
        "effective_number_weights": balancing.class_weights(plan, counts),
    }.get(strategy, np.ones(7))
    assert history["loss"].item() == pytest.approx((losses * weights[labels[seen]]).mean(), rel=1e-4)


def fitted(learning_rate: float, l2: float = 0.0):
    """The head after up to 8 epochs on noise, and its history."""
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(70, 5)).astype("float32"), np.arange(70) % 7
    keras.utils.set_random_seed(0)
    network = heads.head(inputs, 8, 0.0, l2)
    chosen = settings(learning_rate=learning_rate, l2=l2)
    data = (inputs, labels)
    return network, first_phase.fit(network, data, data, chosen, PLAN, seed=1, name="head"), inputs


def test_a_training_that_goes_well_is_not_said_to_diverge(capsys):
    assert not fitted(0.01, l2=1.0)[1]["diverged"].any()
    assert "DIVERGED" not in capsys.readouterr().err


def test_a_diverged_training_is_named_and_its_best_weights_are_finite(capsys):
    """The loss leaves all bounds, while the logits are still numbers."""
    network, history, inputs = fitted(1e4, l2=1.0)
    assert history["diverged"].any()
    assert capsys.readouterr().err.count("DIVERGED") == history["diverged"].sum()
    assert np.isfinite(network.predict_on_batch(inputs)).all()


def test_a_training_that_gives_no_numbers_is_refused():
    with pytest.raises(UserError, match=r"head: .*learning rate of 1e\+38; lower learning_rate in params\.yaml"):
        fitted(1e38)


def test_a_training_ends_when_it_gives_no_numbers_any_more(monkeypatch):
    predict, calls = first_phase.predict, []

    def numbers_at_first(network, inputs):
        calls.append(inputs)
        return predict(network, inputs) * (1 if len(calls) < 3 else np.nan)

    monkeypatch.setattr(first_phase, "predict", numbers_at_first)
    _, history, _ = fitted(0.01)
    assert history["diverged"].tolist() == [False, False, True]
    assert history["val_balanced_accuracy"].isna().tolist() == [False, False, True]
    assert not history["chosen"].iloc[-1]


def test_predictions_come_in_order_whatever_the_number_of_images(monkeypatch):
    network = heads.head(np.zeros((2, 3), "float32"), 4, 0.0, 0.0)
    inputs = np.random.default_rng(0).normal(size=(23, 3)).astype("float32")
    expected = network.predict_on_batch(inputs)
    monkeypatch.setattr(first_phase, "PREDICTION_BATCH", 5)
    np.testing.assert_allclose(first_phase.predict(network, inputs), expected, rtol=1e-5, atol=1e-6)


def test_inputs_are_features_in_float32_or_images_scaled_down(tmp_path):
    random = np.random.default_rng(0)
    features = random.normal(size=(5, 4)).astype("float16")
    files.write_array(tmp_path / "features.npy", features)
    loaded = first_phase.load_inputs(tmp_path / "features.npy", 224)
    assert loaded.dtype == "float32"
    np.testing.assert_array_equal(loaded, features)
    pixels = random.integers(0, 256, (3, 24, 24, 3), dtype="uint8")
    files.write_array(tmp_path / "images.npy", pixels)
    small = first_phase.load_inputs(tmp_path / "images.npy", 12)
    assert small.dtype == "uint8" and small.shape == (3, 12, 12, 3)
    assert np.abs(small - pixels.reshape(3, 12, 2, 12, 2, 3).mean(axis=(2, 4))).max() <= 1
    np.testing.assert_array_equal(first_phase.load_inputs(tmp_path / "images.npy"), pixels)
