import pandas as pd
import pytest
from PIL import Image

from skinlesions.core import errors
from skinlesions.core.classes import METADATA_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data.sources import checks
from tests.helpers.orientations import encoded
from tests.helpers.raw_files import HEADER, IMAGES, ROWS, jpeg


def frame(rows: list[list[str]] = ROWS) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=HEADER, dtype=str)


def changed(row: int, **values: str) -> pd.DataFrame:
    """ROWS with values of one row (as a spreadsheet counts) replaced."""
    table = frame()
    for column, value in values.items():
        table.loc[row - 2, column] = value
    return table


def test_metadata_are_normalised():
    table = checks.check_metadata(frame(), "metadata.csv")
    assert tuple(table.columns) == METADATA_COLUMNS
    assert table["image_id"].tolist() == ["ISIC_1", "ISIC_2", "ISIC_3", "ISIC_4"]
    assert table["age"].tolist()[:2] == [80.0, 80.0]
    assert table["age"].isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize("spelling", ["", "NA", "nan", "NaN"])
def test_spellings_of_a_missing_value(spelling):
    table = checks.check_metadata(changed(5, age=spelling, sex=spelling, localization=spelling), "metadata.csv")
    assert pd.isna(table["age"][3])
    assert table.loc[3, ["sex", "localization"]].tolist() == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (4, {"image_id": "ISIC_3"}, "row 4: image_id 'ISIC_3' is already in row 2; remove one of the two"),
        (3, {"dx": "melanoma"}, "row 3: dx is 'melanoma'; correct it to one of: akiec, bcc, bkl, df, mel, nv, vasc"),
        (
            4,
            {"dx": "nv"},
            "row 4: lesion 'HAM_1' is 'nv' here and 'mel' in row 3; give all images of a lesion the same",
        ),
        (5, {"age": "forty"}, "row 5: age is 'forty'; give years between 0 and 120, or leave it empty"),
        (5, {"age": "-1"}, "row 5: age is '-1'; give years"),
        (5, {"age": "inf"}, "row 5: age is 'inf'; give years"),
        (5, {"sex": "f"}, "row 5: sex is 'f'; correct it to one of: female, male, unknown"),
        (2, {"localization": "toe"}, "row 2: localization is 'toe'; correct it to one of: abdomen, acral"),
        (2, {"dx_type": "guess"}, "row 2: dx_type is 'guess'; correct it to one of: histo"),
        (2, {"image_id": "../ISIC_3"}, "row 2: image_id is '../ISIC_3'; only letters, digits"),
        (2, {"lesion_id": ""}, "row 2: lesion_id is ''; only letters, digits"),
    ],
)
def test_a_fault_names_file_row_and_remedy(row, values, message):
    with pytest.raises(UserError) as caught:
        checks.check_metadata(changed(row, **values), "data/metadata.csv")
    text = str(caught.value)
    assert text.startswith("data/metadata.csv: ")
    assert message in text


def test_the_first_faults_are_shown_and_all_are_counted():
    rows = [["HAM_1", f"ISIC_{number}", "mole", "histo", "40", "male", "back"] for number in range(50)]
    with pytest.raises(UserError) as caught:
        checks.check_metadata(frame(rows), "metadata.csv")
    lines = str(caught.value).splitlines()
    assert lines[0] == "metadata.csv: 50 faults"
    assert len(lines) == 1 + errors.SHOWN_FAULTS + 1
    assert lines[1].startswith("  row 2: ")
    assert lines[-1] == "  ... and 42 more"


def test_no_rows_are_a_fault():
    with pytest.raises(UserError, match="no rows after the header"):
        checks.check_metadata(frame([]), "metadata.csv")


def test_columns():
    with pytest.raises(UserError, match="row 1: column 'dx' is missing; take the metadata file as published"):
        checks.check_columns([*HEADER[:2], *HEADER[3:]], "metadata.csv")
    checks.check_columns([*HEADER, "dataset", "weight"], "metadata.csv")


def test_the_collection_of_an_image_is_kept_where_it_is_known():
    table = checks.check_metadata(frame().assign(dataset=["rosendahl", "", "", "vidir_modern"]), "metadata.csv")
    assert table.set_index("image_id")["dataset"].to_dict() == {
        "ISIC_1": "",
        "ISIC_2": "",
        "ISIC_3": "rosendahl",
        "ISIC_4": "vidir_modern",
    }
    assert tuple(checks.check_metadata(frame().assign(dataset=""), "metadata.csv").columns) == METADATA_COLUMNS
    with pytest.raises(UserError, match="row 2: dataset is '=1'"):
        checks.check_metadata(frame().assign(dataset="=1"), "metadata.csv")


def test_rows_are_called_as_the_file_has_them():
    table = changed(5, dx="naevus").set_index(pd.Index([2, 4, 5, 9], name="row"))
    with pytest.raises(UserError, match="row 9: dx is 'naevus'"):
        checks.check_metadata(table, "metadata.csv")


def test_images_and_rows_must_match():
    metadata = checks.check_metadata(frame(), "metadata.csv")
    names = {image_id: f"images/{image_id}.jpg" for image_id in IMAGES}
    checks.check_names(names, metadata, "metadata.csv")
    del names["ISIC_2"]
    names["ISIC_9"] = "images/ISIC_9.jpg"
    with pytest.raises(UserError) as caught:
        checks.check_names(names, metadata, "metadata.csv")
    assert str(caught.value).splitlines() == [
        "images and metadata do not match: 2 faults",
        "  images/ISIC_9.jpg has no row in metadata.csv; add the row, or move the image elsewhere",
        "  metadata.csv: image 'ISIC_2' has a row but no file ISIC_2.jpg or .png; add it (is a part missing?)",
    ]


def test_a_whole_image_gives_its_size():
    assert checks.check_image(jpeg(1, 120, 80)) == (120, 80)
    assert checks.check_image(encoded(Image.new("L", (120, 80)), "JPEG")) == (120, 80)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_png_is_as_good_as_jpeg(mode):
    assert checks.check_image(encoded(Image.new(mode, (120, 80)), "PNG")) == (120, 80)


def claiming(width: int, height: int) -> bytes:
    """A small JPEG file whose header claims another size."""
    content = jpeg(1)
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[start + 4 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a JPEG or PNG image but an empty file"),
        (b"<!DOCTYPE html>", "but a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\0\0\0\x18ftypheic", "but an HEIC or AVIF image"),
        (b"some text", "but text"),
        (b"\xff\xd8\xff\xe0 not an image", "is not an image|does not decode"),
        (b"GIF89a and more", "is not a JPEG or PNG image but a GIF image"),
        (encoded(Image.new("RGB", (96, 72)), "PNG")[:-40], "does not decode"),
        (jpeg(1)[:-200], "does not decode"),  # the header is whole
        (jpeg(1)[: len(jpeg(1)) // 2], "does not decode"),
        (encoded(Image.new("CMYK", (96, 72)), "JPEG"), "is in CMYK colours, not RGB or L"),
        (jpeg(1, 96, 63), "is 96 x 63 pixels; the short side must have at least 64"),
        (claiming(9000, 9000), "claims 9000 x 9000 pixels, more than 50,000,000"),
        (claiming(65000, 65000), "claims more than 50,000,000 pixels"),
    ],
)
def test_a_bad_image_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        checks.check_image(content)
