import os
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from skinlesions.core.errors import UserError
from skinlesions.data.decoding import decode
from skinlesions.data.sources import archives
from skinlesions.data.sources.archives import MAXIMUM_IMAGE_BYTES
from skinlesions.inference import photographs
from tests.helpers.raw_files import jpeg, write_files, write_zip


def names(found: list) -> list[str]:
    return [image.image_id for image in found]


def read(*inputs: Path) -> tuple[dict[str, bytes], list[str]]:
    """The content of every image that can be read, and all faults."""
    found, faults = photographs.find(inputs)
    read = list(archives.contents(found))
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


def test_what_may_be_meant_and_is_not_read_is_named_beside_good_images(tmp_path):
    write_files(tmp_path / "folder", {"a.jpg": jpeg(1), "b.HEIC": b"", "c.dng": b"", "d.zip": b"", ".e.heic": b""})
    os.mkfifo(tmp_path / "folder" / "pipe.jpg")
    loop = tmp_path / "folder" / "loop.png"
    loop.symlink_to(loop)
    (tmp_path / "folder" / "other").symlink_to(tmp_path)
    write_zip(tmp_path / "z.zip", {"1.jpg": jpeg(2), "x/2.heic": b"", "3.zip": b"", "notes.txt": b""})
    found, faults = photographs.find([tmp_path / "folder", tmp_path / "z.zip"])
    assert names(found) == ["a", "1"]
    assert len(faults) == 8
    for name in ("b.HEIC", "c.dng", "d.zip", "pipe.jpg", "loop.png", "other", "2.heic", "3.zip"):
        assert sum(name in fault for fault in faults) == 1, name


def test_a_path_that_is_not_there_stops_everything(tmp_path):
    write_files(tmp_path, {"a.jpg": b""})
    with pytest.raises(UserError, match=r"inputs: 1 fault\n  .*gone\.jpg does not exist; correct the path"):
        photographs.find([tmp_path / "a.jpg", tmp_path / "gone.jpg"])
    with pytest.raises(UserError, match="is an address; download it"):
        photographs.find([Path("https://example.org/lesion.jpg")])


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
    assert "a.zip, member " in fault and fault.endswith(" has an unsafe path")


def test_a_symbolic_link_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("x.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("1.jpg", jpeg(1))
    contents, (fault,) = read(tmp_path / "a.zip")
    assert list(contents) == ["1"] and fault.endswith("member 'x.jpg' is a symbolic link")


def test_an_encrypted_member_is_named(tmp_path):
    path = tmp_path / "a.zip"
    write_zip(path, {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # of 2.jpg, in the directory
    content[entry + 8] |= 1
    path.write_bytes(content)
    contents, (fault,) = read(path)
    assert list(contents) == ["1"] and fault.endswith("member '2.jpg' is encrypted")


def test_a_member_that_unpacks_to_too_much_is_named_unread(tmp_path):
    write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "2.jpg": bytes(MAXIMUM_IMAGE_BYTES + 1)})
    contents, (fault,) = read(tmp_path / "a.zip")
    assert list(contents) == ["1"] and "member '2.jpg' unpacks to 50,000,001 bytes; an image has at most" in fault


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
    (_, first), (_, second) = archives.contents(found)
    assert "cannot be read ([Errno 2] No such file" in str(first) and second == jpeg(2)


def test_the_published_zip_file(ham10000_dir):
    contents, faults = read(ham10000_dir / "ISIC2018_Task3_Validation_Input.zip")
    assert len(contents) == 193 and faults == [] and list(contents) == sorted(contents)
    assert decode(contents["ISIC_0034321"]).size == (320, 240)
