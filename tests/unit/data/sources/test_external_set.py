"""The external set: where its files are found, what is refused, and what is written."""

import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinlesions.core import files, paths
from skinlesions.core.config import External
from skinlesions.core.errors import UserError
from skinlesions.data.sources import dataverse, drawing, external_files, external_set, ham10000, overlap
from skinlesions.data.sources.dataverse import PublishedFile
from skinlesions.data.sources.raw import write_raw
from tests.helpers.cases import case, expected
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
    write_files(folder / "images", {f"{image_id}.jpg": content for image_id, content in IMAGES.items()})
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


def write(folder: Path, raw: Path, images: str = "outside.zip", truth: str = "truth.csv", **wanted: object) -> Path:
    """What the stage does with the files in `folder`; the folder that it wrote."""
    target = raw.parent / "external_raw"
    external_set.write(
        folder / images,
        folder / truth,
        WANTED.model_copy(update=wanted),
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
    assert external_files.locate(None, tmp_path / "absent") is None


def test_names_are_looked_up_in_the_folder_of_the_data_then_in_the_repository_and_may_be_paths(folder, monkeypatch):
    found = external_files.Location(folder / "outside.zip", folder / "truth.csv")
    assert external_files.locate(WANTED, folder) == found
    absolute = External(images=str(folder / "outside.zip"), ground_truth=str(folder / "truth.csv"))
    assert external_files.locate(absolute, None) == found
    assert external_files.locate(absolute, folder / "elsewhere") == found
    monkeypatch.setattr(paths, "ROOT", folder)
    assert external_files.locate(WANTED, None) == found


def test_the_official_test_set_is_known_without_a_folder(folder):
    images, truth = dataverse.TEST_FILES
    official = External(images=images.name, ground_truth=truth.name)
    assert external_files.locate(official, None) == external_files.Location(images, truth)
    (folder / truth.name).touch()
    assert external_files.locate(official, folder) == external_files.Location(images, folder / truth.name)


def test_a_missing_file_is_named_with_what_is_there_and_how_to_switch_it_off(folder):
    wrong = External(images="outside.zip", ground_truth="truths.csv")
    with pytest.raises(UserError) as caught:
        external_files.locate(wrong, folder)
    message = str(caught.value)
    assert message.startswith("data.external.ground_truth: 'truths.csv' is not there (looked for ")
    for part in ("outside.zip, truth.csv", "ISIC2018_Task3_Test_Images.zip", "data.external to null"):
        assert part in message
    with pytest.raises(UserError, match=r"neither data\.folder nor HAM10000_DIR names a folder"):
        external_files.locate(wrong, None)


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


def test_what_is_none_of_the_seven_is_out_of_scope(folder, raw):
    (folder / "truth.csv").write_text("image_id,lesion_id,dx\nISIC_21,A,NV\nISIC_22,B,SCC\nISIC_23,C,AK\n")
    target = write(folder, raw, mapping={"ak": "akiec", "SCC": None})
    assert pd.read_csv(target / "metadata.csv").to_numpy().tolist() == [
        ["ISIC_21", "A", "nv"],
        ["ISIC_23", "C", "akiec"],
    ]
    assert pd.read_csv(target / "out_of_scope.csv").to_numpy().tolist() == [["ISIC_22", "B", "SCC"]]
    source = files.read_json(target / "source.json")
    assert (source["images"], source["out_of_scope"]) == (2, {"SCC": 1})
    assert len(list((target / "images").iterdir())) == len(pd.read_csv(target / "manifest.csv")) == 3


def test_switching_it_off_leaves_no_image_behind(folder, raw):
    target = write(folder, raw)
    external_set.write_none(target)
    assert [path.name for path in target.iterdir()] == ["source.json"]
    source = files.read_json(target / "source.json")
    assert source["images"] == 0 and "null" in source["note"]


# --- what is taken out ------------------------------------------------------------------------------------------


def taken_out(target: Path) -> dict[str, tuple[str, str]]:
    """By external image why it was taken out, and which image of HAM10000 it is like."""
    table = pd.read_csv(target / "taken_out.csv")
    reasons = {row.image_id: (row.reason, row.ham10000_image_id) for row in table.itertuples()}
    counted = files.read_json(target / "source.json")["taken_out"]
    assert counted == {name: sum(name == reason for reason, _ in reasons.values()) for name in overlap.REASONS}
    assert not {*reasons} & {path.stem for path in (target / "images").iterdir()}
    return reasons


def test_images_of_ham10000_are_taken_out_by_name_content_and_lesion(folder, raw):
    rewrite(folder, OUTSIDE | {"ISIC_3": jpeg(99), "ISIC_22": IMAGES["ISIC_4"]})
    (folder / "truth.csv").write_text(
        "image_id,lesion_id,dx\nISIC_21,A,nv\nISIC_22,B,nv\nISIC_23,HAM_2,df\nISIC_3,C,nv\n"
    )
    target = write(folder, raw)
    assert taken_out(target) == {
        "ISIC_22": ("content", "ISIC_4"),
        "ISIC_23": ("lesion", "ISIC_3"),
        "ISIC_3": ("name", "ISIC_3"),
    }
    assert pd.read_csv(target / "metadata.csv")["image_id"].tolist() == ["ISIC_21"]


@pytest.fixture(scope="module")
def lesions() -> dict[str, Image.Image]:
    """Drawn lesions, as HAM10000 has them and as it has not."""
    random = np.random.default_rng(0)
    looks = list(drawing.LOOKS.values())
    names = [*(f"ISIC_{number}" for number in range(1, 5)), *OUTSIDE]
    return {
        name: drawing.photographed(drawing.paint(look, random), random) for name, look in zip(names, looks, strict=True)
    }


def saved(image: Image.Image, how: str = "as it is") -> bytes:
    """`image` as it is, or as somebody else saved it."""
    width, height = image.size
    changed = {
        "as it is": lambda: image,
        "compressed": lambda: image,
        "halved": lambda: image.resize((width // 2, height // 2)),
        "square": lambda: image.crop(((width - height) // 2, 0, (width + height) // 2, height)),
        "squeezed": lambda: image.resize((224, 224)),
        "turned": lambda: image.transpose(Image.Transpose.ROTATE_90),
        "PNG": lambda: image.resize((width * 2 // 3, height * 2 // 3)),
    }[how]()
    buffer = io.BytesIO()
    changed.save(buffer, "PNG" if how == "PNG" else "JPEG", **({} if how == "PNG" else {"quality": 70}))
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["compressed", "halved", "square", "squeezed", "turned", "PNG"])
def test_a_copy_under_another_name_is_found_however_it_was_saved(folder, raw, lesions, how):
    for name in IMAGES:
        (raw / "images" / f"{name}.jpg").write_bytes(saved(lesions[name]))
    suffix = "png" if how == "PNG" else "jpg"
    members = {f"{name}.jpg": saved(lesions[name]) for name in ("ISIC_21", "ISIC_23")}
    write_zip(folder / "outside.zip", members | {f"ISIC_22.{suffix}": saved(lesions["ISIC_2"], how)})
    assert taken_out(write(folder, raw)) == {"ISIC_22": ("near_duplicate", "ISIC_2")}


# --- what is refused --------------------------------------------------------------------------------------------


def test_one_lesion_with_two_diagnoses_is_refused(folder, raw):
    (folder / "truth.csv").write_text("image_id,lesion_id,dx\nISIC_21,A,nv\nISIC_22,A,mel\nISIC_23,B,df\n")
    refused(folder, raw, "row 3: lesion 'A' is 'mel' here and 'nv' in row 2")


def test_a_set_of_which_nothing_is_left_is_refused(folder, raw):
    rewrite(folder, {name: IMAGES["ISIC_4"] for name in OUTSIDE})
    refused(folder, raw, "no image is left to be scored: 3 are of HAM10000")


def test_a_diagnosis_that_nobody_explained_is_refused_with_what_to_write(folder, raw):
    (folder / "truth.csv").write_text("image_id,dx\nISIC_21,AK\nISIC_22,nv\nISIC_23,wart\n")
    refused(folder, raw, r"'AK' \(1 image\), 'wart' \(1 image\).*mapping: \{AK: akiec, wart: null\}")


def test_one_image_under_two_diagnoses_is_refused(folder, raw):
    rewrite(folder, OUTSIDE | {"ISIC_23": OUTSIDE["ISIC_21"]})
    refused(folder, raw, r"ISIC_23 \(VASC\) is, byte for byte, ISIC_21 \(MEL\)")


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"ISIC_21.jpg": OUTSIDE["ISIC_21"], "ISIC_22.jpg": OUTSIDE["ISIC_22"]}, "'ISIC_23' has a row but no file"),
        ({f"{name}.jpg": jpeg(9) for name in (*OUTSIDE, "ISIC_30")}, "ISIC_30.jpg has no row in"),
        ({f"a/{name}.jpg": b"" for name in OUTSIDE} | {"b/ISIC_21.jpg": b""}, "image 'ISIC_21' is also"),
        ({"../ISIC_21.jpg": OUTSIDE["ISIC_21"]}, "unsafe path"),
        ({f"{name}.jpg": b"<html>" for name in OUTSIDE}, "ISIC_21.jpg is not a JPEG or PNG image but a page of HTML"),
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
    refused(folder, raw, "no JPEG or PNG images in this folder")


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
    location = external_files.Location(*dataverse.TEST_FILES)
    with serving(Dataverse(offered)) as server:
        monkeypatch.setattr(dataverse, "BASE_URL", server.url)
        images, truth, origin = external_files.fetched(location, tmp_path / "download")
        assert origin == f"downloaded, by their MD5 the files of Harvard Dataverse, {DOI}"
        assert truth.read_text() == TRUTH, "the original, not Dataverse's own form"
        shutil.copy(truth, tmp_path / "download" / "truth.csv")
        target = write(tmp_path / "download", raw, images.name)
        assert len(list((target / "images").iterdir())) == 3
        asked = len(server.asked)
        external_files.fetched(location, tmp_path / "download")
        assert len(server.asked) == asked, "what is there is not fetched again"


def test_files_got_by_hand_are_recognised_and_others_are_not(offered, tmp_path):
    images, truth = (tmp_path / file.name for file in dataverse.TEST_FILES)
    images.write_bytes(offered["ISIC2018_Task3_Test_Images.zip"])
    truth.write_text(TRUTH)
    location = external_files.Location(images, truth)
    assert (
        external_files.fetched(location, tmp_path)[2]
        == f"local files, by their MD5 the files of Harvard Dataverse, {DOI}"
    )
    truth.write_text(TRUTH + "\n")
    assert external_files.fetched(location, tmp_path)[2] == "local files"
    folder = external_files.Location(tmp_path, truth)
    assert external_files.fetched(folder, tmp_path) == (tmp_path, truth, "local files"), "images may be a folder"


def test_another_version_at_dataverse_is_refused_and_can_be_done_without(offered, tmp_path, monkeypatch):
    with serving(Dataverse(offered)) as server:
        server.md5["ISIC2018_Task3_Test_Images.zip"] = "0" * 32
        monkeypatch.setattr(dataverse, "BASE_URL", server.url)
        with pytest.raises(UserError) as caught:
            external_files.fetched(external_files.Location(*dataverse.TEST_FILES), tmp_path / "download")
    assert f"has the MD5 {'0' * 32} there" in str(caught.value)
    assert "data.external to null" in str(caught.value)


def test_the_official_validation_set_is_external(ham10000_dir, raw):
    """By name, none of its 193 images is in the training data; the counts are those of its table."""
    images = ham10000_dir / "ISIC2018_Task3_Validation_Input.zip"
    truth = ham10000_dir / "ISIC2018_Task3_Validation_GroundTruth.csv"
    if not images.exists():
        pytest.skip("no validation set here")
    files.write_csv(raw / "metadata.csv", pd.read_csv(ham10000_dir / "HAM10000_metadata.csv"))
    target = write(ham10000_dir, raw, images.name, truth.name)
    counts = pd.read_csv(target / "metadata.csv")["dx"].value_counts().to_dict()
    assert counts == {"nv": 123, "bkl": 22, "mel": 21, "bcc": 15, "akiec": 8, "vasc": 3, "df": 1}


def test_the_official_test_set_is_the_same_from_a_zip_file_a_folder_and_the_archive(ham10000_dir, raw, tmp_path):
    """A part of it: one image in fifty."""
    official, truth = ham10000_dir / "ISIC2018_Task3_Test_Images.zip", "ISIC2018_Task3_Test_GroundTruth.csv"
    if not official.exists():
        pytest.skip("no test set here")
    with zipfile.ZipFile(official) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::50]
        images = {name.rpartition("/")[2]: archive.read(name) for name in names}
    kept = {name.removesuffix(".jpg") for name in images}
    write_zip(tmp_path / "set" / "images.zip", images)
    write_files(tmp_path / "set" / "images", images)
    # The Archive's folder has images of HAM10000 as well, and metadata of all.
    with zipfile.ZipFile(ham10000_dir / "HAM10000_images_part_1.zip") as archive:
        others = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist() if "002430" in name}
    write_files(tmp_path / "set" / "archive", images | others)
    shutil.copy(ham10000_dir / "isic_archive_metadata.csv", tmp_path / "set" / "archive" / "metadata.csv")
    rows = (ham10000_dir / truth).read_text().splitlines()
    chosen = [rows[0], *(row for row in rows[1:] if row.partition(",")[0] in kept)]
    (tmp_path / "set" / "truth.csv").write_text("\n".join(chosen))
    metadata = []
    for place, table, part in (
        ("images.zip", "truth.csv", None),
        ("images", "truth.csv", None),
        ("archive", "archive/metadata.csv", "isic2018_test"),
    ):
        target = write(tmp_path / "set", raw, place, table, part=part)
        assert {path.name: path.read_bytes() for path in (target / "images").iterdir()} == images
        metadata.append(pd.read_csv(target / "metadata.csv"))
    assert len(kept) == 31 and metadata[0].equals(metadata[1])
    assert metadata[0][["image_id", "dx"]].equals(metadata[2][["image_id", "dx"]])
    assert metadata[2]["lesion_id"].str.startswith("IL_").all(), "the Archive knows the lesions"


# --- files that others made -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "images", "truth", "mapping"),
    [
        ("external_2019", "ISIC_2019_Test_Input", "ISIC_2019_Test_GroundTruth.csv", {"SCC": "akiec", "UNK": None}),
        ("external_2019", "ISIC_2019_Test_Input", "ISIC_2019_Test_GroundTruth.csv", {"SCC": None, "UNK": None}),
        (
            *("external_pad_ufes", "imgs_part_1", "metadata.csv"),
            {"ACK": "akiec", "NEV": "nv", "SEK": "bkl", "SCC": None},
        ),
        (
            *("external_milk10k", "MILK10k_Training_Input", "MILK10k_Training_GroundTruth.csv"),
            {"INF": None, "SCCKA": "akiec"},
        ),
    ],
)
def test_the_files_of_others_give_what_is_known_of_them(tmp_path, name, images, truth, mapping):
    known, raw = expected(name), tmp_path / "raw"
    own = ham10000.read(case("isic_cli"))
    contents = ((image.image_id, image.name, content) for image, content in ham10000.read_images(own.images))
    write_raw(raw, tmp_path / "partial", own.metadata, contents, {"source": "ham10000", "note": ""})
    target = write(case(name), raw, images, truth, mapping=mapping)
    source = files.read_json(target / "source.json")
    scored, found = pd.read_csv(target / "metadata.csv"), source["out_of_scope"]
    squamous = next(key for key in mapping if key in ("SCC", "SCCKA"))
    if mapping[squamous] is None:
        assert found.pop(squamous) == known[squamous]
    else:
        assert (scored["dx"] == "akiec").sum() >= known[squamous]
    assert found == known.get("out_of_scope", {})
    assert sum(source["taken_out"].values()) == known.get("of_ham10000", 0)
    total = len(scored) + sum(source["out_of_scope"].values()) + sum(source["taken_out"].values())
    total += known.get(squamous, 0) if mapping[squamous] is None else 0
    assert total == known.get("images", known.get("dermoscopic"))
    if name == "external_2019":
        reasons = pd.read_csv(target / "taken_out.csv").set_index("image_id")["reason"].to_dict()
        assert reasons == {"ISIC_0024682": "name", "ISIC_0099001": "near_duplicate"}
