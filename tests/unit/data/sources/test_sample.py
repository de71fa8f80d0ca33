import dataclasses
import hashlib
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinlesions.core.classes import CLASSES
from skinlesions.data.sources import drawing, sample
from skinlesions.data.sources.checks import check_image, check_metadata


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    """The images of the smallest sample."""
    return dict(sample.images(sample.metadata(100, seed=7), seed=7))


@pytest.fixture(scope="module")
def studied() -> tuple[pd.DataFrame, np.ndarray]:
    """A sample large enough to learn from: its metadata, and 12 colour statistics of every image, [N, 12]."""
    table = sample.metadata(300, seed=7)
    contents = dict(sample.images(table, seed=7))
    return table, np.stack([colours(contents[image_id]) for image_id in table["image_id"]])


def colours(content: bytes) -> np.ndarray:
    """Means and deviations of the three channels, over the image and over its middle."""
    pixels = np.asarray(Image.open(io.BytesIO(content)), "float64")
    parts = [part.reshape(-1, 3) for part in (pixels, pixels[60:120, 80:160])]
    return np.concatenate([statistic for part in parts for statistic in (part.mean(0), part.std(0))])


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
        assert set(images.index[1:3]) == {"mel", "bkl"}
        assert images.min() == round(sample.MINIMUM_SHARE * count)
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
        middle, rim = pixels[68:112, 90:150], pixels[75:105, 8:30]
        contrasts.append(np.abs(middle.mean((0, 1)) - rim.mean((0, 1))).max())
    assert np.mean(np.array(contrasts) > 15) > 0.75


def test_simple_statistics_tell_the_classes_apart_but_not_all_of_them(studied):
    """Colour alone gets some way; guessing gets 1/7."""
    table, statistics = studied
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    answers = cross_val_predict(classifier, statistics, table["dx"], groups=table["lesion_id"], cv=GroupKFold(5))
    assert 0.45 < recall_score(table["dx"], answers, average="macro") < 0.9


def test_images_of_one_lesion_are_more_alike_than_those_of_two_of_its_class(studied):
    table, statistics = studied
    scaled = StandardScaler().fit_transform(statistics)
    distance = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    lesion, dx = table["lesion_id"].to_numpy(), table["dx"].to_numpy()
    same_class, same_lesion = dx[:, None] == dx, lesion[:, None] == lesion
    np.fill_diagonal(distance, np.nan)
    assert np.nanmedian(distance[same_lesion]) < 0.7 * np.nanmedian(distance[same_class & ~same_lesion])


def test_nevi_that_were_followed_up_are_told_by_their_tint(studied):
    """The confound: how a nevus was confirmed can be read off the rim of its photograph."""
    table, statistics = studied
    nevi = (table["dx"] == "nv").to_numpy()
    followed, others = (nevi & (table["dx_type"] == kind).to_numpy() for kind in ("follow_up", "histo"))
    redness = statistics[:, 0] / statistics[:, 1]
    higher = redness[followed][:, None] > redness[others]  # their mean is the area under the ROC curve
    assert higher.mean() > 0.85


def test_some_lesions_look_like_another_class_and_the_share_is_as_stated():
    lesions = [f"SAMPLE_LESION_{number:05d}" for number in range(1, 4001)]
    wrong = np.array([sample.looks_like("nv", lesion, seed=1) != "nv" for lesion in lesions])
    assert wrong.mean() == pytest.approx(sample.MISLABELLED, abs=0.01)
    assert {sample.looks_like("nv", lesion, seed=1) for lesion in lesions} == {"nv", sample.MISTAKEN["nv"]}
    assert set(sample.MISTAKEN) == set(CLASSES) and all(dx != other for dx, other in sample.MISTAKEN.items())


def test_age_sex_and_site_go_with_the_diagnosis():
    """As in HAM10000: keratoses and carcinomas in old faces, fibromas on legs, more men with cancer."""
    table = sample.metadata(5000, seed=7).drop_duplicates("lesion_id")
    by_class = table.groupby("dx")
    assert by_class["age"].mean()[["akiec", "bcc", "mel"]].min() > by_class["age"].mean()["nv"] + 8
    assert (table["sex"] == "male")[table["dx"].isin(["akiec", "bcc", "mel"])].mean() > 0.55
    most_frequent = by_class["localization"].agg(lambda column: column.mode()[0])
    assert most_frequent["akiec"] == "face" and most_frequent["df"] == "lower extremity"


def test_every_structure_of_a_look_can_be_drawn_and_changes_the_lesion():
    plain = dataclasses.replace(drawing.LOOKS["nv"], structures={})
    assert {name for look in drawing.LOOKS.values() for name in look.structures} == set(drawing.STRUCTURES)
    without = np.asarray(drawing.paint(plain, np.random.default_rng(3)), "int64")
    for name in drawing.STRUCTURES:
        look = dataclasses.replace(plain, structures={name: 1.0})
        changed = np.abs(np.asarray(drawing.paint(look, np.random.default_rng(3)), "int64") - without).max(axis=2) > 10
        assert 0.0005 < changed.mean() < 0.5, name


def test_the_note_says_that_nothing_follows_for_real_lesions():
    assert "Synthetic" in sample.NOTE and "No number" in sample.NOTE
