"""Augmentation moves pixels in training and does nothing otherwise."""

import keras
import numpy as np
import pytest

from skinlesions.models import augmentation

SQUARE = np.arange(5 * 5 * 3, dtype="float32").reshape(5, 5, 3)


def symmetries(image: np.ndarray) -> list[np.ndarray]:
    """The eight symmetries of a square image: four turns of it and of its mirror image."""
    return [np.rot90(turned, quarter) for turned in (image, image[:, ::-1]) for quarter in range(4)]


def test_the_dihedral_layer_yields_the_eight_symmetries_each_as_often():
    keras.utils.set_random_seed(0)
    turned = keras.ops.convert_to_numpy(augmentation.RandomDihedral(seed=1)(np.stack([SQUARE] * 1600), training=True))
    eight = np.stack(symmetries(SQUARE))
    assert len(np.unique(eight.reshape(8, -1), axis=0)) == 8
    matches = (turned[:, None] == eight[None]).all(axis=(2, 3, 4))
    assert (matches.sum(axis=1) == 1).all()  # each is one of them, exactly
    # 200 of each expected, standard deviation 13.
    assert matches.sum(axis=0).min() > 130 and matches.sum(axis=0).max() < 270


def test_every_image_is_turned_as_a_whole_and_keeps_its_place():
    batch = np.stack([SQUARE + 100 * number for number in range(32)])
    turned = keras.ops.convert_to_numpy(augmentation.RandomDihedral(seed=1)(batch, training=True))
    for before, after in zip(batch, turned, strict=True):
        assert any(np.array_equal(after, symmetry) for symmetry in symmetries(before))
    assert not np.array_equal(turned, batch)


@pytest.mark.parametrize("kind", augmentation.KINDS)
def test_nothing_happens_outside_training(kind):
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    layer = augmentation.layers(kind)
    np.testing.assert_array_equal(layer(images, training=False), images)
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, layer(inputs))
    np.testing.assert_array_equal(network.predict_on_batch(images), images)
    np.testing.assert_array_equal(network(images, training=False), images)


@pytest.mark.parametrize("kind", ["dihedral", "standard", "original"])
def test_the_layer_works_inside_a_network_that_trains(kind):
    """What reaches the loss in `fit` is augmented."""
    inputs = keras.Input((5, 5, 3))
    network = keras.Model(inputs, augmentation.layers(kind, seed=1)(inputs))
    seen = []

    class Recorder(keras.losses.Loss):
        def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
            seen.append(keras.ops.convert_to_numpy(y_pred))
            return keras.ops.mean(y_pred - y_pred, axis=(1, 2, 3))

    network.compile(loss=Recorder(), optimizer="sgd", run_eagerly=True)
    batch = np.stack([SQUARE] * 16)
    network.fit(batch, batch, batch_size=16, verbose=0)
    assert not np.array_equal(seen[-1], batch)


def test_turn_shift_shear_zoom_and_flip_are_drawn_independently():
    augment = augmentation.layers("original", seed=7)
    shape = (256, 8, 8, 3)
    by_kind = {type(layer).__name__: layer for layer in augment.layers}
    draws = {
        name: np.ravel(by_kind[name].get_random_transformation(np.zeros(shape, "float32"), training=True)[key])
        for name, key in (("RandomRotation", "angle"), ("RandomZoom", "height_zoom"), ("RandomShear", "shear_factor"))
    }
    angle = draws["RandomRotation"]
    assert abs(np.corrcoef(angle, draws["RandomZoom"])[0, 1]) < 0.3
    assert abs(np.corrcoef(angle, draws["RandomShear"][: len(angle)])[0, 1]) < 0.3


@pytest.mark.parametrize("kind", ["dihedral", "original"])
def test_augmented_images_keep_shape_and_range(kind):
    images = np.random.default_rng(0).uniform(20, 230, (16, 24, 24, 3)).astype("float32")
    augmented = keras.ops.convert_to_numpy(augmentation.layers(kind, seed=0)(images, training=True))
    assert augmented.shape == images.shape and augmented.dtype == images.dtype
    # Borders are filled with the nearest pixels, not with black; interpolation stays between its pixels.
    assert augmented.min() >= 19.99 and augmented.max() <= 230.01
    assert all(not np.allclose(before, after) for before, after in zip(images, augmented, strict=True)) or (
        kind == "dihedral"  # one in eight stays as it is
    )


def test_the_augmentation_is_new_in_every_epoch():
    layer = augmentation.layers("dihedral", seed=0)
    images = np.stack([SQUARE] * 64)
    first, second = (keras.ops.convert_to_numpy(layer(images, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)


def test_the_original_augmentation_turns_about_the_centre_and_leaves_it_in_view():
    """A bright spot in the middle of a dark image stays within a tenth of the size, plus what shear and zoom add."""
    images = np.zeros((64, 41, 41, 3), "float32")
    images[:, 18:23, 18:23] = 255
    augmented = keras.ops.convert_to_numpy(augmentation.layers("original", seed=3)(images, training=True))[..., 0]
    y, x = np.mgrid[:41, :41]
    mass = augmented.sum(axis=(1, 2))
    centres = np.stack([(augmented * axis).sum(axis=(1, 2)) / mass for axis in (y, x)]) - 20
    assert np.abs(centres).max() < 0.1 * 41 * 1.5 + 1
    assert np.abs(centres).max() > 1  # it does move


def test_previews_are_repeatable_and_their_draws_differ():
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype="uint8")
    for kind in ("dihedral", "original"):
        keras.utils.set_random_seed(1)
        first = augmentation.preview(images, kind, draws=4, seed=7)
        keras.utils.set_random_seed(2)
        again = augmentation.preview(images, kind, draws=4, seed=7)
        assert first.shape == (4, 2, 16, 16, 3) and first.dtype == "float32"
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, augmentation.preview(images, kind, draws=4, seed=8))
        assert len(np.unique(first.reshape(4, -1), axis=0)) > 1
    np.testing.assert_array_equal(augmentation.preview(images, "none", 2, seed=7), [images, images])


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown augmentation 'mixup'; known: none, dihedral, standard, original"):
        augmentation.layers("mixup")


def test_the_layer_survives_saving(tmp_path):
    inputs = keras.Input((5, 5, 3))
    network = keras.Model(inputs, augmentation.RandomDihedral(seed=3)(inputs))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.layers[-1].get_config()["seed"] == 3
    np.testing.assert_array_equal(loaded.predict_on_batch(SQUARE[None]), SQUARE[None])


def crop(images: np.ndarray, smallest_area: float = 0.5, seed: int = 1) -> np.ndarray:
    layer = augmentation.RandomResizedCrop(smallest_area, (0.8, 1.25), seed)
    return keras.ops.convert_to_numpy(layer(images, training=True))


def test_a_crop_is_a_part_of_the_image_scaled_back():
    """On an image whose colours are its coordinates, every crop is a linear map of them."""
    size = 64
    rows, columns = np.mgrid[:size, :size].astype("float32")
    images = np.repeat(np.stack([rows, columns, np.full_like(rows, 7)], axis=-1)[None], 64, axis=0)
    cropped = crop(images)
    assert cropped.shape == images.shape
    np.testing.assert_allclose(cropped[..., 2], 7, rtol=1e-5)
    inner = cropped[:, 2:-2, 2:-2]  # at the border of the image the nearest pixel fills half a pixel
    np.testing.assert_allclose(inner[..., 0].std(axis=2), 0, atol=1e-2)
    np.testing.assert_allclose(inner[..., 1].std(axis=1), 0, atol=1e-2)
    heights = (inner[:, -1, 0, 0] - inner[:, 0, 0, 0]) / (inner.shape[1] - 1)
    widths = (inner[:, 0, -1, 1] - inner[:, 0, 0, 1]) / (inner.shape[2] - 1)
    areas, ratios = heights * widths, heights / widths
    assert areas.min() > 0.49 and areas.max() < 1.01 and areas.std() > 0.05
    assert ratios.min() > 0.79 and ratios.max() < 1.26 and ratios.std() > 0.05
    assert cropped[..., :2].min() >= 0 and cropped[..., :2].max() <= size - 1


def test_the_whole_image_as_a_crop_is_the_image():
    images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype("float32")
    layer = augmentation.RandomResizedCrop(1.0, (1.0, 1.0), 1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(images, training=True)), images, atol=1e-2)


def test_colours_change_within_their_range_and_the_hue_of_grey_does_not():
    images = np.full((200, 4, 4, 3), 100, "float32")
    changed = keras.ops.convert_to_numpy(augmentation.RandomColor(0.2, seed=1)(images, training=True))
    np.testing.assert_allclose(changed, changed[:, :1, :1, :1] * np.ones((1, 4, 4, 3)), rtol=1e-5)  # grey, and even
    brightness = changed[:, 0, 0, 0] / 100
    assert 0.8 <= brightness.min() < 0.85 and 1.15 < brightness.max() <= 1.2
    bright = augmentation.RandomColor(0.5, seed=1)(np.full((50, 2, 2, 3), 250, "uint8"), training=True)
    assert keras.ops.convert_to_numpy(bright).max() == 255


def test_the_views_of_an_image_are_its_eight_symmetries():
    images = np.stack([SQUARE, SQUARE + 100])
    views = list(augmentation.views(images, 8))
    assert {view[0].tobytes() for view in views} == {symmetry.tobytes() for symmetry in symmetries(SQUARE)}
    assert len(views) == 8 and all(np.array_equal(view[1], view[0] + 100) for view in views)
    (only,) = augmentation.views(images, 1)
    np.testing.assert_array_equal(only, images)
