"""Frozen features are the network's own output, whatever interrupts the run that computes them."""

import keras
import numpy as np
import pytest
from PIL import Image

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.models import backbones, features

COUNT, BATCH = 23, 4


@pytest.fixture(scope="module")
def extractor():
    """VGG16 up to its first pooling layer, 32 pixels."""
    keras.utils.set_random_seed(0)
    return backbones.feature_extractor("vgg16", "vgg16", backbones.trunk("vgg16", 32, "block1_pool"), "average")


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Images of 36 pixels, of which the network takes the middle 32."""
    path = tmp_path_factory.mktemp("prepared") / "images.npy"
    files.write_array(path, np.random.default_rng(0).integers(0, 256, (COUNT, 36, 36, 3), dtype="uint8"))
    return path


class Recording:
    """An extractor that counts its batches, and breaks off in batch `breaks_at` (from 0) if that is given."""

    def __init__(self, extractor: keras.Model, breaks_at: int | None = None, error: type = KeyboardInterrupt) -> None:
        self.extractor, self.breaks_at, self.error, self.batches = extractor, breaks_at, error, []
        self.name, self.input_shape, self.output_shape = extractor.name, extractor.input_shape, extractor.output_shape

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        if len(self.batches) == self.breaks_at:
            raise self.error
        self.batches.append(batch)
        return self.extractor.predict_on_batch(batch)


def extract(extractor: keras.Model | Recording, pixels, folder, key: dict[str, object] | None = None, crop: int = 32):
    target, partial = folder / "features.npy", folder / "partial"
    features.extract(
        extractor, pixels, target, crop=crop, batch_size=BATCH, partial=partial, key=key or {"weights": "a"}
    )
    return target


def test_features_are_the_output_of_the_network(extractor, pixels, tmp_path):
    found = np.load(extract(extractor, pixels, tmp_path), allow_pickle=False)
    expected = extractor.predict_on_batch(np.load(pixels)[:, 2:34, 2:34])
    assert found.shape == (COUNT, 64) and found.dtype == "float16"
    # float16 has 11 significant bits.
    np.testing.assert_allclose(found, expected, rtol=2**-10, atol=2**-14)
    assert len(np.unique(found, axis=0)) == COUNT
    assert [path.name for path in tmp_path.iterdir()] == ["features.npy"]  # no partial work is left


def test_a_larger_crop_is_scaled_to_what_the_network_takes(extractor, pixels, tmp_path):
    recording = Recording(extractor)
    extract(recording, pixels, tmp_path, crop=36)
    scaled = [
        np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)) for image in np.load(pixels)
    ]
    np.testing.assert_array_equal(np.concatenate(recording.batches)[:COUNT], scaled)


def test_all_batches_have_one_shape(extractor, pixels, tmp_path):
    recording = Recording(extractor)
    extract(recording, pixels, tmp_path)
    assert {batch.shape for batch in recording.batches} == {(BATCH, 32, 32, 3)}


@pytest.mark.parametrize("breaks_at", [0, 1, 3, 5])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(extractor, pixels, tmp_path, breaks_at):
    whole = extract(extractor, pixels, tmp_path / "whole").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        extract(Recording(extractor, breaks_at), pixels, tmp_path)
    assert not (tmp_path / "features.npy").exists()
    second = Recording(extractor)
    assert extract(second, pixels, tmp_path).read_bytes() == whole
    assert len(second.batches) == 6 - breaks_at


def test_a_batch_cut_short_by_a_kill_is_computed_again(extractor, pixels, tmp_path):
    whole = extract(extractor, pixels, tmp_path / "whole").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        extract(Recording(extractor, 3), pixels, tmp_path)
    with (tmp_path / "partial" / "rows.float16").open("ab") as stream:
        stream.write(b"\x7f" * 100)  # the beginning of a fourth batch
    assert extract(extractor, pixels, tmp_path).read_bytes() == whole


def test_a_run_killed_before_its_last_step_only_writes_the_result(extractor, pixels, tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    whole = extract(extractor, pixels, tmp_path / "whole").read_bytes()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "write_array", killed)
        extract(extractor, pixels, tmp_path)
    second = Recording(extractor)
    assert extract(second, pixels, tmp_path).read_bytes() == whole
    assert len(second.batches) == 1  # the last, short batch, which may have been cut


def test_rows_of_other_weights_are_discarded(extractor, pixels, tmp_path):
    other = backbones.feature_extractor("vgg16", "vgg16", backbones.trunk("vgg16", 32, "block1_pool"), "average")
    other.set_weights([weight + 0.1 for weight in extractor.get_weights()])
    with pytest.raises(KeyboardInterrupt):
        extract(Recording(other, 3), pixels, tmp_path, key={"weights": "b"})
    recording = Recording(extractor)
    found = extract(recording, pixels, tmp_path, key={"weights": "a"}).read_bytes()
    assert len(recording.batches) == 6
    assert found == extract(extractor, pixels, tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(("value", "row"), [(np.nan, 9), (np.inf, 0), (1e5, 22)])
def test_features_that_are_no_numbers_are_refused(extractor, pixels, tmp_path, value, row):
    class Faulty(Recording):
        def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
            first, output = BATCH * len(self.batches), super().predict_on_batch(batch).copy()
            if first <= row < first + BATCH:
                output[row - first, 5] = value
            return output

    first = row // BATCH * BATCH
    last = min(first + BATCH, COUNT) - 1
    with pytest.raises(UserError, match=rf"vgg16_features: a feature of rows {first} to {last} is not a .*cut_at"):
        extract(Faulty(extractor), pixels, tmp_path)
    assert not (tmp_path / "features.npy").exists()


def test_images_smaller_than_the_network_takes_are_refused(extractor, tmp_path):
    files.write_array(tmp_path / "small.npy", np.zeros((3, 24, 24, 3), "uint8"))
    with pytest.raises(ValueError, match="cannot crop 32 pixels from images of 24 x 24"):
        extract(extractor, tmp_path / "small.npy", tmp_path)
