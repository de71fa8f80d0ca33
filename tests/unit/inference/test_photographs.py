import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from skinlesions.core.errors import UserError
from skinlesions.data import images
from skinlesions.data.sources.checks import MAXIMUM_IMAGE_BYTES
from skinlesions.inference import photographs
from tests.helpers.raw_files import jpeg, write_files, write_zip

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")
SMOOTH = Image.fromarray(PIXELS).resize((60, 40), box=(0, 0, 6, 4))  # what a JPEG file can hold


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def names(found: list) -> list[str]:
    return [image.image_id for image in found]


def read(*inputs: Path) -> tuple[dict[str, bytes], list[str]]:
    """The content of every image that can be read, and all faults."""
    found, faults = photographs.find(inputs)
    read = list(photographs.contents(found))
    faults += [f"{image.name}: {content}" for image, content in read if isinstance(content, ValueError)]
    return {image.image_id: content for image, content in read if isinstance(content, bytes)}, faults


# --- finding ---


def test_folders_and_zip_files_stand_for_their_images_by_name_and_files_for_themselves(tmp_path):
    write_files(tmp_path / "folder", {"b.jpg": jpeg(1), "A.JPEG": jpeg(2), "notes.txt": b"", ".hidden.jpg": b""})
    write_files(tmp_path / "folder" / "c", {"a.png": b"", "d.tif": b""})
    write_files(tmp_path / "folder" / ".git", {"e.jpg": b""})
    members = {
        "z/2.jpg": jpeg(3),
        "1.webp": b"",
        "z/10.bmp": b"",
        "__MACOSX/._1.jpg": b"",
        "z/.x.jpg": b"",
        "r.md": b"",
    }
    write_zip(tmp_path / "Archive.ZIP", members)
    write_files(tmp_path, {"upload": jpeg(4)})
    found, faults = photographs.find([tmp_path / "Archive.ZIP", tmp_path / "upload", tmp_path / "folder"])
    assert names(found) == ["1", "10", "2", "upload", "A", "b", "a", "d"]
    assert faults == []


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    write_files(tmp_path, {"a.jpg": b""})
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    assert names(photographs.find([tmp_path])[0]) == ["a"]


def test_a_path_that_is_not_there_stops_everything(tmp_path):
    write_files(tmp_path, {"a.jpg": b""})
    with pytest.raises(UserError, match=r"inputs: 1 fault\n  .*gone\.jpg does not exist; correct the path"):
        photographs.find([tmp_path / "a.jpg", tmp_path / "gone.jpg"])


def test_two_images_of_one_name_stop_everything(tmp_path):
    write_files(tmp_path, {"a.jpg": b"", "a.png": b"", "b.jpg": b""})
    write_zip(tmp_path / "b.zip", {"sub/b.tiff": b""})
    with pytest.raises(UserError) as caught:
        photographs.find([tmp_path, tmp_path / "b.zip"])
    message = str(caught.value)
    assert message.startswith("images: 2 faults")
    assert "a.png: image 'a' is also" in message and "b.zip, member sub/b.tiff: image 'b' is also" in message
    with pytest.raises(UserError, match="image 'b' is also"):
        photographs.find([tmp_path / "b.jpg", tmp_path / "b.jpg"])


def test_a_folder_or_zip_file_without_images_is_named(tmp_path):
    write_files(tmp_path / "folder", {"notes.txt": b""})
    write_zip(tmp_path / "empty.zip", {})
    found, faults = photographs.find([tmp_path / "folder", tmp_path / "empty.zip"])
    assert found == [] and len(faults) == 2
    assert "folder: no image in it; images end in .bmp" in faults[0] and "empty.zip: no image in it" in faults[1]


def test_a_name_that_a_table_or_terminal_cannot_hold_is_named_escaped(tmp_path):
    write_zip(tmp_path / "a.zip", {"new\nline.jpg": jpeg(1), "\x1b[2J.jpg": jpeg(2), "größe (1).jpg": jpeg(3)})
    contents, faults = read(tmp_path / "a.zip")
    assert list(contents) == ["größe (1)"]
    assert len(faults) == 2 and all(fault.isprintable() for fault in faults)


# --- hostile zip files ---


@pytest.mark.parametrize("name", ["../x.jpg", "/x.jpg", "a/../../x.jpg", "C:/x.jpg", "a\\..\\x.jpg", "../x.txt"])
def test_an_unsafe_path_is_named_and_the_others_are_read(tmp_path, name):
    write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), name: jpeg(2), "3.jpg": jpeg(3)})
    contents, (fault,) = read(tmp_path / "a.zip")
    assert contents == {"1": jpeg(1), "3": jpeg(3)}
    assert "a.zip, member " in fault and fault.endswith(": has an unsafe path")


def test_a_symbolic_link_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("x.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("1.jpg", jpeg(1))
    contents, (fault,) = read(tmp_path / "a.zip")
    assert list(contents) == ["1"] and fault.endswith("member 'x.jpg': is a symbolic link")


def test_an_encrypted_member_is_named(tmp_path):
    path = tmp_path / "a.zip"
    write_zip(path, {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # of 2.jpg, in the directory
    content[entry + 8] |= 1
    path.write_bytes(content)
    contents, (fault,) = read(path)
    assert list(contents) == ["1"] and fault.endswith("member '2.jpg': is encrypted")


def test_a_member_that_unpacks_to_too_much_is_named_unread(tmp_path):
    write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "2.jpg": bytes(MAXIMUM_IMAGE_BYTES + 1)})
    contents, (fault,) = read(tmp_path / "a.zip")
    assert list(contents) == ["1"] and "member '2.jpg': unpacks to 50,000,001 bytes; an image has at most" in fault


def test_a_member_that_lies_about_its_size_is_not_unpacked_further(tmp_path):
    path = tmp_path / "a.zip"
    write_zip(path, {"1.jpg": bytes(10_000_000), "2.jpg": jpeg(2)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 10_000_000), struct.pack("<L", 1000)))
    contents, (fault,) = read(path)
    assert list(contents) == ["2"] and "a.zip, member 1.jpg: cannot be read (Bad CRC-32" in fault


def test_what_is_no_zip_file_or_a_part_of_one_is_named(tmp_path):
    write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1)})
    write_files(tmp_path, {"cut.zip": (tmp_path / "a.zip").read_bytes()[:-30], "b.zip": jpeg(2)})
    contents, faults = read(tmp_path / "cut.zip", tmp_path / "b.zip", tmp_path / "a.zip")
    assert list(contents) == ["1"]
    assert len(faults) == 2 and all("not a whole zip file" in fault for fault in faults)


def test_damaged_zip_files_never_raise(tmp_path):
    write_zip(tmp_path / "a.zip", {f"{number}.jpg": jpeg(number, 20, 20) for number in range(3)})
    whole = np.frombuffer((tmp_path / "a.zip").read_bytes(), "uint8")
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = whole.copy()
        tail = generator.integers(2)  # half of the damage goes to the directory at the end
        places = generator.integers(len(whole) - 250 if tail else 0, len(whole), size=3)
        damaged[places] = generator.integers(0, 256, size=3)
        (tmp_path / "damaged.zip").write_bytes(damaged.tobytes())
        try:
            contents, faults = read(tmp_path / "damaged.zip")
        except UserError as error:
            assert "is also" in str(error)  # the damage gave two images one name
        else:
            assert contents or faults


# --- files ---


def test_what_is_no_file_or_too_large_is_named_unread(tmp_path):
    write_files(tmp_path, {"a.jpg": jpeg(1)})
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "large.jpg").open("wb") as stream:
        stream.truncate(MAXIMUM_IMAGE_BYTES + 1)
    contents, faults = read(tmp_path / "pipe.jpg", tmp_path / "large.jpg", tmp_path / "a.jpg")
    assert contents == {"a": jpeg(1)}
    assert faults[0].endswith("pipe.jpg: is not a file") and "large.jpg: has 50,000,001 bytes" in faults[1]


def test_a_file_that_goes_away_is_named(tmp_path):
    write_files(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    found, _ = photographs.find([tmp_path])
    (tmp_path / "a.jpg").unlink()
    (_, first), (_, second) = photographs.contents(found)
    assert "cannot be read ([Errno 2] No such file" in str(first) and second == jpeg(2)


# --- decoding ---


def test_a_plain_photograph_is_decoded_as_those_in_training(tmp_path):
    content = jpeg(1, 75, 50)
    write_files(tmp_path, {"a.jpg": content})
    prepared = images.fit(photographs.decode(content), 32, "crop")
    assert (np.asarray(prepared) == images.read(tmp_path / "a.jpg", 32, "crop")).all()


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PNG", "TIFF", "WEBP"])
def test_formats_without_loss_give_the_pixels(kind):
    few_colours = Image.fromarray(PIXELS // 64 * 64)  # what a GIF can hold
    content = encoded(few_colours, kind, **({"lossless": True} if kind == "WEBP" else {}))
    decoded = photographs.decode(content)
    assert decoded.mode == "RGB" and (np.asarray(decoded) == np.asarray(few_colours)).all()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG")],
)
def test_every_mode_becomes_rgb(mode, kind):
    image = SMOOTH.convert(mode)
    decoded = photographs.decode(encoded(image, kind))
    assert decoded.mode == "RGB" and decoded.size == (60, 40)
    difference = np.asarray(decoded, int) - np.asarray(image.convert("RGB"), int)
    assert np.abs(difference).mean() <= (5 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_black_whatever_lies_below(mode):
    opacity = np.tile(np.array([0, 128, 255], "uint8").repeat(20), (40, 1))
    grey = Image.fromarray(PIXELS[..., 0])
    image = Image.merge("LA", (grey, Image.fromarray(opacity))).convert(mode)
    decoded = np.asarray(photographs.decode(encoded(image, "PNG")))
    assert not decoded[:, :20].any()
    np.testing.assert_allclose(decoded[:, 20:40, 0], PIXELS[:, 20:40, 0] * (128 / 255), atol=1)
    assert (decoded[:, 40:, 0] == PIXELS[:, 40:, 0]).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_black(kind):
    image = Image.fromarray(np.arange(2, dtype="uint8").repeat(30)[None].repeat(40, axis=0), "P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    decoded = photographs.decode(encoded(image, kind, transparency=0))
    assert decoded.getpixel((5, 5)) == (0, 0, 0) and decoded.getpixel((55, 5)) == (10, 20, 30)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_become_the_upper_eight(kind):
    values = np.arange(0, 65536, 16, dtype="uint16").reshape(64, 64)
    decoded = np.asarray(photographs.decode(encoded(Image.fromarray(values), kind)))
    assert (decoded == (values // 256)[..., None]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_put_upright(kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = encoded(SMOOTH, kind, exif=exif)
    decoded = photographs.decode(content)
    with Image.open(io.BytesIO(content)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert decoded.size == ((60, 40) if orientation < 5 else (40, 60))
    assert (np.asarray(decoded) == np.asarray(expected)).all()


def test_notes_of_a_camera_that_make_no_sense_are_passed_over():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 77
    content = encoded(Image.fromarray(PIXELS), "JPEG", exif=exif)
    assert photographs.decode(content).size == (60, 40)
    start = content.index(b"Exif\0\0") + 6
    broken = content[:start] + b"\xff" * 12 + content[start + 12 :]
    assert photographs.decode(broken).size == (60, 40)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert photographs.decode(content).getpixel((5, 5)) == (255, 0, 0)


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
        photographs.decode(content)


@pytest.mark.parametrize("kind", photographs.FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_decode_or_are_refused_and_nothing_else(kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    whole = np.frombuffer(
        encoded(Image.fromarray(PIXELS[:16, :24]), kind, **({} if kind == "GIF" else {"exif": exif})), "uint8"
    )
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = whole.copy()
        places = generator.integers(0, min(len(whole), generator.choice([60, 10**6])), size=4)
        damaged[places] = generator.integers(0, 256, size=4)
        try:
            assert photographs.decode(damaged.tobytes()).mode == "RGB"
        except ValueError as error:
            assert str(error).startswith(("does not decode", "claims", "is not an image", "has 32 bits"))


def test_the_published_zip_file(ham10000_dir):
    contents, faults = read(ham10000_dir / "ISIC2018_Task3_Validation_Input.zip")
    assert len(contents) == 193 and faults == [] and list(contents) == sorted(contents)
    assert photographs.decode(contents["ISIC_0034321"]).size == (320, 240)
