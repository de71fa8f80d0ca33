"""The external set: where its files are found, what is refused, and what is written."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest

from skinlesions.core import files, paths
from skinlesions.core.config import External
from skinlesions.core.errors import UserError
from skinlesions.data import isic_csv
from skinlesions.data.sources import dataverse, external_set
from skinlesions.data.sources.dataverse import PublishedFile
from tests.helpers.dataverse_server import DOI, Dataverse, serving
from tests.helpers.raw_files import HEADER, IMAGES, ROWS, jpeg, write_files, write_zip

OUTSIDE = {f"ISIC_{number}": jpeg(number) for number in (21, 22, 23)}
TRUTH = (
    "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    "ISIC_23,0.0,0.0,0.0,0.0,0.0,0.0,1.0\n"
    "ISIC_21,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_22,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
)
WANTED = External(images="outside.zip", ground_truth="truth.csv")


@pytest.fixture
def raw(tmp_path) -> Path:
    """The metadata and the manifest of four images that the models were trained on."""
    folder = tmp_path / "raw"
    files.write_csv(folder / "metadata.csv", pd.DataFrame(ROWS, columns=HEADER))
    hashes = {image_id: hashlib.sha256(content).hexdigest() for image_id, content in IMAGES.items()}
    files.write_csv(folder / "manifest.csv", pd.DataFrame(hashes.items(), columns=["image_id", "sha256"]))
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with an external set as a zip file and its table."""
    folder = tmp_path / "ham10000"
    write_zip(folder / "outside.zip", {f"ISIC2018/{name}.jpg": content for name, content in OUTSIDE.items()})
    (folder / "truth.csv").write_text(TRUTH)
    return folder


def write(folder: Path, raw: Path, images: str = "outside.zip") -> Path:
    """What the stage does with the files in `folder`; the folder that it wrote."""
    target, truth = raw.parent / "external_raw", folder / "truth.csv"
    external_set.write(
        folder / images,
        truth,
        isic_csv.read_ground_truth(truth),
        "local files",
        target=target,
        partial=raw.parent / "partial",
        raw=raw,
    )
    return target


def rewrite(folder: Path, images: dict[str, bytes], truth: str = TRUTH) -> None:
    write_zip(folder / "outside.zip", {f"{name}.jpg": content for name, content in images.items()})
    (folder / "truth.csv").write_text(truth)


def refused(folder: Path, raw: Path, match: str) -> None:
    with pytest.raises(UserError, match=match):
        write(folder, raw)
    assert not (raw.parent / "external_raw").exists()


# --- where it is ------------------------------------------------------------------------------------------------


def test_nothing_is_looked_for_where_nothing_is_wanted(tmp_path):
    assert external_set.locate(None, tmp_path / "absent") is None


def test_names_are_looked_up_in_the_folder_of_the_data_then_in_the_repository_and_may_be_paths(folder, monkeypatch):
    found = external_set.Location(folder / "outside.zip", folder / "truth.csv")
    assert external_set.locate(WANTED, folder) == found
    absolute = External(images=str(folder / "outside.zip"), ground_truth=str(folder / "truth.csv"))
    assert external_set.locate(absolute, None) == found
    assert external_set.locate(absolute, folder / "elsewhere") == found
    monkeypatch.setattr(paths, "ROOT", folder)
    assert external_set.locate(WANTED, None) == found


def test_the_official_test_set_is_known_without_a_folder(folder):
    images, truth = dataverse.TEST_FILES
    official = External(images=images.name, ground_truth=truth.name)
    assert external_set.locate(official, None) == external_set.Location(images, truth)
    (folder / truth.name).touch()
    assert external_set.locate(official, folder) == external_set.Location(images, folder / truth.name)


def test_a_missing_file_is_named_with_what_is_there_and_how_to_switch_it_off(folder):
    wrong = External(images="outside.zip", ground_truth="truths.csv")
    with pytest.raises(UserError) as caught:
        external_set.locate(wrong, folder)
    message = str(caught.value)
    assert message.startswith("data.external.ground_truth: 'truths.csv' is not there (looked for ")
    for part in ("outside.zip, truth.csv", "ISIC2018_Task3_Test_Images.zip", "data.external to null"):
        assert part in message
    with pytest.raises(UserError, match=r"neither data\.folder nor HAM10000_DIR names a folder"):
        external_set.locate(wrong, None)


# --- what is written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "folder", "nested folder"])
def test_the_set_is_written_as_promised(folder, raw, form):
    name = "outside.zip"
    if form != "zip":
        name = "images"
        inner = folder / name / "inner" if form == "nested folder" else folder / name
        write_files(inner, {f"{image}.jpg": content for image, content in OUTSIDE.items()})
        write_files(inner, {"ATTRIBUTION.txt": b"CC BY-NC"})
    target = write(folder, raw, name)
    assert sorted(path.name for path in target.iterdir()) == ["images", "manifest.csv", "metadata.csv", "source.json"]
    assert {path.stem: path.read_bytes() for path in (target / "images").iterdir()} == OUTSIDE
    assert (target / "metadata.csv").read_text().splitlines() == [
        "image_id,lesion_id,dx",
        "ISIC_21,ISIC_21,mel",
        "ISIC_22,ISIC_22,nv",
        "ISIC_23,ISIC_23,vasc",
    ]
    source = files.read_json(target / "source.json")
    assert (source["name"], source["images"], source["lesions"]) == (name, 3, 3)
    assert source["note"] == external_set.NO_LESIONS
    assert [file["name"] for file in source["files"]] == [*(["outside.zip"] if form == "zip" else []), "truth.csv"]
    assert source["files"][-1]["sha256"] == files.sha256(folder / "truth.csv")


def test_named_lesions_are_kept(folder, raw):
    (folder / "truth.csv").write_text(
        "lesion_id\timage_id\tdx\tage\nHAMTEST_1\tISIC_21\tmel\t5\nHAMTEST_1\tISIC_22\tmel\t\nHAMTEST_2\tISIC_23\tnv\t\n"
    )
    target = write(folder, raw)
    assert pd.read_csv(target / "metadata.csv")["lesion_id"].tolist() == ["HAMTEST_1", "HAMTEST_1", "HAMTEST_2"]
    source = files.read_json(target / "source.json")
    assert (source["lesions"], source["note"]) == (2, "")


def test_identical_files_count_as_one_lesion(folder, raw):
    rewrite(folder, OUTSIDE | {"ISIC_24": OUTSIDE["ISIC_22"]}, TRUTH + "ISIC_24,0,1,0,0,0,0,0\n")
    assert pd.read_csv(write(folder, raw) / "metadata.csv")["lesion_id"].tolist()[-1] == "ISIC_22"


def test_a_diagnosis_known_to_have_no_image_is_left_out_and_noted(folder, raw):
    (folder / "truth.csv").write_text(TRUTH + "ISIC_0035068,0,1,0,0,0,0,0\n")
    target = write(folder, raw)
    assert len(pd.read_csv(target / "metadata.csv")) == 3
    assert "ISIC_0035068 has a diagnosis but no published image" in files.read_json(target / "source.json")["note"]


def test_switching_it_off_leaves_no_image_behind(folder, raw):
    target = write(folder, raw)
    external_set.write_none(target)
    assert [path.name for path in target.iterdir()] == ["source.json"]
    source = files.read_json(target / "source.json")
    assert source["images"] == 0 and "null" in source["note"]


# --- what is refused --------------------------------------------------------------------------------------------


def test_an_image_of_the_training_data_is_named(folder, raw):
    rewrite(folder, OUTSIDE | {"ISIC_3": jpeg(99)}, TRUTH + "ISIC_3,0,1,0,0,0,0,0\n")
    refused(folder, raw, "ISIC_3 is also an image of HAM10000")


def test_the_content_of_an_image_of_the_training_data_is_recognised_under_another_name(folder, raw):
    rewrite(folder, OUTSIDE | {"ISIC_22": IMAGES["ISIC_4"]})
    refused(folder, raw, "ISIC_22 is, byte for byte, the image ISIC_4 of HAM10000")


def test_a_lesion_of_the_training_data_is_recognised(folder, raw):
    (folder / "truth.csv").write_text("image_id,lesion_id,dx\nISIC_21,A,nv\nISIC_22,HAM_2,nv\nISIC_23,B,df\n")
    refused(folder, raw, "ISIC_22 shows the lesion HAM_2, which is in HAM10000")


def test_one_image_under_two_diagnoses_is_refused(folder, raw):
    rewrite(folder, OUTSIDE | {"ISIC_23": OUTSIDE["ISIC_21"]})
    refused(folder, raw, r"ISIC_23 \(vasc\) is, byte for byte, ISIC_21 \(mel\)")


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"ISIC_21.jpg": OUTSIDE["ISIC_21"], "ISIC_22.jpg": OUTSIDE["ISIC_22"]}, "'ISIC_23' has a row but no file"),
        ({f"{name}.jpg": jpeg(9) for name in (*OUTSIDE, "ISIC_30")}, "ISIC_30.jpg has no row in"),
        ({f"a/{name}.jpg": b"" for name in OUTSIDE} | {"b/ISIC_21.jpg": b""}, "image 'ISIC_21' is also"),
        ({"../ISIC_21.jpg": OUTSIDE["ISIC_21"]}, "unsafe path"),
        ({f"{name}.jpg": content[:900] for name, content in OUTSIDE.items()}, "ISIC_21.jpg does not decode"),
    ],
)
def test_images_that_are_not_what_the_table_says_are_refused(folder, raw, members, match):
    write_zip(folder / "outside.zip", members)
    refused(folder, raw, match)


def test_a_file_that_is_no_zip_and_a_folder_without_images_are_refused(folder, raw):
    (folder / "outside.zip").write_bytes(b"PK, but not really")
    refused(folder, raw, "not a whole zip file")
    (folder / "outside.zip").unlink()
    (folder / "outside.zip").mkdir()
    refused(folder, raw, "no JPEG images in this folder")


# --- the download -----------------------------------------------------------------------------------------------


@pytest.fixture
def offered(folder, monkeypatch) -> dict[str, bytes]:
    """The official set, in small, as the project knows it: by name and MD5 alone."""
    offered = {
        "ISIC2018_Task3_Test_Images.zip": (folder / "outside.zip").read_bytes(),
        "ISIC2018_Task3_Test_GroundTruth.tab": TRUTH.encode(),
    }
    known = tuple(
        PublishedFile(name.replace(".tab", ".csv"), None, hashlib.md5(content).hexdigest(), None)
        for name, content in offered.items()
    )
    monkeypatch.setattr(dataverse, "DOI", DOI)
    monkeypatch.setattr(dataverse, "TEST_FILES", known)
    return offered


def test_the_official_set_is_fetched_and_checked(offered, tmp_path, raw, monkeypatch):
    location = external_set.Location(*dataverse.TEST_FILES)
    with serving(Dataverse(offered)) as server:
        monkeypatch.setattr(dataverse, "BASE_URL", server.url)
        images, truth, origin = external_set.fetched(location, tmp_path / "download")
        assert origin == f"downloaded, by their MD5 the files of Harvard Dataverse, {DOI}"
        assert truth.read_text() == TRUTH, "the original, not Dataverse's own form"
        shutil.copy(truth, tmp_path / "download" / "truth.csv")
        target = write(tmp_path / "download", raw, images.name)
        assert len(list((target / "images").iterdir())) == 3
        asked = len(server.asked)
        external_set.fetched(location, tmp_path / "download")
        assert len(server.asked) == asked, "what is there is not fetched again"


def test_files_got_by_hand_are_recognised_and_others_are_not(offered, tmp_path):
    images, truth = (tmp_path / file.name for file in dataverse.TEST_FILES)
    images.write_bytes(offered["ISIC2018_Task3_Test_Images.zip"])
    truth.write_text(TRUTH)
    location = external_set.Location(images, truth)
    assert (
        external_set.fetched(location, tmp_path)[2]
        == f"local files, by their MD5 the files of Harvard Dataverse, {DOI}"
    )
    truth.write_text(TRUTH + "\n")
    assert external_set.fetched(location, tmp_path)[2] == "local files"


def test_another_version_at_dataverse_is_refused_and_can_be_done_without(offered, tmp_path, monkeypatch):
    with serving(Dataverse(offered)) as server:
        server.md5["ISIC2018_Task3_Test_Images.zip"] = "0" * 32
        monkeypatch.setattr(dataverse, "BASE_URL", server.url)
        with pytest.raises(UserError) as caught:
            external_set.fetched(external_set.Location(*dataverse.TEST_FILES), tmp_path / "download")
    assert f"has the MD5 {'0' * 32} there" in str(caught.value)
    assert "data.external to null" in str(caught.value)


def test_the_official_validation_set_is_external(ham10000_dir, raw):
    """By name, none of its 193 images is in the training data; the counts are those of its table."""
    images = ham10000_dir / "ISIC2018_Task3_Validation_Input.zip"
    truth = ham10000_dir / "ISIC2018_Task3_Validation_GroundTruth.csv"
    if not images.exists():
        pytest.skip("no validation set here")
    files.write_csv(raw / "metadata.csv", pd.read_csv(ham10000_dir / "HAM10000_metadata.csv"))
    target = raw.parent / "external_raw"
    external_set.write(
        images, truth, isic_csv.read_ground_truth(truth), "", target=target, partial=raw.parent / "partial", raw=raw
    )
    counts = pd.read_csv(target / "metadata.csv")["dx"].value_counts().to_dict()
    assert counts == {"nv": 123, "bkl": 22, "mel": 21, "bcc": 15, "akiec": 8, "vasc": 3, "df": 1}
