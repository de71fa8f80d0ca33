import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from skinlesions.core.classes import CLASSES
from skinlesions.data.sources import drawing, sample
from skinlesions.data.sources.checks import check_image, check_metadata


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    """The images of the smallest sample."""
    return dict(sample.images(sample.metadata(100, seed=7), seed=7))


@pytest.mark.parametrize("count", [100, 350, 2000])
@pytest.mark.parametrize("seed", [0, 1, 2018])
def test_metadata_fulfil_the_real_schema(count, seed):
    table = sample.metadata(count, seed)
    assert len(table) == count
    as_text = table.assign(age=table["age"].map(lambda age: "" if np.isnan(age) else str(age)))
    assert check_metadata(as_text, "sample").equals(table)


@pytest.mark.parametrize("count", [100, 350, 2000])
def test_classes_are_skewed_but_none_is_too_small_for_the_folds(count):
    table = sample.metadata(count, 2018)
    lesions = table.groupby("dx")["lesion_id"].nunique()
    assert set(lesions.index) == set(CLASSES)
    assert lesions.min() >= sample.MINIMUM_LESIONS
    images = table["dx"].value_counts()
    assert images.index[0] == "nv"
    if count >= 350:
        assert images["nv"] / count > 0.55
        assert list(images.index[:3]) in (["nv", "mel", "bkl"], ["nv", "bkl", "mel"])
    assert table["lesion_id"].nunique() < count  # some lesions have several images
    assert table["lesion_id"].value_counts().max() <= 4


def test_what_is_true_of_a_lesion_is_true_of_all_its_images():
    table = sample.metadata(350, 2018)
    for column in ("dx", "dx_type", "age", "sex", "localization"):
        assert table.groupby("lesion_id")[column].nunique(dropna=False).max() == 1


def test_missing_values_and_confirmation_are_as_in_the_real_data():
    table = sample.metadata(350, 2018)
    assert 1 <= table["age"].isna().sum() <= 20
    assert (table["sex"] == "unknown").any() and (table["localization"] == "unknown").any()
    assert set(table.loc[table["dx"].isin(["mel", "bcc", "akiec"]), "dx_type"]) == {"histo"}
    assert "follow_up" in set(table.loc[table["dx"] == "nv", "dx_type"])
    assert set(table.loc[table["dx_type"] == "follow_up", "dx"]) == {"nv"}


def test_the_same_seed_draws_the_same_bytes_and_another_one_does_not(drawn):
    table = sample.metadata(100, seed=7)
    rows = table[table["lesion_id"].isin(table["lesion_id"].unique()[:5])]
    again = dict(sample.images(rows, seed=7))
    assert again == {image_id: drawn[image_id] for image_id in rows["image_id"]}
    other = dict(sample.images(rows, seed=8))
    assert all(other[image_id] != content for image_id, content in again.items())


def test_images_are_whole_different_and_of_one_size(drawn):
    assert len({hashlib.sha256(content).digest() for content in drawn.values()}) == len(drawn) == 100
    assert {check_image(content) for content in drawn.values()} == {(drawing.WIDTH, drawing.HEIGHT)}


def test_a_lesion_in_the_middle_differs_from_the_skin_around_it(drawn):
    """In most images, so that there is something to see; some are faint, as in life."""
    contrasts = []
    for content in drawn.values():
        pixels = np.asarray(Image.open(io.BytesIO(content)), "float64")
        middle, rim = pixels[90:150, 120:200], pixels[100:140, 10:40]
        contrasts.append(np.abs(middle.mean((0, 1)) - rim.mean((0, 1))).max())
    assert np.mean(np.array(contrasts) > 15) > 0.75


def test_the_note_says_that_nothing_follows_for_real_lesions():
    assert "Synthetic" in sample.NOTE and "No number" in sample.NOTE
