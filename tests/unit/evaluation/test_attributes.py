"""The attributes of the images: how they are published, and which groups they make."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import files
from skinlesions.core.classes import CLASSES, read_index
from skinlesions.core.errors import UserError
from skinlesions.data import records
from skinlesions.evaluation import attributes
from tests.helpers.studies import with_metadata
from tests.helpers.synthetic import synthetic_index


@pytest.fixture(scope="module")
def index() -> pd.DataFrame:
    return with_metadata(synthetic_index(dict.fromkeys(CLASSES, 5)))


def test_the_published_metadata_come_back_as_they_were(index, tmp_path):
    table = records.metadata_table(index.sample(frac=1, random_state=0))
    files.write_csv(tmp_path / "metadata.csv", table)
    pd.testing.assert_frame_equal(records.read_metadata(tmp_path / "metadata.csv"), table)
    assert list(table.columns) == ["image_id", "age", "sex", "localization", "dx_type"]
    assert table["image_id"].is_monotonic_increasing


def test_the_metadata_of_ham10000(ham10000_dir):
    table = records.metadata_table(read_index(ham10000_dir / "HAM10000_metadata.csv"))
    frame = attributes.attributes(table["image_id"], table)
    assert (frame["age"] == "unknown").sum() == 57
    assert (frame["localization"] == "unknown").sum() == 234
    assert set(frame["dx_type"]) == {"histo", "follow_up", "consensus", "confocal"}
    assert len(files.csv_bytes(table)) < 500_000  # small enough for Git


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("image_id,age\n", "has the columns image_id, age; expected image_id, age, sex"),
        ("image_id,age,sex,localization,dx_type\nI1,old,male,back,histo\n", "age holds something"),
        ("image_id,age,sex,localization,dx_type\n" + 2 * "I1,50,male,back,histo\n", "I1 appears twice"),
    ],
)
def test_metadata_that_break_the_format_are_refused(text, message, tmp_path):
    path = tmp_path / "metadata.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        records.read_metadata(path)


def test_metadata_of_another_run_are_refused(index):
    table = records.metadata_table(index)
    with pytest.raises(UserError, match=f"no image {table['image_id'][0]}"):
        attributes.attributes(index["image_id"], table.iloc[1:])


def test_attributes_follow_the_order_of_the_images(index):
    frame = attributes.attributes(index["image_id"][::-1], records.metadata_table(index))
    assert list(frame["sex"]) == list(index["sex"][::-1])


def test_age_bands_start_where_they_say():
    ages = pd.Series([0, 29, 30, 44, 45, 59, 60, 74, 75, 85, np.nan])
    names = ["under 30"] * 2 + ["30–44"] * 2 + ["45–59"] * 2 + ["60–74"] * 2 + ["75 and over"] * 2 + ["unknown"]
    assert list(attributes.age_band(ages)) == names


def test_groups_are_in_order_the_unknown_last():
    assert attributes.ordered_groups("sex", pd.Series(["unknown", "male", "female"])) == ["female", "male", "unknown"]
    assert attributes.ordered_groups("age", pd.Series(["60–74", "under 30"])) == ["under 30", "60–74"]
    sites = pd.Series(["unknown", "unknown", "back", "face", "face"])
    assert attributes.ordered_groups("localization", sites) == ["face", "back", "unknown"]
    assert attributes.ordered_groups("dx_type", pd.Series(["autopsy", "histo"])) == ["histo", "autopsy"]
