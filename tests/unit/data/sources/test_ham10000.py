import shutil
from pathlib import Path

import pandas as pd
import pytest

from skinlesions.core.errors import UserError
from skinlesions.data.sources import ham10000
from skinlesions.data.sources.checks import check_image, check_names
from tests.helpers.raw_files import HEADER, IMAGES, ROWS, dataverse_folder, jpeg, parts, table, write_files, write_zip


def contents(folder: Path) -> dict[str, bytes]:
    return {image.image_id: content for image, content in ham10000.read_images(ham10000.read(folder).images)}


def kaggle_folder(folder: Path, *names: str) -> Path:
    for name, files in zip(names, parts(), strict=True):
        write_files(folder / name, files)
    (folder / "HAM10000_metadata.csv").write_text(table())
    (folder / "hmnist_28_28_L.csv").write_text("pixel0000\n")
    return folder


def test_zip_files_of_dataverse(tmp_path):
    assert contents(dataverse_folder(tmp_path)) == IMAGES


def test_zip_files_win_over_what_was_unpacked_from_them(tmp_path):
    dataverse_folder(tmp_path)
    write_files(tmp_path / "HAM10000_images_part_1", {"ISIC_1.jpg": b"other"})
    write_files(tmp_path, {"ISIC_2.jpg": b"other"})
    assert contents(tmp_path) == IMAGES


def test_one_part_zipped_and_one_unpacked(tmp_path):
    first, second = parts()
    write_zip(tmp_path / "ham10000_images_part_1.ZIP", first)
    write_files(tmp_path / "HAM10000_images_part_2", second)
    (tmp_path / "HAM10000_metadata").write_text(table())
    assert contents(tmp_path) == IMAGES


@pytest.mark.parametrize(
    "names",
    [
        ("HAM10000_images_part_1", "HAM10000_images_part_2"),
        ("ham10000_images_part_1", "HAM10000_Images_Part_2"),
        ("HAM10000_images_part_1/HAM10000_images_part_1", "HAM10000_images_part_2/HAM10000_images_part_2"),
        ("archive/HAM10000_images_part_1", "archive/HAM10000_images_part_2"),
        ("HAM10000_images_part_1/images", "HAM10000_images_part_2/images"),
    ],
)
def test_folders_of_kaggle(tmp_path, names):
    assert contents(kaggle_folder(tmp_path, *names)) == IMAGES


def test_the_fuller_of_two_spellings_is_taken(tmp_path):
    kaggle_folder(tmp_path, "HAM10000_images_part_1", "HAM10000_images_part_2")
    write_files(tmp_path / "ham10000_images_part_1", {"ISIC_1.jpg": b"other"})
    if len(list(tmp_path.glob("*part_1"))) < 2:
        pytest.skip("this file system does not tell upper from lower case")
    assert contents(tmp_path) == IMAGES


@pytest.mark.parametrize("images", [".", "images"])
def test_a_flat_folder(tmp_path, images):
    write_files(tmp_path / images, {f"{image_id}.JPG": content for image_id, content in IMAGES.items()})
    write_files(tmp_path, {"HAM10000_metadata.tab": table(separator="\t", quote='"').encode(), "mask.png": b""})
    assert contents(tmp_path) == IMAGES


def test_a_folder_without_the_files_says_what_it_needs_and_what_it_found(tmp_path):
    with pytest.raises(UserError, match=r"no HAM10000 metadata.*HAM10000_images_part_1\.zip.*Found: nothing"):
        ham10000.find(tmp_path)
    (tmp_path / "dataverse_files.zip").touch()
    with pytest.raises(UserError, match=r"Found: dataverse_files\.zip"):
        ham10000.find(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_text(table())
    with pytest.raises(UserError, match=r"no images beside HAM10000_metadata\.csv"):
        ham10000.find(tmp_path)
    write_zip(tmp_path / "HAM10000_images_part_2.zip", {})
    with pytest.raises(UserError, match="part 1 of the images is missing"):
        ham10000.find(tmp_path)
    with pytest.raises(UserError, match=r"absent is not a folder; set data\.folder or HAM10000_DIR"):
        ham10000.find(tmp_path / "absent")


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_metadata_in_every_form_read_the_same(tmp_path, quote, separator, start, line_end):
    plain, other = tmp_path / "plain.csv", tmp_path / "other.tab"
    plain.write_text(table())
    rows, header = [[*row, "rosendahl"] for row in ROWS], [*HEADER, "dataset"]
    text = start + table(rows, header, separator, quote)
    other.write_bytes(text.replace("\n", line_end).encode())
    read = ham10000.read_metadata(other)
    assert set(read.pop("dataset")) == {"rosendahl"}
    pd.testing.assert_frame_equal(ham10000.read_metadata(plain), read)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; take the metadata file as published"),
        (b"lesion_id,image_id\n", "column 'dx' is missing"),
        (table().encode() + b"HAM_5,ISIC_5,nv\n", "row 6: 3 values instead of 7; restore the row as published"),
        (table().encode() + b'HAM_5,"ISIC_5', "row 6 is not a row of a table"),
        (b"lesion_id,\xff\n", "not UTF-8 text"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "HAM10000_metadata.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"HAM10000_metadata\.csv: (.|\n)*{message}"):
        ham10000.read_metadata(path)


def archive_folder(folder: Path) -> Path:
    """A folder whose second part is to be replaced by a hostile one."""
    return dataverse_folder(folder) / "HAM10000_images_part_2.zip"


def test_a_zip_file_with_a_member_that_is_hostile_is_refused(tmp_path):
    """What makes one hostile has its tests beside those of photographs."""
    write_zip(archive_folder(tmp_path), {"../ISIC_3.jpg": jpeg(3), "ISIC_4.jpg": jpeg(4)})
    message = r"part_2\.zip: 1 fault\n  member .* has an unsafe path; download the file again"
    with pytest.raises(UserError, match=message):
        contents(tmp_path)


def test_an_image_that_is_there_twice_is_refused(tmp_path):
    path = archive_folder(tmp_path)
    write_zip(path, {"a/ISIC_3.jpg": jpeg(3), "b/ISIC_3.jpg": jpeg(4), "ISIC_1.jpg": jpeg(1)})
    with pytest.raises(UserError) as caught:
        contents(tmp_path)
    message = str(caught.value)
    assert message.startswith("images: 2 faults")
    assert "part_2.zip, member b/ISIC_3.jpg: image 'ISIC_3' is also" in message
    assert "part_2.zip, member ISIC_1.jpg: image 'ISIC_1' is also" in message


def test_other_members_are_ignored(tmp_path):
    _, second = parts()
    others = {"__MACOSX/._ISIC_3.jpg": b"", "._ISIC_4.jpg": b"", "readme.txt": b"", "folder.jpg/": b"", "mask.png": b""}
    write_zip(archive_folder(tmp_path), {f"images/{name}": content for name, content in second.items()} | others)
    assert contents(tmp_path) == IMAGES


def test_a_name_that_is_no_identifier_is_refused(tmp_path):
    write_zip(archive_folder(tmp_path), {"ISIC_3 (copy).jpg": jpeg(3)})
    with pytest.raises(UserError, match=r"ISIC_3 \(copy\)\.jpg: not the name of an image; rename it"):
        contents(tmp_path)


@pytest.mark.parametrize("damage", ["text", "cut", "encrypted", "content"])
def test_a_damaged_zip_file_is_refused(tmp_path, damage):
    path = archive_folder(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "text":
        content = bytearray(b"<html>please log in</html>")
    elif damage == "cut":
        del content[-100:]
    elif damage == "encrypted":
        content[content.index(b"PK\x01\x02") + 8] |= 1
    else:
        content[500] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"part_2\.zip(.|\n)*download (it|the file) again"):
        contents(tmp_path)


def test_reading_holds_one_image_at_a_time(tmp_path):
    images = ham10000.list_images(ham10000.find(dataverse_folder(tmp_path)))
    reader = ham10000.read_images(images)
    assert next(reader)[1] == IMAGES["ISIC_1"]
    shutil.rmtree(tmp_path)  # what follows was not read yet: part 2 cannot be opened any more
    with pytest.raises(UserError, match="cannot be read"):
        list(reader)


def test_the_real_metadata_have_the_published_numbers(ham10000_dir):
    layout = ham10000.find(ham10000_dir)
    metadata = ham10000.read_metadata(layout.metadata)
    assert len(metadata) == 10_015
    lesions = metadata.drop_duplicates("lesion_id")
    assert len(lesions) == 7_470
    assert lesions["dx"].value_counts().to_dict() == {
        "nv": 5403,
        "bkl": 727,
        "mel": 614,
        "bcc": 327,
        "akiec": 228,
        "vasc": 98,
        "df": 73,
    }
    assert metadata.groupby("lesion_id")["dx"].nunique().max() == 1
    assert metadata["age"].isna().sum() == 57
    assert (metadata["sex"] == "unknown").sum() == 57
    assert (metadata["localization"] == "unknown").sum() == 234


def test_the_real_images_match_their_metadata_and_decode(ham10000_dir):
    layout = ham10000.find(ham10000_dir)
    images = ham10000.list_images(layout)
    names = {image_id: image.name for image_id, image in images.items()}
    check_names(names, ham10000.read_metadata(layout.metadata), "metadata")
    some = dict(list(images.items())[::100])
    sizes = {check_image(content) for _, content in ham10000.read_images(some)}
    assert len(some) == 101
    assert sizes <= {(600, 450), (320, 240)}
