"""Grad-CAM against finite differences, closed forms and places that are known; cases, maps and the sanity check."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from scipy import stats

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import predictions
from skinlesions.evaluation import calibration, metrics
from skinlesions.explain import explanation
from skinlesions.inference import predictor
from skinlesions.models import heads, networks
from tests.helpers.synthetic import synthetic_index, synthetic_predictions

TENSORFLOW = keras.backend.backend() == "tensorflow"
# JAX has no float64 unless it is told to before it starts.
DTYPE, STEP, TOLERANCE = ("float64", 1e-6, 1e-7) if TENSORFLOW else ("float32", 1e-2, 2e-2)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1)


# --- the gradient -------------------------------------------------------------------------------------------------


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
    found = explanation.gradient(head, maps, classes)
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
    np.testing.assert_allclose(explanation.gradient(head, maps, classes), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.skipif(not TENSORFLOW or find_spec("jax") is None, reason="JAX is not installed, or this is JAX")
def test_it_is_the_same_on_jax():
    """This file again, on the other backend."""
    chosen = "gradient or weighted_sum or patch"
    command = [sys.executable, "-m", "pytest", "-q", "-k", chosen, "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    run = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


# --- Grad-CAM -----------------------------------------------------------------------------------------------------


def small_network(size=12, filters=7):
    """A network in the form of networks.classifier: one convolution of 1 x 1, mean, and a linear layer."""
    inner = keras.Input((size, size, 3))
    trunk = keras.Model(inner, layers.Conv2D(filters, 1, activation="relu", name="convolution")(inner), name="trunk")
    pixels = keras.Input((size, size, 3), dtype="uint8", name="images")
    maps = trunk(layers.Rescaling(1 / 255, name="preprocess")(pixels))
    return keras.Model(pixels, layers.Dense(7, name="logits")(layers.GlobalAveragePooling2D(name="pool")(maps)))


def noise(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_the_heat_of_a_linear_head_is_the_weighted_sum_of_the_maps():
    """There Grad-CAM is the class activation mapping of Zhou et al. 2016, over the number of cells."""
    network = small_network()
    inputs, classes = noise(20, 12), np.arange(20) % 7  # more than a batch
    found = explanation.GradCam(network)(inputs, classes)
    kernel, bias = network.get_layer("trunk").get_weights()
    maps = np.maximum(inputs / 255 @ kernel[0, 0] + bias, 0)
    weights = network.get_layer("logits").get_weights()[0]
    expected = np.maximum(np.einsum("nijk,kn->nij", maps, weights[:, classes]) / 144, 0)
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
    found = explanation.GradCam(network)(inputs, np.array([4]))
    assert (found.maps[0] > 0).tolist() == (inputs[0, ..., 0] > 0).tolist()
    assert explanation.is_empty(explanation.GradCam(network)(inputs, np.array([2])).maps).all()


def test_the_baseline_cnn_is_explained_at_its_last_convolution():
    network = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
    inputs, classes = noise(3, 48), np.array([1, 0, 6])
    explainer = explanation.GradCam(network)
    found = explainer(inputs, classes)
    assert found.maps.shape == (3, *network.get_layer("convolution_4").output.shape[1:3])
    maps, logits = (np.asarray(part) for part in explainer.network(inputs))
    np.testing.assert_allclose(found.logits, np.asarray(network(inputs)), atol=1e-5)
    np.testing.assert_allclose(np.asarray(explainer.head(maps)), logits, atol=1e-5)


def test_scaled_maps_have_a_maximum_of_one_and_keep_their_place():
    maps = np.zeros((3, 4, 4), "float32")
    maps[0, 1, 2], maps[1] = 5e-9, 2
    large = explanation.scaled(maps, 64)
    assert large.shape == (3, 64, 64) and large.min() == 0
    assert large.max(axis=(1, 2)).tolist() == [1, 1, 0]
    row, column = np.unravel_index(large[0].argmax(), (64, 64))
    assert 16 <= row < 32 and 32 <= column < 48
    assert explanation.is_empty(maps).tolist() == [False, False, True]


def description(**changed):
    own = {"name": "model", "training": networks.FROM_SCRATCH, "initialisation": "random", "fit": "crop", "folds": 2}
    own |= {"backbone": None, "architecture": None, "cut_at": None, "pooling": None, "views": 1}
    own |= {"prepared_size": 60, "crop": 60, "image_size": 48, "hidden_units": 8, "dropout": 0.5, "l2": 0.0}
    return networks.Description(**(own | changed))


def test_in_the_frame_of_the_prepared_image_the_border_is_unseen():
    framed = explanation.in_frame(np.ones((2, 3, 3), "float32"), description(prepared_size=240, crop=224))
    seen = ~np.isnan(framed)
    assert framed.shape == (2, 240, 240)
    assert seen[:, 8:232, 8:232].all() and seen.sum() == 2 * 224**2
    whole = explanation.in_frame(np.ones((1, 3, 3), "float32"), description())
    assert not np.isnan(whole).any()


def test_even_heat_has_half_of_itself_in_the_central_half_of_the_area():
    maps = np.ones((4, 13, 13), "float32")
    maps[1], maps[2], maps[3] = 0, 0, 0
    maps[1, 6, 6], maps[2, 0, 0] = 1, 1
    share = explanation.central_share(maps)
    np.testing.assert_allclose(share[:3], [0.5, 1, 0], atol=1e-6)
    assert np.isnan(share[3])


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (2, 5)])
def test_a_map_too_coarse_to_have_a_centre_has_no_central_share(shape):
    maps = np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32")
    assert np.isnan(explanation.central_share(maps)).all()
    assert not np.isnan(explanation.central_share(np.pad(maps, ((0, 0), (1, 1), (1, 1))))).any()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A baseline CNN with the weights of two folds under models/."""
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    described = description()
    networks.write(described, tmp_path / "model")
    for fold in range(2):
        network = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
        network.save_weights(tmp_path / "model" / f"fold_{fold}.weights.h5")
    return described


def test_every_image_is_explained_by_the_network_of_its_fold(saved):
    pixels, fold, classes = noise(4, 60), np.array([1, 0, 1, 0]), np.array([0, 1, 2, 3])
    found = explanation.explain(saved, pixels, fold, classes)
    inputs = predictor.network_inputs(saved, pixels)
    for number in (0, 1):
        rows = fold == number
        alone = explanation.GradCam(networks.load(saved, number))(inputs[rows], classes[rows])
        np.testing.assert_allclose(found.maps[rows], alone.maps, atol=1e-6)
        np.testing.assert_allclose(found.logits[rows], alone.logits, atol=1e-5)
    other = explanation.explain(saved, pixels, 1 - fold, classes)
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
    found = explanation.explain(described, pixels, fold, np.zeros(3, int))
    inputs = networks.network_inputs(described, pixels)
    for number in (0, 1):
        expected = np.asarray(networks.load(described, number)(inputs))
        np.testing.assert_allclose(found.logits[fold == number], expected[fold == number], atol=1e-4)
    (tmp_path / "model" / "fold_1.weights.h5").unlink()
    with pytest.raises(UserError, match=r"fold_1\.weights\.h5 does not exist"):
        explanation.explain(described, pixels, fold, np.zeros(3, int))


# --- the cases ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    return synthetic_predictions(synthetic_index())


def test_answers_have_the_calibrated_probabilities_of_the_two_best_classes(table):
    answered = explanation.answers(table)
    test = predictions.select(table, "test")
    assert answered["image_id"].tolist() == test["image_id"].tolist()
    temperatures = calibration.fold_temperatures(table)
    assert len(set(temperatures.values())) == 5
    for row in range(0, len(test), 17):
        logits = predictions.logits(test)[row] / temperatures[test["fold"].iloc[row]]
        probability = dict(zip(CLASSES, metrics.softmax(logits), strict=True))
        first, second = sorted(probability, key=probability.get, reverse=True)[:2]
        answer = answered.iloc[row]
        assert (answer["predicted"], answer["runner_up"]) == (first, second)
        assert answer["probability"] == pytest.approx(probability[first])
        assert answer["margin"] == pytest.approx(probability[first] - probability[second])


def test_cases_are_the_extremes_of_their_class(table):
    answered = explanation.answers(table)
    cases = explanation.choose_cases(answered)
    assert cases["case"].unique().tolist() == list(explanation.CASES)
    for case in cases.itertuples():
        own = answered[answered["dx"] == case.dx]
        is_right = own["predicted"] == own["dx"]
        if case.case == "borderline":
            assert case.margin == own["margin"].min()
        else:
            assert case.probability == own.loc[is_right == (case.case == "right"), "probability"].max()
            assert (case.predicted == case.dx) == (case.case == "right")
        assert case.other == (case.runner_up if case.predicted == case.dx else case.dx)
        assert case.other != case.predicted
    assert cases.groupby("case")["dx"].apply(list)["right"] == [name for name in CLASSES if name in set(cases["dx"])]


def answer(image, dx, predicted, probability, margin=0.5):
    values = {"image_id": image, "dx": dx, "fold": 0, "predicted": predicted, "probability": probability}
    return values | {"runner_up": "nv" if predicted != "nv" else "mel", "margin": margin}


def test_equals_are_decided_by_name_and_cases_that_do_not_exist_are_absent():
    answered = pd.DataFrame(
        [
            answer("c", "mel", "mel", 0.9),
            answer("b", "mel", "mel", 0.9),
            answer("d", "mel", "nv", 0.7),
            answer("a", "mel", "mel", 0.6),
            answer("f", "nv", "bkl", 0.8),
        ]
    )
    cases = explanation.choose_cases(answered.sample(frac=1, random_state=1)).set_index(["case", "dx"])["image_id"]
    expected = {("right", "mel"): "b", ("wrong", "mel"): "d", ("wrong", "nv"): "f", ("borderline", "mel"): "a"}
    assert cases.to_dict() == expected | {("borderline", "nv"): "f"}


def test_every_model_answers_for_every_case_by_its_own_fold(table):
    answered = {"one": explanation.answers(table)}
    answered["two"] = explanation.answers(synthetic_predictions(synthetic_index(), skill=0.2, seed=5))
    cases = explanation.choose_cases(answered["one"])
    answers = explanation.answers_to_cases(cases, answered)
    assert answers["model"].tolist() == ["one"] * len(cases) + ["two"] * len(cases)
    for name, part in answers.groupby("model"):
        own = answered[name].set_index("image_id").loc[part["image_id"]]
        for column in ("fold", "predicted", "probability", "dx"):
            assert part[column].tolist() == own[column].tolist()
    with pytest.raises(UserError, match=f"the predictions of two lack the image {cases['image_id'].min()}"):
        explanation.answers_to_cases(cases, {"two": answered["two"].query("image_id != @cases.image_id.min()")})


def test_what_was_measured_is_counted_by_model(table):
    answered = {"one": explanation.answers(table)}
    cases = explanation.choose_cases(answered["one"])
    answers = explanation.answers_to_cases(cases, answered)
    count = len(cases)
    logits = np.eye(7)[[CLASSES.index(name) for name in answers["predicted"]]]
    logits[0] = -logits[0]  # this network answers something else
    maps = np.ones((count, 3, 3), "float32")
    maps[1] = 0
    heat = {"one": explanation.Heat(maps, logits)}
    found = explanation.measured(answers, heat, {"one": description(training=networks.FROZEN)})
    assert found["repeated"].tolist() == [False] + [True] * (count - 1)
    assert found["empty"].tolist() == [False, True] + [False] * (count - 2)
    (row,) = explanation.by_model(found, heat).to_dict("records")
    assert (row["training"], row["initialisation"]) == (networks.FROZEN, "random")
    assert (row["grid_height"], row["grid_width"]) == (3, 3)
    right = int((cases["predicted"] == cases["dx"]).sum())
    assert (row["cases"], row["right"], row["repeated"], row["empty"]) == (count, right, count - 1, 1)
    assert row["central_share"] == pytest.approx(0.5, abs=1e-6)
    assert np.isnan(row["other_pictures"])  # all are even or empty


def test_maps_too_coarse_to_have_a_centre_have_no_central_share(table):
    answered = dict.fromkeys(("coarse", "fine", "empty"), explanation.answers(table))
    answers = explanation.answers_to_cases(explanation.choose_cases(answered["fine"]), answered)
    count = len(answers) // 3
    random = np.random.default_rng(0)
    sizes = {"coarse": (2, 2), "fine": (6, 5), "empty": (5, 5)}
    heat = {
        name: explanation.Heat(random.uniform(size=(count, *size)).astype("float32"), np.zeros((count, 7)))
        for name, size in sizes.items()
    }
    heat["empty"].maps[:] = 0
    found = explanation.measured(answers, heat, dict.fromkeys(heat, description()))
    models = explanation.by_model(found, heat)
    shares = models.set_index("model")["central_share"]
    assert shares.isna().tolist() == [True, False, True]


def test_the_likeness_is_the_mean_correlation_of_all_pairs_of_maps_with_a_shape():
    maps = np.random.default_rng(0).uniform(size=(6, 4, 4)).astype("float32")
    maps[3:] = maps[:3] ** 2  # the same order of cells
    pairs = [stats.spearmanr(maps[one].ravel(), maps[two].ravel()).statistic for two in range(6) for one in range(two)]
    assert explanation.likeness(maps) == pytest.approx(np.mean(pairs))
    even = np.concatenate([maps, np.zeros((2, 4, 4)), np.ones((1, 4, 4))])
    assert explanation.likeness(even) == pytest.approx(np.mean(pairs))
    assert explanation.likeness(maps[[0, 3]]) == pytest.approx(1)
    assert np.isnan(explanation.likeness(maps[:1]))
    checked = explanation.sanity(made_up(lambda first: (first, first)), 16, 0.95)
    assert explanation.likeness(made_up(lambda first: (first, first)).maps[0]) == pytest.approx(
        checked.other_images["spearman"]
    )


def test_a_name_in_a_figure_is_followed_by_how_the_model_was_trained():
    trunk = {"backbone": "tiny", "architecture": "vgg16", "cut_at": None, "pooling": "average"}
    origins = [
        explanation.origin(description()),
        explanation.origin(description(training=networks.FROZEN, **trunk)),
        explanation.origin(description(training=networks.FINE_TUNED, initialisation="ImageNet", **trunk)),
    ]
    assert origins == ["from scratch", "frozen features, random weights", "fine-tuned, ImageNet weights"]


# --- filters and feature maps -------------------------------------------------------------------------------------


def test_feature_maps_are_those_of_the_layers():
    network, inputs = small_network(), noise(1, 12)
    assert [layer.name for layer in explanation.convolutions(network)] == ["convolution"]
    name, kernels = explanation.first_filters(network)
    assert (name, kernels.shape) == ("convolution", (1, 1, 3, 7))
    maps = explanation.feature_maps(network, inputs, ["convolution"])["convolution"]
    bias = network.get_layer("trunk").get_weights()[1]
    np.testing.assert_allclose(maps, np.maximum(inputs[0] / 255 @ kernels[0, 0] + bias, 0), atol=1e-6)


def test_feature_maps_of_a_network_without_a_trunk():
    network, inputs = heads.baseline_cnn(48, 8, 0.5, 0.0, "none"), noise(1, 48)
    names = [layer.name for layer in explanation.convolutions(network)]
    assert names == [f"convolution_{number}" for number in (1, 2, 3, 4)]
    maps = explanation.feature_maps(network, inputs, names)
    assert list(maps) == names
    assert {name: values.shape for name, values in maps.items()} == {
        name: tuple(network.get_layer(name).output.shape[1:]) for name in names
    }
    assert explanation.first_filters(network)[1].shape == (3, 3, 3, 64)


def test_the_liveliest_maps_vary_most():
    maps = np.random.default_rng(0).normal(size=(6, 6, 5)) * [1, 5, 0, 3, 2] + [90, 0, 50, 0, 0]
    assert explanation.liveliest(maps, 3).tolist() == [1, 3, 4]
    assert explanation.liveliest(maps, 9).tolist() == [1, 3, 4, 0, 2]


# --- the sanity check ---------------------------------------------------------------------------------------------


def test_the_sample_is_of_one_fold_and_even_over_the_classes(table):
    answered = explanation.answers(table)
    chosen = explanation.sample(answered, 2, 14, seed=5)
    assert set(chosen["fold"]) == {2} and chosen["image_id"].is_unique
    there, drawn = (part["dx"].value_counts() for part in (answered[answered["fold"] == 2], chosen))
    assert len(chosen) == 14 and drawn.max() - drawn[drawn < there[drawn.index]].min() <= 1
    assert chosen.equals(explanation.sample(answered, 2, 14, seed=5))
    assert not chosen.equals(explanation.sample(answered, 2, 14, seed=6))
    everything = explanation.sample(answered, 2, 10_000, seed=5)
    assert set(everything["image_id"]) == set(answered.loc[answered["fold"] == 2, "image_id"])


def classifier():
    own = {"training": networks.FINE_TUNED, "backbone": "tiny", "architecture": "mobilenet_v2", "pooling": "average"}
    described = description(cut_at="block_2_add", crop=60, image_size=32, **own)
    return networks.classifier(described, networks.trunk(described))


def all_layers(network):
    for layer in network.layers:
        yield from all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def test_every_learned_layer_is_randomised_once_from_the_logits_down():
    network = classifier()
    steps = explanation.randomisation_steps(network, 4)
    randomised = [layer.name for step in steps for layer in step]
    learned = [layer.name for layer in all_layers(network) if layer.weights and layer.name != "standardise"]
    assert sorted(randomised) == sorted(learned) and len(set(randomised)) == len(randomised)
    assert [[layer.name for layer in step] for step in steps[:2]] == [["logits"], ["hidden"]]
    assert len(steps) == 6
    assert {"Conv1", "bn_Conv1"} <= {layer.name for layer in steps[-1]} and randomised[-1] == "Conv1"
    assert steps[2][0].name == "block_2_project_BN"
    assert max(map(len, steps[2:])) <= 2 * min(map(len, steps[2:]))


def test_there_are_no_more_steps_than_convolutions():
    network = heads.baseline_cnn(48, 8, 0.5, 0.0, "none")
    names = [[layer.name for layer in step] for step in explanation.randomisation_steps(network, 99)]
    assert names == [["logits"], ["hidden"], *([f"convolution_{number}"] for number in (4, 3, 2, 1))]


def test_a_reinitialised_layer_is_as_before_training_and_follows_the_seed():
    network = classifier()
    for layer in (network.get_layer("hidden"), *network.get_layer("trunk").layers):
        before = layer.get_weights()
        layer.set_weights([np.full_like(value, 0.37) for value in before])
        drawn = []
        for seed in (3, 3, 4):
            keras.utils.set_random_seed(seed)
            explanation.reinitialise(layer)
            drawn.append(layer.get_weights())
        for first, second, other, start in zip(*drawn, before, strict=True):
            np.testing.assert_array_equal(first, second)
            if start.ndim == 1:  # biases, and all of batch normalisation: constants
                np.testing.assert_array_equal(first, start)
            else:
                assert not np.array_equal(first, other) and not np.any(first == 0.37)
                assert first.std() == pytest.approx(start.std(), rel=0.5)


def test_the_cascade_starts_with_the_network_and_ends_without_it():
    inputs, classes = noise(5, 32), np.array([0, 1, 2, 3, 4])
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        network = classifier()
        trained = explanation.GradCam(network)(inputs, classes)
        runs.append(explanation.cascade(network, inputs, classes, blocks=2, seed=5))
    first, second = runs
    np.testing.assert_array_equal(first.maps, second.maps)
    np.testing.assert_allclose(first.maps[0], trained.maps, rtol=1e-6)
    assert first.reached == ["", "logits", "hidden", first.reached[3], "Conv1"]
    assert first.layers[0] == 0 and (np.diff(first.layers) > 0).all()
    assert first.kept[0].all() and first.maps.shape[:2] == (5, 5)
    for step in first.maps[1:]:
        assert not np.allclose(step, first.maps[0])
    assert np.isfinite(first.maps).all()


def test_spearman_is_that_of_scipy():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(6, 4, 5)), random.normal(size=(6, 4, 5))
    second[1] = np.exp(first[1])  # another scale, the same order
    second[2] = -first[2]
    first[3] = np.maximum(first[3], 0)  # many equal cells, as in real maps
    expected = [
        stats.spearmanr(*pair).statistic for pair in zip(first.reshape(6, -1), second.reshape(6, -1), strict=True)
    ]
    np.testing.assert_allclose(explanation.spearman(first, second), expected, atol=1e-12)
    assert expected[1] == pytest.approx(1) and expected[2] == pytest.approx(-1)
    assert explanation.spearman(np.zeros((1, 3, 3)), random.normal(size=(1, 3, 3))).tolist() == [0]


def test_structure_is_compared_whatever_the_scale():
    maps = np.random.default_rng(0).uniform(size=(3, 4, 4)).astype("float32")
    np.testing.assert_allclose(explanation.ssim(maps, 1e-8 * maps, 32), 1, atol=1e-5)
    assert (explanation.ssim(maps, maps[::-1], 32)[[0, 2]] < 0.9).all()


def test_the_similarity_to_other_images_is_the_mean_over_them():
    maps = np.random.default_rng(0).uniform(size=(4, 4, 4)).astype("float32")
    found = explanation.to_other_images(maps, 16)
    for name in explanation.MEASURES:
        for image in range(4):
            rest = [other for other in range(4) if other != image]
            pairs = explanation.similarities(maps[[image] * 3], maps[rest], 16)
            assert found[name][image] == pytest.approx(pairs[name].mean())


def made_up(later):
    """A cascade of three steps over twelve images; what the later steps show is given."""
    first = np.random.default_rng(0).uniform(size=(12, 5, 5)).astype("float32")
    kept = np.array([[True] * 12, [True] * 6 + [False] * 6, [False] * 12])
    return explanation.Cascade(["", "logits", "first"], np.array([0, 1, 4]), np.stack([first, *later(first)]), kept)


def test_maps_that_stay_the_same_survive():
    checked = explanation.sanity(made_up(lambda first: (2 * first, first)), 16, 0.95)
    np.testing.assert_allclose(checked.curve[["spearman", "ssim"]], 1, atol=1e-6)
    assert checked.curve["answers_kept"].tolist() == [1, 0.5, 0]
    assert abs(checked.other_images["spearman"]) < 0.2
    mean, low, high = checked.excess["spearman"]
    assert mean == pytest.approx(1 - checked.other_images["spearman"]) and 0.5 < low < mean < high


def test_maps_that_turn_to_noise_do_not_survive():
    random = np.random.default_rng(1)
    later = lambda first: (first, random.uniform(size=first.shape))  # noqa: E731
    checked = explanation.sanity(made_up(later), 16, 0.95)
    curve = checked.curve
    assert curve["spearman"].iloc[1] == pytest.approx(1) and abs(curve["spearman"].iloc[2]) < 0.2
    assert (curve["spearman_low"] <= curve["spearman_high"]).all()
    difference = explanation.spearman(*made_up_ends(made_up, random=np.random.default_rng(1)))
    others = explanation.to_other_images(made_up(later).maps[0], 16)["spearman"]
    interval = stats.ttest_1samp(difference - others, 0).confidence_interval(0.95)
    np.testing.assert_allclose(checked.excess["spearman"][1:], interval, atol=1e-9)


def made_up_ends(cascade, random):
    """The first and the last maps of the noise above, drawn again."""
    maps = cascade(lambda first: (first, random.uniform(size=first.shape))).maps
    return maps[0], maps[-1]


def test_maps_without_a_shape_are_left_out_and_too_few_are_refused():
    found = made_up(lambda first: (first, np.zeros_like(first)))
    found.maps[:, 0], found.maps[:, 1] = 0, 0.5
    curve = explanation.sanity(found, 16, 0.95).curve
    assert curve["images"].tolist() == [10] * 3
    assert curve["empty"].tolist() == [0, 0, 10] and curve["spearman"].iloc[2] == 0
    few = replace(found, maps=found.maps[:, :4], kept=found.kept[:, :4])
    with pytest.raises(UserError, match=r"only 2 of the sampled images have a map with any shape"):
        explanation.sanity(few, 16, 0.95)
