"""From image files to one array: geometry, order, memory, faults."""

import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from PIL import Image

from skinlesions.core import files, parallel, paths
from skinlesions.core.errors import UserError
from skinlesions.data import images

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(width: int, height: int, marks: dict[tuple[int, int], tuple[int, int, int]]) -> Image.Image:
    """A grey image with coloured squares of 20 pixels around the places (x, y) of `marks`."""
    pixels = np.full((height, width, 3), 128, "uint8")
    for (x, y), color in marks.items():
        pixels[max(y - 10, 0) : y + 10, max(x - 10, 0) : x + 10] = color
    return Image.fromarray(pixels)


def near(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Which pixels are of about `color`, bool [H, W]."""
    return (np.abs(pixels.astype(int) - np.array(color)) < 60).all(axis=-1)


def centre(pixels: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float, int, int]:
    """Where the pixels of about `color` lie: x and y of their centre, width and height of their extent."""
    y, x = np.nonzero(near(pixels, color))
    return x.mean() + 0.5, y.mean() + 0.5, int(np.ptp(x)) + 1, int(np.ptp(y)) + 1


def test_crop_keeps_the_middle_and_the_aspect_ratio():
    wide = picture(400, 200, {(150, 50): RED, (250, 150): GREEN, (20, 100): BLUE})
    cropped = np.asarray(images.fit(wide, 100, "crop"))
    assert cropped.shape == (100, 100, 3)
    # Scaled by 1/2, and the left 100 of 400 pixels are cut off: x' = (x - 100) / 2, y' = y / 2.
    assert centre(cropped, RED) == pytest.approx((25, 25, 10, 10), abs=1)
    assert centre(cropped, GREEN) == pytest.approx((75, 75, 10, 10), abs=1)
    assert not near(cropped, BLUE).any()  # outside the middle
    tall = np.asarray(images.fit(wide.transpose(Image.Transpose.TRANSPOSE), 100, "crop"))
    assert np.abs(tall.astype(int) - cropped.transpose(1, 0, 2)).max() <= 1


def test_pad_keeps_everything_and_adds_black():
    wide = picture(400, 200, {(20, 100): BLUE, (250, 150): GREEN})
    padded = np.asarray(images.fit(wide, 100, "pad"))
    assert padded.shape == (100, 100, 3)
    # Scaled by 1/4, 25 rows of black above and below.
    assert centre(padded, BLUE) == pytest.approx((5, 50, 5, 5), abs=1)
    assert centre(padded, GREEN) == pytest.approx((62.5, 62.5, 5, 5), abs=1)
    assert not padded[:25].any() and not padded[75:].any()
    assert padded[25:75].any(axis=-1).all()


def test_stretch_gives_up_the_aspect_ratio():
    wide = picture(400, 200, {(150, 50): RED, (20, 100): BLUE})
    stretched = np.asarray(images.fit(wide, 100, "stretch"))
    assert centre(stretched, RED) == pytest.approx((37.5, 25, 5, 10), abs=1)
    assert centre(stretched, BLUE) == pytest.approx((5, 50, 5, 10), abs=1)


def naive(image: Image.Image, size: int, how: str) -> np.ndarray:
    """The same with one Pillow call after the other; the cut is made in whole pixels of the source."""
    width, height = image.size
    if how == "stretch":
        return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    if how == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return np.asarray(
            image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        )
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=None)
    canvas = np.zeros((size, size, 3), "uint8")
    left, top = (size - image.width) // 2, (size - image.height) // 2
    canvas[top : top + image.height, left : left + image.width] = np.asarray(image)
    return canvas


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise: a photograph's mixture of areas and edges."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype="uint8")
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("shape", [(600, 450), (450, 600), (320, 240), (500, 500)])
@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [240, 97])
def test_the_pixels_are_those_of_plain_pillow(shape, how, size):
    image = noise(*shape)
    ours = np.asarray(images.fit(image, size, how)).astype(int)
    difference = np.abs(ours - naive(image.copy(), size, how))
    # The border may differ: resize(box=...) sees the pixels beside the cut, crop().resize() does not.
    inner = difference[3:-3, 3:-3] if how == "crop" else difference
    assert inner.max() <= 1 and difference.mean() < 0.5


def test_an_image_that_already_fits_is_not_touched():
    image = noise(320, 240)
    assert np.array_equal(np.asarray(images.fit(image, 240, "crop")), np.asarray(image)[:, 40:280])
    square = noise(240, 240)
    for how in ("crop", "pad", "stretch"):
        assert np.array_equal(np.asarray(images.fit(square, 240, how)), np.asarray(square))


@pytest.mark.parametrize("shape", [(1, 1), (3, 1000), (1000, 3), (241, 240), (97, 101)])
def test_odd_shapes_give_the_asked_for_size(shape):
    for how in ("crop", "pad", "stretch"):
        assert images.fit(Image.new("RGB", shape, RED), 64, how).size == (64, 64)


def test_unknown_ways_to_fit_are_refused():
    with pytest.raises(ValueError, match="unknown fit 'squash'; known: crop, pad, stretch"):
        images.fit(Image.new("RGB", (8, 8)), 8, "squash")


@pytest.fixture
def sources(tmp_path):
    """Nine JPEG files of several shapes, each of its own colour."""
    made = []
    for number in range(9):
        made.append(tmp_path / f"image_{number}.jpg")
        shape = (160, 120) if number % 2 else (120, 200)
        Image.new("RGB", shape, (25 * number, 128, 255 - 25 * number)).save(made[-1], quality=95)
    return made


def test_rows_are_in_the_order_of_the_sources(tmp_path, sources):
    target = tmp_path / "deep" / "images.npy"
    order = [sources[number] for number in (3, 0, 8, 1, 7, 2, 6, 4, 5)]
    images.prepare(order, target, 48, "crop")
    array = np.load(target, allow_pickle=False)
    assert array.shape == (9, 48, 48, 3) and array.dtype == "uint8"
    for row, path in zip(array, order, strict=True):
        assert np.array_equal(row, images.read(path, 48, "crop"))
    assert len(np.unique(array[:, 24, 24, 0])) == 9


def test_the_number_of_threads_does_not_change_the_bytes(tmp_path, sources, monkeypatch):
    for workers in (1, 4):
        monkeypatch.setattr(parallel, "BATCH", 3 + workers)
        monkeypatch.setattr(parallel, "THREADS", workers)
        images.prepare(sources, tmp_path / f"{workers}.npy", 64, "pad")
    assert len({files.sha256(tmp_path / f"{workers}.npy") for workers in (1, 4)}) == 1


def test_no_image_at_all_is_an_empty_array(tmp_path):
    images.prepare([], tmp_path / "images.npy", 32, "crop")
    assert np.load(tmp_path / "images.npy").shape == (0, 32, 32, 3)


@pytest.mark.parametrize("fault", ["truncated", "empty", "text", "absent"])
def test_an_image_that_cannot_be_read_is_named_and_the_old_array_stays(tmp_path, sources, fault):
    target = tmp_path / "images.npy"
    images.prepare(sources, target, 32, "crop")
    before = target.read_bytes()
    noise(160, 120).save(sources[5])
    content = sources[5].read_bytes()
    if fault == "absent":
        sources[5].unlink()
    else:
        sources[5].write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"<html>"}[fault])
    with pytest.raises(UserError, match=r"image_5\.jpg cannot be read as an image: .*; fetch it again"):
        images.prepare(sources, target, 32, "crop")
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_real_images_keep_their_middle(ham10000_dir, tmp_path):
    with zipfile.ZipFile(ham10000_dir / "HAM10000_images_part_1.zip") as archive:
        name = sorted(entry for entry in archive.namelist() if entry.endswith(".jpg"))[0]
        path = tmp_path / "real.jpg"
        path.write_bytes(archive.read(name))
    with Image.open(path) as image:
        width, height = image.size
        pixels = np.asarray(image)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    expected = pixels[top : top + side, left : left + side]
    assert np.array_equal(images.read(path, side, "crop"), expected)
    half = images.read(path, side // 2, "crop").astype(float)
    means = expected[: side // 2 * 2, : side // 2 * 2].reshape(side // 2, 2, side // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - means).mean() < 2


def test_scaling_down_averages(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 3)
    source = np.random.default_rng(0).integers(0, 256, (7, 12, 12, 3), dtype="uint8")
    files.write_array(tmp_path / "images.npy", source)
    small = images.scaled_down(tmp_path / "images.npy", 4)
    means = source.reshape(7, 4, 3, 4, 3, 3).mean(axis=(2, 4))
    assert small.dtype == "uint8" and np.abs(small - means).max() <= 1
    assert np.array_equal(images.scaled_down(tmp_path / "images.npy", 12), source)


def test_the_centre_crop_is_central_and_no_larger_than_the_image():
    array = np.arange(2 * 10 * 8 * 3).reshape(2, 10, 8, 3)
    assert np.array_equal(images.centre_crop(array, 4), array[:, 3:7, 2:6])
    assert np.array_equal(images.centre_crop(array, 8), array[:, 1:9])
    assert np.array_equal(images.centre_crop(array[:, :8], 3), array[:, 2:5, 2:5])
    with pytest.raises(ValueError, match="cannot crop 9 pixels from images of 10 x 8"):
        images.centre_crop(array, 9)


def test_networks_get_the_central_part_unchanged_or_scaled():
    photographs = np.stack([np.asarray(noise(64, 64, seed)) for seed in range(3)])
    np.testing.assert_array_equal(images.network_inputs(photographs, 48, 48), photographs[:, 8:56, 8:56])
    for size in (32, 80):  # smaller, with smoothing, and larger
        found = images.network_inputs(photographs, 48, size)
        assert found.dtype == "uint8" and found.shape == (3, size, size, 3)
        for image, photograph in zip(found, photographs, strict=True):
            cropped = Image.fromarray(photograph[8:56, 8:56])
            np.testing.assert_array_equal(image, cropped.resize((size, size), Image.Resampling.BICUBIC))
    halves = images.network_inputs(photographs, 64, 32).astype(float)
    means = photographs.reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(halves - means).mean() < 2
    assert images.network_inputs(photographs[:0], 48, 32).shape == (0, 32, 32, 3)
    with pytest.raises(ValueError, match="cannot crop 65 pixels from images of 64 x 64"):
        images.network_inputs(photographs, 65, 32)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """600 images of 96 pixels are 16 MB of array, 6,000 are 166 MB; one chunk of 256 is 7 MB."""
    noise(128, 96).save(tmp_path / "image.jpg")
    code = """
        import resource, sys
        from pathlib import Path
        from skinlesions.data import images
        folder, count = Path(sys.argv[1]), int(sys.argv[2])
        images.prepare([folder / "image.jpg"] * count, folder / f"{count}.npy", 96, "crop")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for count in (600, 6000):
        command = [sys.executable, "-c", textwrap.dedent(code), tmp_path, str(count)]
        finished = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(finished.stdout))
    assert peaks[1] - peaks[0] < 40_000  # kilobytes; 150,000 if all images were held
