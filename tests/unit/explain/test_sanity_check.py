"""Which layers lose what they learned, in which order, and what is said of the maps that are left."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy import stats

from skinlesions.core.errors import UserError
from skinlesions.explain import cases, gradcam, sanity_check, similarity
from skinlesions.models import heads, networks
from tests.helpers.explained import description, made_up, noise
from tests.helpers.synthetic import synthetic_index, synthetic_predictions


def test_the_sample_is_of_one_fold_and_even_over_the_classes():
    answered = cases.answers(synthetic_predictions(synthetic_index()))
    chosen = sanity_check.sample(answered, 2, 14, seed=5)
    assert set(chosen["fold"]) == {2} and chosen["image_id"].is_unique
    there, drawn = (part["dx"].value_counts() for part in (answered[answered["fold"] == 2], chosen))
    assert len(chosen) == 14 and drawn.max() - drawn[drawn < there[drawn.index]].min() <= 1
    assert chosen.equals(sanity_check.sample(answered, 2, 14, seed=5))
    assert not chosen.equals(sanity_check.sample(answered, 2, 14, seed=6))
    everything = sanity_check.sample(answered, 2, 10_000, seed=5)
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
    steps = sanity_check.randomisation_steps(network, 4)
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
    names = [[layer.name for layer in step] for step in sanity_check.randomisation_steps(network, 99)]
    assert names == [["logits"], ["hidden"], *([f"convolution_{number}"] for number in (4, 3, 2, 1))]


def test_a_reinitialised_layer_is_as_before_training_and_follows_the_seed():
    network = classifier()
    for layer in (network.get_layer("hidden"), *network.get_layer("trunk").layers):
        before = layer.get_weights()
        layer.set_weights([np.full_like(value, 0.37) for value in before])
        drawn = []
        for seed in (3, 3, 4):
            keras.utils.set_random_seed(seed)
            sanity_check.reinitialise(layer)
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
        trained = gradcam.GradCam(network)(inputs, classes)
        runs.append(sanity_check.cascade(network, inputs, classes, blocks=2, seed=5))
    first, second = runs
    np.testing.assert_array_equal(first.maps, second.maps)
    np.testing.assert_allclose(first.maps[0], trained.maps, rtol=1e-6)
    assert first.reached == ["", "logits", "hidden", first.reached[3], "Conv1"]
    assert first.layers[0] == 0 and (np.diff(first.layers) > 0).all()
    assert first.kept[0].all() and first.maps.shape[:2] == (5, 5)
    for step in first.maps[1:]:
        assert not np.allclose(step, first.maps[0])
    assert np.isfinite(first.maps).all()


def test_maps_that_stay_the_same_survive():
    checked = sanity_check.sanity(made_up(lambda first: (2 * first, first)), 16, 0.95)
    np.testing.assert_allclose(checked.curve[["spearman", "ssim"]], 1, atol=1e-6)
    assert checked.curve["answers_kept"].tolist() == [1, 0.5, 0]
    assert abs(checked.other_images["spearman"]) < 0.2
    mean, low, high = checked.excess["spearman"]
    assert mean == pytest.approx(1 - checked.other_images["spearman"]) and 0.5 < low < mean < high


def test_maps_that_turn_to_noise_do_not_survive():
    random = np.random.default_rng(1)
    later = lambda first: (first, random.uniform(size=first.shape))  # noqa: E731
    checked = sanity_check.sanity(made_up(later), 16, 0.95)
    curve = checked.curve
    assert curve["spearman"].iloc[1] == pytest.approx(1) and abs(curve["spearman"].iloc[2]) < 0.2
    assert (curve["spearman_low"] <= curve["spearman_high"]).all()
    difference = similarity.spearman(*made_up_ends(made_up, random=np.random.default_rng(1)))
    others = similarity.to_other_images(made_up(later).maps[0], 16)["spearman"]
    interval = stats.ttest_1samp(difference - others, 0).confidence_interval(0.95)
    np.testing.assert_allclose(checked.excess["spearman"][1:], interval, atol=1e-9)


def made_up_ends(cascade, random):
    """The first and the last maps of the noise above, drawn again."""
    maps = cascade(lambda first: (first, random.uniform(size=first.shape))).maps
    return maps[0], maps[-1]


def test_maps_without_a_shape_are_left_out_and_too_few_are_refused():
    found = made_up(lambda first: (first, np.zeros_like(first)))
    found.maps[:, 0], found.maps[:, 1] = 0, 0.5
    curve = sanity_check.sanity(found, 16, 0.95).curve
    assert curve["images"].tolist() == [10] * 3
    assert curve["empty"].tolist() == [0, 0, 10] and curve["spearman"].iloc[2] == 0
    few = replace(found, maps=found.maps[:, :4], kept=found.kept[:, :4])
    with pytest.raises(UserError, match=r"only 2 of the sampled images have a map with any shape"):
        sanity_check.sanity(few, 16, 0.95)
