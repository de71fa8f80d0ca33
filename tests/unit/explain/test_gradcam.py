"""Grad-CAM against finite differences, closed forms and places that are known, on both backends."""

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import layers

from skinlesions.core import paths
from skinlesions.core.errors import UserError
from skinlesions.explain import gradcam
from skinlesions.models import heads, networks
from tests.helpers.explained import description, noise, small_network

TENSORFLOW = keras.backend.backend() == "tensorflow"
# JAX has no float64 unless it is told to before it starts.
DTYPE, STEP, TOLERANCE = ("float64", 1e-6, 1e-7) if TENSORFLOW else ("float32", 1e-2, 2e-2)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1)


def pooled(inputs):
    features = layers.GlobalAveragePooling2D(dtype=DTYPE)(inputs)
    features = layers.Dense(6, activation="tanh", dtype=DTYPE)(features)
    return layers.Dense(7, dtype=DTYPE)(layers.Dropout(0.5, dtype=DTYPE)(features))


def flattened(inputs):
    features = layers.Dense(6, activation="relu", dtype=DTYPE, kernel_regularizer="l2")(
        layers.Flatten(dtype=DTYPE)(inputs)
    )
    return layers.Dense(7, dtype=DTYPE)(features)


def max_pooled(inputs):
    maps = layers.MaxPooling2D(dtype=DTYPE)(layers.BatchNormalization(dtype=DTYPE)(inputs))
    return layers.Dense(7, dtype=DTYPE)(layers.Flatten(dtype=DTYPE)(maps))


HEADS = {"pooled": pooled, "flattened": flattened, "max-pooled": max_pooled}


def finite_differences(head, maps, classes):
    """The slope of each image's logit along each value of its maps, by central differences."""
    slopes = []
    for image, chosen in zip(maps, classes, strict=True):
        steps = STEP * np.eye(image.size, dtype=maps.dtype).reshape(-1, *image.shape)
        up, down = (np.asarray(head(image + sign * steps, training=False))[:, chosen] for sign in (1, -1))
        slopes.append(((up - down) / (2 * STEP)).reshape(image.shape))
    return np.stack(slopes)


@pytest.mark.parametrize("name", HEADS)
def test_the_gradient_is_that_of_finite_differences(name):
    inputs = keras.Input((4, 4, 3), dtype=DTYPE)
    head = keras.Model(inputs, HEADS[name](inputs))
    maps = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(DTYPE)
    classes = np.array([2, 5])
    before = [np.array(value) for value in head.get_weights()]
    found = gradcam.gradient(head, maps, classes)
    assert found.dtype == DTYPE and np.abs(found).max() > 1e-3
    np.testing.assert_allclose(found, finite_differences(head, maps, classes), rtol=0, atol=TOLERANCE)
    for value, kept in zip(head.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, kept)  # a look does not change the network


def test_the_gradient_of_the_real_head_is_that_of_its_weights():
    """pool, standardise, hidden (relu), logits: the chain rule by hand."""
    inputs = keras.Input((3, 3, 5))
    head = keras.Model(inputs, heads.logits(layers.GlobalAveragePooling2D()(inputs), 8, 0.5, 0.1))
    random = np.random.default_rng(0)
    features = random.normal(size=(50, 5)).astype("float32") * 3 + 1
    head.get_layer("standardise").fit(features)
    maps = random.normal(size=(4, 3, 3, 5)).astype("float32")
    classes = np.array([0, 3, 3, 6])
    standardised = (maps.mean(axis=(1, 2)) - features.mean(axis=0)) / features.std(axis=0)
    kernel, bias = head.get_layer("hidden").get_weights()
    active = standardised @ kernel + bias > 0
    last = head.get_layer("logits").get_weights()[0]
    by_feature = (active * last[:, classes].T) @ kernel.T / features.std(axis=0)
    expected = np.broadcast_to(by_feature[:, None, None, :] / 9, maps.shape)
    np.testing.assert_allclose(gradcam.gradient(head, maps, classes), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.skipif(not TENSORFLOW or find_spec("jax") is None, reason="JAX is not installed, or this is JAX")
def test_it_is_the_same_on_jax():
    """This file again, on the other backend."""
    chosen = "gradient or weighted_sum or patch"
    command = [sys.executable, "-m", "pytest", "-q", "-k", chosen, "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    run = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_the_heat_of_a_linear_head_is_the_weighted_sum_of_the_maps():
    """There Grad-CAM is the class activation mapping of Zhou et al. 2016, over the number of cells."""
    network = small_network()
    inputs, classes = noise(20, 12), np.arange(20) % 7  # more than a batch
    found = gradcam.GradCam(network)(inputs, classes)
    kernel, bias = network.get_layer("trunk").get_weights()
    maps = np.maximum(inputs / 255 @ kernel[0, 0] + bias, 0)
    last = network.get_layer("logits").get_weights()[0]
    expected = np.maximum(np.einsum("nijk,kn->nij", maps, last[:, classes]) / 144, 0)
    np.testing.assert_allclose(found.maps, expected, atol=1e-6)
    np.testing.assert_allclose(found.logits, np.asarray(network(inputs)), atol=1e-5)
    assert (expected > 0).any() and (expected == 0).any()


def test_a_red_patch_is_what_a_network_for_red_looks_at():
    network = small_network()
    kernel = np.zeros((1, 1, 3, 7), "float32")
    kernel[0, 0, :, 4] = [1, -1, -1]
    network.get_layer("trunk").set_weights([kernel, np.zeros(7, "float32")])
    network.get_layer("logits").set_weights([np.eye(7, dtype="float32"), np.zeros(7, "float32")])
    inputs = np.zeros((1, 12, 12, 3), "uint8")
    inputs[0, 2:5, 6:10, 0] = 255
    found = gradcam.GradCam(network)(inputs, np.array([4]))
    assert (found.maps[0] > 0).tolist() == (inputs[0, ..., 0] > 0).tolist()
    assert gradcam.is_empty(gradcam.GradCam(network)(inputs, np.array([2])).maps).all()


def test_the_baseline_cnn_is_explained_at_its_last_convolution():
    network = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
    inputs, classes = noise(3, 48), np.array([1, 0, 6])
    explainer = gradcam.GradCam(network)
    found = explainer(inputs, classes)
    assert found.maps.shape == (3, *network.get_layer("convolution_4").output.shape[1:3])
    maps, logits = (np.asarray(part) for part in explainer.network(inputs))
    np.testing.assert_allclose(found.logits, np.asarray(network(inputs)), atol=1e-5)
    np.testing.assert_allclose(np.asarray(explainer.head(maps)), logits, atol=1e-5)


def test_scaled_maps_have_a_maximum_of_one_and_keep_their_place():
    maps = np.zeros((3, 4, 4), "float32")
    maps[0, 1, 2], maps[1] = 5e-9, 2
    large = gradcam.scaled(maps, 64)
    assert large.shape == (3, 64, 64) and large.min() == 0
    assert large.max(axis=(1, 2)).tolist() == [1, 1, 0]
    row, column = np.unravel_index(large[0].argmax(), (64, 64))
    assert 16 <= row < 32 and 32 <= column < 48
    assert gradcam.is_empty(maps).tolist() == [False, False, True]


def test_in_the_frame_of_the_prepared_image_the_border_is_unseen():
    framed = gradcam.in_frame(np.ones((2, 3, 3), "float32"), description(prepared_size=240, crop=224))
    seen = ~np.isnan(framed)
    assert framed.shape == (2, 240, 240)
    assert seen[:, 8:232, 8:232].all() and seen.sum() == 2 * 224**2
    whole = gradcam.in_frame(np.ones((1, 3, 3), "float32"), description())
    assert not np.isnan(whole).any()


def test_even_heat_has_half_of_itself_in_the_central_half_of_the_area():
    maps = np.ones((4, 13, 13), "float32")
    maps[1], maps[2], maps[3] = 0, 0, 0
    maps[1, 6, 6], maps[2, 0, 0] = 1, 1
    share = gradcam.central_share(maps)
    np.testing.assert_allclose(share[:3], [0.5, 1, 0], atol=1e-6)
    assert np.isnan(share[3])


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 5)])
def test_a_map_too_coarse_to_have_a_centre_has_no_central_share(shape):
    maps = np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32")
    assert np.isnan(gradcam.central_share(maps)).all()
    assert not np.isnan(gradcam.central_share(np.pad(maps, ((0, 0), (1, 1), (1, 1))))).any()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A baseline CNN with the weights of two folds under data/models/."""
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    described = description()
    networks.write(described, tmp_path / "model")
    for fold in range(2):
        network = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
        network.save_weights(tmp_path / "model" / f"fold_{fold}.weights.h5")
    return described


def test_every_image_is_explained_by_the_network_of_its_fold(saved):
    pixels, fold, classes = noise(4, 60), np.array([1, 0, 1, 0]), np.array([0, 1, 2, 3])
    found = gradcam.explain(saved, pixels, fold, classes)
    inputs = networks.network_inputs(saved, pixels)
    for number in (0, 1):
        rows = fold == number
        alone = gradcam.GradCam(networks.load(saved, number))(inputs[rows], classes[rows])
        np.testing.assert_allclose(found.maps[rows], alone.maps, atol=1e-6)
        np.testing.assert_allclose(found.logits[rows], alone.logits, atol=1e-5)
    other = gradcam.explain(saved, pixels, 1 - fold, classes)
    assert not np.allclose(found.logits, other.logits, atol=1e-4)


def test_the_head_of_a_frozen_model_is_that_of_the_fold(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    trunk = {"backbone": "tiny", "architecture": "vgg16", "cut_at": "block2_pool", "pooling": "average"}
    described = description(training=networks.FROZEN, crop=40, image_size=32, **trunk)
    networks.trunk(described).save_weights(tmp_path / "tiny.weights.h5")
    for fold in range(2):
        (tmp_path / "model").mkdir(exist_ok=True)
        heads.empty_head(128, 8, 0.5, 0.0).save_weights(tmp_path / "model" / f"fold_{fold}.weights.h5")
    pixels, fold = noise(3, 60), np.array([1, 0, 1])
    found = gradcam.explain(described, pixels, fold, np.zeros(3, int))
    inputs = networks.network_inputs(described, pixels)
    for number in (0, 1):
        expected = np.asarray(networks.load(described, number)(inputs))
        np.testing.assert_allclose(found.logits[fold == number], expected[fold == number], atol=1e-4)
    (tmp_path / "model" / "fold_1.weights.h5").unlink()
    with pytest.raises(UserError, match=r"fold_1\.weights\.h5 does not exist"):
        gradcam.explain(described, pixels, fold, np.zeros(3, int))
