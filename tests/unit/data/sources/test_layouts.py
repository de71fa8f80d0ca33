"""HAM10000 in every layout in which people have it, one small twin each, gives the same images and diagnoses."""

import importlib
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinlesions.core.errors import UserError
from skinlesions.data.sources import ham10000, isic_archive, layouts
from tests.helpers.cases import case, expected
from tests.helpers.raw_files import jpeg, write_files, write_zip

# Numbers of HAM10000, so that the Archive's form tells them from those of the test sets.
NAMES = ["ISIC_0024306", "ISIC_0024307", "ISIC_0024308", "ISIC_0034320"]
DX = ["nv", "nv", "akiec", "vasc"]
LESIONS = ["HAM_1", "HAM_1", "HAM_2", "HAM_3"]
IMAGES = {name: jpeg(number) for number, name in enumerate(NAMES)}
JPEGS = {f"{name}.jpg": content for name, content in IMAGES.items()}
FIRST, SECOND = dict(list(JPEGS.items())[:2]), dict(list(JPEGS.items())[2:])

METADATA = (
    "lesion_id,image_id,dx,dx_type,age,sex,localization{more}\n"
    "HAM_1,ISIC_0024306,nv,follow_up,45.0,male,back{values}\n"
    "HAM_1,ISIC_0024307,nv,follow_up,45.0,male,back{values}\n"
    "HAM_2,ISIC_0024308,akiec,histo,,unknown,hand{values}\n"
    "HAM_3,ISIC_0034320,vasc,consensus,30.0,female,abdomen{values}\n"
)
PLAIN = METADATA.format(more="", values="").encode()
TRUTH = (
    "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    "ISIC_0024306,0.0,1.0,0.0,0.0,0.0,0.0,0.0\nISIC_0024307,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
    "ISIC_0024308,0.0,0.0,0.0,1.0,0.0,0.0,0.0\nISIC_0034320,0.0,0.0,0.0,0.0,0.0,0.0,1.0\n"
)
GROUPINGS = (
    "image,lesion_id,diagnosis_confirm_type\n"
    "ISIC_0024306,HAM_1,serial imaging showing no change\nISIC_0024307,HAM_1,serial imaging showing no change\n"
    "ISIC_0024308,HAM_2,histopathology\nISIC_0034320,HAM_3,single image expert consensus\n"
)
# Two images of HAM10000's challenge are not HAM10000's: one of its validation set, one of its test set.
ARCHIVE = (
    "isic_id,attribution,age_approx,anatom_site_general,anatom_site_special,diagnosis_1,diagnosis_2,diagnosis_3,"
    "diagnosis_confirm_type,lesion_id,sex\n"
    "ISIC_0024306,V,45,posterior torso,,Benign,Benign melanocytic proliferations,Nevus,"
    "serial imaging showing no change,IL_1,male\n"
    "ISIC_0024307,V,45,posterior torso,,Benign,Benign melanocytic proliferations,Nevus,"
    "serial imaging showing no change,IL_1,male\n"
    'ISIC_0024308,V,,upper extremity,acral NOS,Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, '
    'NOS",histopathology,IL_2,\n'
    "ISIC_0034320,V,30,anterior torso,,Benign,Benign soft tissue proliferations - Vascular,,"
    "single image expert consensus,IL_3,female\n"
    "ISIC_0034321,V,30,,,Benign,Benign melanocytic proliferations,Nevus,histopathology,IL_4,female\n"
    "ISIC_0034524,V,30,,,Benign,Benign melanocytic proliferations,Nevus,histopathology,IL_5,female\n"
)
# As isic-cli gave it until 2024.
OLD_ARCHIVE = (
    "isic_id,attribution,benign_malignant,diagnosis,diagnosis_confirm_type,lesion_id\n"
    "ISIC_0024306,V,benign,nevus,serial imaging showing no change,IL_1\n"
    "ISIC_0024307,V,benign,nevus,serial imaging showing no change,IL_1\n"
    "ISIC_0024308,V,,actinic keratosis,histopathology,IL_2\n"
    "ISIC_0034320,V,benign,vascular lesion,single image expert consensus,IL_3\n"
    "ISIC_0034524,V,benign,nevus,histopathology,IL_5\n"
)
OF_TEST_SETS = {"ISIC_0034321.jpg": jpeg(21), "ISIC_0034524.jpg": jpeg(22)}


def png(content: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).save(buffer, "PNG")
    return buffer.getvalue()


def dataverse(folder: Path) -> None:
    write_zip(folder / "HAM10000_images_part_1.zip", FIRST)
    write_zip(folder / "HAM10000_images_part_2.zip", SECOND)
    write_zip(folder / "HAM10000_segmentations_lesion_tschandl.zip", {"ISIC_0024306_segmentation.png": b""})
    table = METADATA.format(more=",dataset", values=",vidir_modern").replace(",", "\t")
    (folder / "HAM10000_metadata.tab").write_text(table)


def kaggle(folder: Path) -> None:
    for part, content in (("1", FIRST), ("2", SECOND)):
        write_files(folder / f"HAM10000_images_part_{part}", content)
        write_files(folder / f"ham10000_images_part_{part}", content)
    write_files(folder, {"HAM10000_metadata.csv": PLAIN, "hmnist_28_28_L.csv": b"pixel0000,label\n0,1\n"})


def flat(folder: Path) -> None:
    write_files(folder, JPEGS | {"HAM10000_metadata.csv": PLAIN})


def under_another_name(folder: Path) -> None:
    write_files(folder / "all" / "images", JPEGS)
    write_files(folder, {"labels.csv": PLAIN})


def as_png(folder: Path) -> None:
    write_files(folder / "images", {name.replace("jpg", "png"): png(content) for name, content in JPEGS.items()})
    write_files(folder, {"HAM10000_metadata.csv": PLAIN})
    write_files(folder / "masks", {"ISIC_0024306_segmentation.png": b""})


def challenge(folder: Path) -> None:
    write_files(folder / "ISIC2018_Task3_Training_Input", JPEGS | {"ATTRIBUTION.txt": b"", "LICENSE.txt": b""})
    write_files(folder / "truth", {"ISIC2018_Task3_Training_GroundTruth.csv": TRUTH.encode()})
    write_files(folder, {"ISIC2018_Task3_Training_LesionGroupings.csv": GROUPINGS.encode()})
    (folder / "ISIC2018_Task3_Test_GroundTruth.csv").write_text(
        TRUTH.splitlines()[0] + "\nISIC_0034524,0,1,0,0,0,0,0\n"
    )


def zipped_challenge(folder: Path) -> None:
    challenge(folder)
    write_zip(folder / "ISIC2018_Task3_Training_Input.zip", {f"in/{name}": content for name, content in JPEGS.items()})


def metadata_beside_challenge(folder: Path) -> None:
    challenge(folder)
    (folder / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    write_files(folder, {"HAM10000_metadata.csv": PLAIN})


def isic_cli(folder: Path) -> None:
    write_files(folder, JPEGS | OF_TEST_SETS | {"metadata.csv": ARCHIVE.encode(), "attribution.txt": b""})
    write_files(folder / "licenses", {"CC-BY-NC.txt": b""})


def old_isic_cli(folder: Path) -> None:
    write_files(folder, JPEGS | OF_TEST_SETS | {"metadata.csv": OLD_ARCHIVE.encode()})


TWINS = [
    *(dataverse, kaggle, flat, under_another_name, as_png, challenge, zipped_challenge, metadata_beside_challenge),
    *(isic_cli, old_isic_cli),
]


def renamed(lesions: pd.Series) -> list[int]:
    """The lesions numbered as they appear: the Archive has names of its own."""
    return pd.factorize(lesions)[0].tolist()


@pytest.mark.parametrize("twin", TWINS)
def test_every_layout_gives_the_same_images_lesions_and_diagnoses(tmp_path, twin):
    twin(tmp_path)
    found = ham10000.read(tmp_path)
    table = found.metadata
    assert table["image_id"].tolist() == NAMES and table["dx"].tolist() == DX
    assert renamed(table["lesion_id"]) == renamed(pd.Series(LESIONS))
    assert table["dx_type"].tolist() == ["follow_up", "follow_up", "histo", "consensus"]
    assert ("dataset" in table) == (twin is dataverse)
    contents = {image.image_id: content for image, content in ham10000.read_images(found.images)}
    assert contents.keys() == IMAGES.keys()
    if twin is not as_png:
        assert contents == IMAGES
    else:
        pixels = [np.asarray(Image.open(io.BytesIO(contents[name]))) for name in NAMES]
        assert all(
            (a == np.asarray(Image.open(io.BytesIO(IMAGES[b])))).all() for a, b in zip(pixels, NAMES, strict=True)
        )


def test_what_the_archive_says_otherwise_is_read_and_noted(tmp_path):
    isic_cli(tmp_path)
    found = ham10000.read(tmp_path)
    assert found.metadata["localization"].tolist() == ["back", "back", "hand", "anterior torso"]
    assert found.metadata["sex"].tolist() == ["male", "male", "unknown", "female"]
    assert found.metadata["age"].isna().tolist() == [False, False, True, False]
    notes = " ".join(found.notes)
    assert notes.count("Set apart") == 2 and "validation set" in notes and "test set" in notes


def test_what_is_as_published_needs_no_note(tmp_path):
    for twin in (dataverse, kaggle, flat):
        folder = tmp_path / twin.__name__
        folder.mkdir()
        twin(folder)
        assert ham10000.read(folder).notes == ()


def test_the_challenge_without_groupings_names_the_file_to_fetch(tmp_path):
    challenge(tmp_path)
    (tmp_path / layouts.GROUPINGS_FILE).unlink()
    with pytest.raises(UserError, match=rf"Training_GroundTruth\.csv .*lesion.* Fetch {layouts.GROUPINGS_FILE} from "):
        ham10000.find(tmp_path)


def test_an_image_without_a_group_and_a_row_without_a_class_are_named(tmp_path):
    challenge(tmp_path)
    groupings = tmp_path / layouts.GROUPINGS_FILE
    groupings.write_text("\n".join(GROUPINGS.splitlines()[:-1]))
    with pytest.raises(UserError, match=r"row 5: .*LesionGroupings\.csv has no lesion of image 'ISIC_0034320'"):
        ham10000.read(tmp_path)
    truth = tmp_path / "truth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    truth.write_text(TRUTH.replace("ISIC_0024307,0.0,1.0", "ISIC_0024307,0.5,0.5"))
    with pytest.raises(UserError, match="row 3: expected one 1 and else 0"):
        ham10000.read(tmp_path)


def test_two_tables_that_differ_are_refused_and_two_that_agree_are_not(tmp_path):
    flat(tmp_path)
    other = tmp_path / "HAM10000_metadata.tab"
    other.write_bytes(PLAIN)
    assert len(ham10000.read(tmp_path).images) == 4
    other.write_bytes(PLAIN.replace(b"ISIC_0034320,vasc", b"ISIC_0034320,df"))
    with pytest.raises(UserError, match=r"HAM10000_metadata\.csv and .*HAM10000_metadata\.tab .*differ; leave one"):
        ham10000.read(tmp_path)


def test_unknown_columns_and_long_names_are_normalised_with_a_note(tmp_path):
    flat(tmp_path)
    text = (
        METADATA.format(more=",path", values=",x.jpg").replace(",vasc,", ",Vascular lesions,").replace("male", "Male")
    )
    (tmp_path / "HAM10000_metadata.csv").write_text(text)
    found = ham10000.read(tmp_path)
    assert found.metadata["dx"].tolist() == DX and set(found.metadata["sex"]) == {"male", "female", "unknown"}
    assert "path" in found.notes[0] and len(found.notes) == 3


def test_further_images_and_copies_are_passed_over_and_counted(tmp_path):
    flat(tmp_path)
    write_files(tmp_path, {"ISIC_0099999.jpg": jpeg(9)})
    write_files(tmp_path / "small", FIRST)
    notes = ham10000.read(tmp_path).notes
    assert "several places: 2," in notes[0] and "without a row in HAM10000_metadata.csv: 1," in notes[1]


@pytest.mark.parametrize("kind", ["dermamnist", "hmnist"])
def test_images_without_identifiers_are_refused_with_the_reason(tmp_path, kind):
    if kind == "dermamnist":
        arrays = {f"{part}_{what}": np.zeros(3) for part in ("train", "val", "test") for what in ("images", "labels")}
        np.savez(tmp_path / "dermamnist_224.npz", **arrays)
    else:
        (tmp_path / "hmnist_28_28_RGB.csv").write_text("pixel0000,pixel0001,label\n1,2,3\n")
    with pytest.raises(UserError, match=r"(dermamnist_224\.npz|hmnist_28_28_RGB\.csv) .*lesion.*leakage"):
        ham10000.find(tmp_path)


def test_what_is_still_packed_is_to_be_unpacked(tmp_path):
    write_zip(tmp_path / "archive.zip", {"HAM10000_metadata.csv": PLAIN, "HAM10000_images_part_1/a.jpg": b""})
    with pytest.raises(UserError, match=r"archive\.zip holds the metadata: unpack it"):
        ham10000.find(tmp_path)


def test_a_zip_file_that_is_none_is_passed_over_with_a_note(tmp_path):
    flat(tmp_path)
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert "broken.zip is passed over" in ham10000.read(tmp_path).notes[0]


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    flat(tmp_path)
    loop = tmp_path / "ISIC_0024306.jpg"
    loop.unlink()
    loop.symlink_to(loop)
    with pytest.raises(UserError, match=r"ISIC_0024306\.jpg cannot be read"):
        ham10000.read(tmp_path)
    table = tmp_path / "HAM10000_metadata.csv"
    table.unlink()
    table.symlink_to(table)
    with pytest.raises(UserError, match=r"HAM10000_metadata\.csv"):
        ham10000.read(tmp_path)


def test_an_archive_without_lesions_is_refused(tmp_path):
    isic_cli(tmp_path)
    (tmp_path / "metadata.csv").write_text("isic_id,diagnosis\nISIC_0024306,nevus\n")
    with pytest.raises(UserError, match=r"metadata\.csv has no column 'lesion_id'"):
        ham10000.read(tmp_path)


def test_parquet_files_without_pyarrow_say_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"train\.parquet: .*PyArrow.*pip install pyarrow"):
        ham10000.read(tmp_path)


def parquet_files(folder: Path, **changes: str) -> None:
    """Two splits that share an image, as Hugging Face has them."""
    arrow = pytest.importorskip("pyarrow")
    long = {"nv": "melanocytic_Nevi", "akiec": "actinic_keratoses", "vasc": "vascular_lesions"}
    rows = [
        {"image": {"bytes": IMAGES[name], "path": None}, "image_id": name, "lesion_id": lesion, "dx": long[dx]}
        | {"dx_type": "histo", "age": None, "sex": "male", "localization": "back"}
        for name, lesion, dx in zip(NAMES, LESIONS, DX, strict=True)
    ]
    write = importlib.import_module("pyarrow.parquet").write_table
    write(arrow.Table.from_pylist(rows[:3]), folder / "train-00000.parquet")
    write(arrow.Table.from_pylist([rows[2] | changes, rows[3]]), folder / "test-00000.parquet")


def test_images_in_parquet_files_are_taken_once_and_counted(tmp_path):
    parquet_files(tmp_path)
    found = ham10000.read(tmp_path)
    assert found.metadata["dx"].tolist() == DX and found.metadata["lesion_id"].tolist() == LESIONS
    assert {image.image_id: content for image, content in ham10000.read_images(found.images)} == IMAGES
    assert "5 rows of 4 images" in found.notes[0]


def test_one_image_with_two_diagnoses_in_parquet_files_is_refused(tmp_path):
    parquet_files(tmp_path, dx="melanoma")
    with pytest.raises(UserError, match="image 'ISIC_0024308' stands elsewhere otherwise"):
        ham10000.read(tmp_path)


# --- files that others made -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["isic_cli", "challenge_2018", "huggingface"])
def test_the_files_of_others_give_what_is_known_of_them(name):
    folder, known = case(name), expected(name)
    if name == "huggingface":
        pytest.importorskip("pyarrow")
    found = ham10000.read(folder)
    assert len(found.metadata) == len(found.images) == known["images"]
    assert found.metadata["lesion_id"].nunique() == known["lesions"]
    if "per_class" in known:
        assert found.metadata["dx"].value_counts().to_dict() == known["per_class"]
    if "rows" in known:
        assert any(f"{known['rows']} rows of {known['images']} images" in note for note in found.notes)
    assert sum(1 for _ in ham10000.read_images(found.images)) == known["images"]


def test_the_real_archive_is_ham10000_with_its_test_sets_set_apart(ham10000_dir, tmp_path):
    """Metadata of 11,720 images and all their files, linked to as isic-cli leaves them."""
    source = ham10000_dir / "isic_archive_metadata.csv"
    if not source.exists():
        pytest.skip("no metadata of the Archive here")
    for name in ("HAM10000_images_part_1", "HAM10000_images_part_2", "ISIC2018_Task3_Test_Images"):
        (tmp_path / f"{name.lower().replace('ham10000_images_part', 'isic')}.zip").symlink_to(
            ham10000_dir / f"{name}.zip"
        )
    (tmp_path / "metadata.csv").symlink_to(source)
    found = ham10000.read(tmp_path)
    own = ham10000.read_metadata(ham10000_dir / "HAM10000_metadata.csv")
    both = found.metadata.merge(own, on="image_id", suffixes=("", "_own"))
    assert len(both) == len(found.metadata) == len(found.images) == 10_015
    assert (both["dx"] == both["dx_own"]).all() and (both["dx_type"] == both["dx_type_own"]).all()
    assert both["lesion_id"].nunique() == len(both.drop_duplicates(["lesion_id", "lesion_id_own"])) == 7_470
    notes = " ".join(found.notes)
    assert "test set: 1,512 (lesions: 1,223)" in notes and "validation set: 193 (lesions: 145)" in notes


def test_the_numbers_of_the_challenge_tell_its_parts(ham10000_dir):
    for name, part in (("Validation", "isic2018_validation"), ("Test", "isic2018_test")):
        table = ham10000_dir / f"ISIC2018_Task3_{name}_GroundTruth.csv"
        if table.exists():
            assert set(pd.read_csv(table)["image"].map(isic_archive.part)) == {part}
    own = pd.read_csv(ham10000_dir / "HAM10000_metadata.csv")["image_id"]
    assert set(own.map(isic_archive.part)) == {isic_archive.HAM10000}
