"""From the bytes of an image file to RGB pixels: formats, colour modes, orientations, faults."""

import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from skinlesions.data import images
from skinlesions.data.decoding import FORMATS, decode
from skinlesions.data.sources.checks import check_image
from tests.helpers.orientations import ORIENTATIONS, encoded, noted
from tests.helpers.raw_files import jpeg, write_files

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")
SMOOTH = Image.fromarray(PIXELS).resize((60, 40), box=(0, 0, 6, 4))  # what a JPEG file can hold


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PNG", "TIFF", "WEBP"])
def test_formats_without_loss_give_the_pixels(kind):
    few_colours = Image.fromarray(PIXELS // 64 * 64)  # what a GIF can hold
    content = encoded(few_colours, kind, **({"lossless": True} if kind == "WEBP" else {}))
    decoded = decode(content)
    assert decoded.mode == "RGB" and (np.asarray(decoded) == np.asarray(few_colours)).all()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG")],
)
def test_every_mode_becomes_rgb(mode, kind):
    image = SMOOTH.convert(mode)
    decoded = decode(encoded(image, kind))
    assert decoded.mode == "RGB" and decoded.size == (60, 40)
    difference = np.asarray(decoded, int) - np.asarray(image.convert("RGB"), int)
    assert np.abs(difference).mean() <= (5 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_black_whatever_lies_below(mode):
    opacity = np.tile(np.array([0, 128, 255], "uint8").repeat(20), (40, 1))
    grey = Image.fromarray(PIXELS[..., 0])
    image = Image.merge("LA", (grey, Image.fromarray(opacity))).convert(mode)
    decoded = np.asarray(decode(encoded(image, "PNG")))
    assert not decoded[:, :20].any()
    np.testing.assert_allclose(decoded[:, 20:40, 0], PIXELS[:, 20:40, 0] * (128 / 255), atol=1)
    assert (decoded[:, 40:, 0] == PIXELS[:, 40:, 0]).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_black(kind):
    image = Image.fromarray(np.arange(2, dtype="uint8").repeat(30)[None].repeat(40, axis=0), "P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    decoded = decode(encoded(image, kind, transparency=0))
    assert decoded.getpixel((5, 5)) == (0, 0, 0) and decoded.getpixel((55, 5)) == (10, 20, 30)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_become_the_upper_eight(kind):
    values = np.arange(0, 65536, 16, dtype="uint16").reshape(64, 64)
    decoded = np.asarray(decode(encoded(Image.fromarray(values), kind)))
    assert (decoded == (values // 256)[..., None]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_photographs_are_put_upright(kind, orientation):
    content = encoded(SMOOTH, kind, exif=noted(orientation), **({"lossless": True} if kind == "WEBP" else {}))
    plain = encoded(SMOOTH, kind, **({"lossless": True} if kind == "WEBP" else {}))
    expected = ORIENTATIONS[orientation](np.asarray(decode(plain)))
    assert (np.asarray(decode(content)) == expected).all()


@pytest.mark.parametrize("mode", ["P", "I;16"])
def test_other_modes_are_put_upright_too(mode):
    image = SMOOTH.convert("P") if mode == "P" else Image.fromarray(PIXELS[..., 0].astype("uint16") * 256)
    content = encoded(image, "PNG", exif=noted(6))
    assert (np.asarray(decode(content)) == ORIENTATIONS[6](np.asarray(decode(encoded(image, "PNG"))))).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_raw_data_and_preparation_put_photographs_upright(orientation, tmp_path):
    """The prepared pixels are those of the image that a program has turned itself; so is the size in the manifest."""
    lying = Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 120, 3), "uint8"))
    upright = Image.fromarray(ORIENTATIONS[orientation](np.asarray(lying)))
    write_files(tmp_path, {"a.jpg": encoded(lying, "PNG", exif=noted(orientation)), "b.jpg": encoded(upright, "PNG")})
    images.prepare([tmp_path / "a.jpg", tmp_path / "b.jpg"], tmp_path / "images.npy", 64, "crop")
    first, second = np.load(tmp_path / "images.npy")
    assert (first == second).all()
    assert check_image(encoded(lying, "JPEG", exif=noted(orientation))) == upright.size


def test_notes_of_a_camera_that_make_no_sense_are_passed_over():
    content = encoded(Image.fromarray(PIXELS), "JPEG", exif=noted(77))
    assert decode(content).size == (60, 40)
    start = content.index(b"Exif\0\0") + 6
    broken = content[:start] + b"\xff" * 12 + content[start + 12 :]
    assert decode(broken).size == (60, 40)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content).getpixel((5, 5)) == (255, 0, 0)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG file of a few bytes with any size in its header."""
    content = bytearray(encoded(Image.new("RGB", (8, 8)), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


HOSTILE = {
    "nothing": (b"", "is not an image in a known format"),
    "text": (b"not an image", r"is not an image in a known format \(BMP, GIF, JPEG"),
    "another format": (encoded(Image.fromarray(PIXELS), "PPM"), "is not an image in a known format"),
    "cut JPEG": (jpeg(1)[:2000], "does not decode"),
    "cut PNG": (encoded(Image.fromarray(PIXELS), "PNG")[:2000], "does not decode"),
    "cut TIFF": (encoded(Image.fromarray(PIXELS), "TIFF")[:-2000], "does not decode"),
    "large": (png_that_claims(8_000, 8_000), "claims 8000 x 8000 pixels, more than 50,000,000"),
    "huge": (png_that_claims(100_000, 100_000), "claims more than 50,000,000 pixels"),
    "float": (encoded(Image.new("F", (8, 8)), "TIFF"), "has 32 bits per pixel"),
    "integer": (encoded(Image.new("I", (8, 8)), "TIFF"), "has 32 bits per pixel"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_hostile_files_are_refused_with_the_reason(content, message):
    with pytest.raises(ValueError, match=message):
        decode(content)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_decode_or_are_refused_and_nothing_else(kind):
    exif = noted(6)
    whole = np.frombuffer(
        encoded(Image.fromarray(PIXELS[:16, :24]), kind, **({} if kind == "GIF" else {"exif": exif})), "uint8"
    )
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = whole.copy()
        places = generator.integers(0, min(len(whole), generator.choice([60, 10**6])), size=4)
        damaged[places] = generator.integers(0, 256, size=4)
        try:
            assert decode(damaged.tobytes()).mode == "RGB"
        except ValueError as error:
            assert str(error).startswith(("does not decode", "claims", "is not an image", "has 32 bits"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_real_images_give_the_pixels_of_plain_pillow(ham10000_dir):
    with zipfile.ZipFile(ham10000_dir / "HAM10000_images_part_1.zip") as archive:
        for name in sorted(entry for entry in archive.namelist() if entry.endswith(".jpg"))[::500]:
            with archive.open(name) as stream, Image.open(stream) as image:
                assert (np.asarray(decode(archive.read(name))) == np.asarray(image)).all()
