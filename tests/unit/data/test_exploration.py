import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import classes, files
from skinlesions.core.classes import CLASSES
from skinlesions.data import exploration


@pytest.fixture(scope="module")
def published(ham10000_dir):
    """The metadata of HAM10000, in the form of the index."""
    return classes.read_index(ham10000_dir / "HAM10000_metadata.csv")


@pytest.fixture
def index():
    """Two lesions per class with one and two images; nothing missing, everything confirmed by histopathology."""
    rows = [
        (f"image_{3 * number + image:02}", f"{name}_{min(image, 1)}", name)
        for number, name in enumerate(CLASSES)
        for image in range(3)
    ]
    table = pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx"])
    return table.assign(dx_type="histo", age=50.0, sex="female", localization="back")


def save_images(folder, images):
    path = folder / "images.npy"
    files.write_array(path, np.asarray(images, dtype=np.uint8))
    return path


# --- the published metadata ---------------------------------------------------------------------------------------


def test_published_counts(published):
    counts = exploration.class_counts(published)
    assert counts["images"].to_dict() == {
        "akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142, "all": 10015,
    }  # fmt: skip
    assert counts["lesions"].to_dict() == {
        "akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98, "all": 7470,
    }  # fmt: skip
    assert counts.loc[list(CLASSES), "image_share"].sum() == pytest.approx(1)
    assert exploration.imbalance_ratio(counts["images"]) == pytest.approx(6705 / 115)


def test_published_missing_values_and_confirmation(published):
    missing = exploration.missing_values(published)
    assert missing.loc["all", ["age", "sex", "localization"]].tolist() == [57, 57, 234]
    confirmed = exploration.confirmation_counts(published)
    assert confirmed.loc["nv", ["follow_up", "histo", "consensus"]].tolist() == [3704, 2498, 503]
    for name in classes.MALIGNANT:
        assert confirmed.loc[name, "histo"] == confirmed.loc[name].sum()


def test_published_lesions(published):
    sizes = exploration.lesion_sizes(published)
    assert sizes["lesions"].sum() == 7470
    assert sizes["images"].sum() == 10015
    mates = exploration.lesion_mates(published, held_out=0.2)
    assert mates.loc["all", "with_mates"] == 10015 - sizes.loc[1, "lesions"]
    assert (mates["exposed_share"] <= mates["share"]).all()


def test_every_cross_table_counts_every_published_image(published):
    for table in (
        exploration.sex_counts(published),
        exploration.confirmation_counts(published),
        exploration.age_counts(published),
        exploration.counts_by_class(published, "localization"),
    ):
        assert table.to_numpy().sum() == 10015
        assert table.sum(axis=1).tolist() == exploration.class_counts(published)["images"].drop("all").tolist()
    assert exploration.age_counts(published)["missing"].sum() == 57
    assert exploration.counts_by_class(published, "localization").columns[-1] == "unknown"


# --- tables -------------------------------------------------------------------------------------------------------


def test_a_class_without_images_is_counted_as_zero(index):
    index = index[index["dx"] != "df"]
    counts = exploration.class_counts(index)
    assert counts.loc["df", ["images", "lesions", "image_share"]].tolist() == [0, 0, 0]
    assert np.isnan(counts.loc["df", "images_per_lesion"])
    assert exploration.imbalance_ratio(counts["images"]) == 1
    assert exploration.age_summary(index).loc["df", "images"] == 0
    assert exploration.missing_values(index).loc["df"].sum() == 0
    assert exploration.lesion_mates(index, 0.2).loc["df", "images"] == 0


def test_exposed_share_is_the_expectation_over_all_splits():
    lesions = ["a", "b", "b", "c", "c", "c"]
    held_out = 0.3
    index = pd.DataFrame({"image_id": list("123456"), "lesion_id": lesions, "dx": "nv"})
    chances = []  # per image: of having a mate in training, given that the image is in the test set
    for image in range(len(lesions)):
        chance = 0.0
        others = [other for other in range(len(lesions)) if other != image]
        for sides in itertools.product((True, False), repeat=len(others)):  # True: in the test set
            probability = np.prod([held_out if side else 1 - held_out for side in sides])
            mate_in_training = any(
                lesions[other] == lesions[image] and not side for other, side in zip(others, sides, strict=True)
            )
            chance += probability * mate_in_training
        chances.append(chance)
    mates = exploration.lesion_mates(index, held_out)
    assert mates.loc["nv", "exposed_share"] == pytest.approx(np.mean(chances))
    assert mates.loc["nv", ["images", "with_mates"]].tolist() == [6, 5]


def test_ages_fall_into_steps_and_missing_ones_stand_apart(index):
    ages = [0.0, 4.9, 5.0, 42.0, np.nan, *[85.0] * 16]
    table = exploration.age_counts(index.assign(age=ages)).sum()
    assert list(table.index) == [*map(str, range(0, 90, 5)), "missing"]
    assert table[["0", "5", "40", "85", "missing"]].tolist() == [2, 1, 1, 16, 1]
    assert exploration.age_counts(index.assign(age=np.nan)).sum().to_dict() == {"0": 0, "missing": 21}


def test_values_are_ordered_by_count_with_unknown_last(index):
    sites = ["unknown"] * 10 + ["face"] * 2 + ["back"] * 2 + ["ear"] * 7
    table = exploration.counts_by_class(index.assign(localization=sites), "localization")
    assert list(table.columns) == ["ear", "back", "face", "unknown"]


def test_image_sizes():
    manifest = pd.DataFrame({"bytes": [1000, 3000, 500], "width": [100, 100, 50], "height": [80, 80, 40]})
    table = exploration.image_sizes(manifest).set_index(["width", "height"])
    assert table.loc[(100, 80)].tolist() == pytest.approx([2, 2 / 3, 2.0, 2.0])
    assert table.loc[(50, 40)].tolist() == pytest.approx([1, 1 / 3, 0.5, 2.0])


# --- images -------------------------------------------------------------------------------------------------------


def test_statistics_equal_a_naive_computation(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 3)
    images = np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), dtype=np.uint8)
    statistics = exploration.image_statistics(save_images(tmp_path, images))
    assert tuple(statistics.columns) == exploration.STATISTICS
    assert len(statistics) == 8
    for image, row in zip(images.astype(float), statistics.itertuples(), strict=True):
        luma = 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]
        assert row.red == pytest.approx(image[..., 0].mean(), rel=1e-12)
        assert row.green == pytest.approx(image[..., 1].mean(), rel=1e-12)
        assert row.blue == pytest.approx(image[..., 2].mean(), rel=1e-12)
        assert row.brightness == pytest.approx(luma.mean(), rel=1e-12)
        assert row.contrast == pytest.approx(luma.std(), rel=1e-9)
        assert row.redness == pytest.approx(row.red - row.green)


def test_a_plain_image_has_no_contrast(tmp_path):
    images = np.stack([np.full((16, 16, 3), level) for level in (0, 37, 255)])
    statistics = exploration.image_statistics(save_images(tmp_path, images))
    assert statistics["contrast"].max() < 1e-5
    assert statistics["brightness"].tolist() == pytest.approx([0, 37, 255])


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 32)

    def peak(count):
        path = save_images(tmp_path, np.zeros((count, 64, 64, 3)))
        tracemalloc.start()
        exploration.image_statistics(path)
        exploration.pixel_digests(path)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(64)  # imports and caches
    assert peak(512) < 1.5 * peak(64)


def test_statistics_by_group():
    statistics = pd.DataFrame({"redness": [1.0, 3.0, 10.0]})
    table = exploration.statistics_by(statistics, pd.Series(["b", "b", "a"], name="dx"), ["a", "b", "c"])
    assert table["images"].tolist() == [1, 2, 0]
    assert table["redness"].tolist()[:2] == [10, 2]
    assert table.loc["b", "redness_sd"] == pytest.approx(np.sqrt(2))
    assert np.isnan(table.loc["c", "redness"])


def test_variance_explained():
    groups = pd.Series(["a", "a", "b", "b"])
    table = pd.DataFrame({"all": [1.0, 1, 5, 5], "none": [1.0, 5, 1, 5], "half": [0.0, 2, 2, 4]})
    assert exploration.variance_explained(table, groups).tolist() == pytest.approx([1, 0, 0.5])


def test_redness_comparisons_take_the_right_images(index):
    index = index.assign(dx_type="histo")
    nevi = index.index[index["dx"] == "nv"]
    index.loc[nevi[0], "dx_type"] = "follow_up"
    statistics = pd.DataFrame({"redness": np.zeros(len(index))})
    statistics.loc[nevi[0], "redness"] = 1.0  # the only nevus under follow-up is the reddest of all
    table = exploration.redness_comparisons(index, statistics).set_index("comparison")
    assert table["positives"].tolist() == [1, 3, 1, 2]
    assert table["negatives"].tolist() == [2, 3, 3, 3]
    assert table["auc"].tolist() == pytest.approx([1, 0.5 + 0.5 / 3, 1, 0.5])
    others = index["dx"] != "mel"
    assert np.isnan(exploration.redness_comparisons(index[others], statistics[others])["auc"][1:]).all()


# --- identical images ---------------------------------------------------------------------------------------------


def test_planted_duplicates_are_found_and_nothing_else(index, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 4)
    images = np.random.default_rng(0).integers(0, 256, (len(index), 12, 12, 3), dtype=np.uint8)
    images[2] = images[1]  # within a lesion
    images[20] = images[3]  # in another lesion and class
    images[10] = images[9]
    images[10, 5, 5, 1] ^= 1  # all but identical
    pairs = exploration.identical_pairs(index, exploration.pixel_digests(save_images(tmp_path, images)))
    assert pairs[["image_id", "other_image_id", "dx", "other_dx", "same_lesion"]].to_numpy().tolist() == [
        ["image_01", "image_02", "akiec", "akiec", True],
        ["image_03", "image_20", "bcc", "vasc", False],
    ]


def test_each_further_copy_is_one_pair(index):
    digests = pd.Series(["same" if row in (4, 6, 19) else str(row) for row in range(len(index))])
    pairs = exploration.identical_pairs(index, digests)
    assert pairs["image_id"].tolist() == ["image_04", "image_04"]
    assert pairs["other_image_id"].tolist() == ["image_06", "image_19"]


def test_no_duplicates_give_an_empty_table(index):
    pairs = exploration.identical_pairs(index, pd.Series(range(len(index))).astype(str))
    assert pairs.empty
    assert "same_lesion" in pairs


# --- the mosaic ---------------------------------------------------------------------------------------------------


def test_mosaic_shows_one_image_per_lesion_of_the_right_class(published):
    positions = exploration.mosaic_positions(published, 8, seed=1)
    assert tuple(positions) == CLASSES
    for name, rows in positions.items():
        shown = published.iloc[rows]
        assert len(shown) == 8
        assert set(shown["dx"]) == {name}
        assert shown["lesion_id"].is_unique


def test_mosaic_depends_on_the_seed_alone(published):
    def rows(seed, table=published):
        return {name: found.tolist() for name, found in exploration.mosaic_positions(table, 8, seed).items()}

    assert rows(1) == rows(1)
    assert rows(1)["mel"] != rows(2)["mel"]
    without_nevi = published[published["dx"] != "nv"].reset_index(drop=True)
    shown = [list(table["image_id"].iloc[rows(1, table)["mel"]]) for table in (published, without_nevi)]
    assert shown[0] == shown[1]


def test_mosaic_takes_what_there_is(index):
    positions = exploration.mosaic_positions(index[index["dx"] != "df"].reset_index(drop=True), 5, seed=0)
    assert {name: len(rows) for name, rows in positions.items()} == {name: 2 for name in CLASSES} | {"df": 0}


# --- the table of checks ------------------------------------------------------------------------------------------


@pytest.fixture
def quality(index):
    """A function that checks data which pass, after changes to them: quality(metadata=…, …) → the checks not passed."""
    metadata = index[list(classes.METADATA_COLUMNS)]
    manifest = pd.DataFrame(
        {
            "image_id": index["image_id"],
            "sha256": [f"{row:064}" for row in range(len(index))],
            "bytes": 1000,
            "width": 320,
            "height": 240,
        }
    )
    given = {
        "index": index,
        "metadata": metadata,
        "manifest": manifest,
        "statistics": pd.DataFrame({"contrast": np.full(len(index), 20.0)}),
        "pixel_pairs": exploration.identical_pairs(index, manifest["sha256"]),
        "source": {"source": "sample", "images": 21, "lesions": 14},
    }

    def check(**changes):
        table = exploration.data_quality(**(given | changes))
        assert list(table.columns) == ["check", "expected", "found", "verdict"]
        return {row.check: (row.found, row.verdict) for row in table.itertuples() if row.verdict != "pass"}

    check.given = given
    return check


def test_sound_data_pass_every_check(quality):
    assert quality() == {}


def changed(table, row, column, value):
    table = table.copy()
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("age", np.nan, {"images without age": ("1", "note"), "lesions with more than one age": ("1", "note")}),
        ("age", 0.0, {"images with an age of 0 years": ("1", "note"), "lesions with more than one age": ("1", "note")}),
        ("sex", "unknown", {"images without sex": ("1", "note"), "lesions with more than one sex": ("1", "note")}),
        ("localization", "face", {"lesions with more than one localization": ("1", "note")}),
        (
            "dx_type",
            "consensus",
            {
                "malignant images not confirmed by histopathology": ("1", "note"),
                "lesions with more than one dx_type": ("1", "note"),
            },
        ),
        ("dx", "mel", {"lesions with more than one diagnosis": ("1", "fail")}),
    ],
)
def test_a_planted_value_is_flagged(quality, column, value, expected):
    changes = {name: changed(quality.given[name], 1, column, value) for name in ("index", "metadata")}
    assert quality(**changes) == expected


def test_an_unconfirmed_benign_image_is_noted(quality):
    last = len(quality.given["index"]) - 3  # the lesion of class vasc that has one image
    changes = {name: changed(quality.given[name], last, "dx_type", "consensus") for name in ("index", "metadata")}
    assert quality(**changes) == {"benign images not confirmed by histopathology": ("1", "note")}


def test_an_index_that_differs_from_the_metadata_fails(quality):
    assert quality(metadata=changed(quality.given["metadata"], 0, "sex", "male")) == {
        "rows in which the index differs from the metadata": ("2", "fail")
    }


def test_a_missing_file_fails(quality):
    assert quality(manifest=quality.given["manifest"].iloc[1:]) == {
        "images without metadata, or metadata without an image": ("1", "fail")
    }


def test_faults_of_the_images_are_flagged(quality):
    given = quality.given
    assert quality(manifest=changed(given["manifest"], 0, "width", 640)) == {"sizes of the raw images": ("2", "note")}
    assert quality(manifest=changed(given["manifest"], 1, "sha256", f"{2:064}")) == {
        "files that repeat another, byte for byte": ("1", "note")
    }
    assert quality(statistics=changed(given["statistics"], 5, "contrast", 0.2)) == {"blank images": ("1", "fail")}
    assert quality(statistics=given["statistics"].iloc[1:]) == {"prepared images": ("20", "fail")}


def test_repeats_are_noted_within_a_lesion_and_fail_across(quality):
    digests = quality.given["manifest"]["sha256"].copy()
    digests[2] = digests[1]
    digests[20] = digests[3]
    pairs = exploration.identical_pairs(quality.given["index"], digests)
    assert quality(pixel_pairs=pairs) == {
        "images that repeat another of the same lesion, pixel for pixel": ("1", "note"),
        "images that repeat one of another lesion, pixel for pixel": ("1", "fail"),
    }


def test_counts_are_held_against_the_published_ones(quality):
    source = {"source": "ham10000", "images": 21, "lesions": 14}
    assert quality(source=source) == {"images": ("21", "fail"), "lesions": ("14", "fail")}


def test_an_absent_class_fails(quality):
    keep = quality.given["index"]["dx"] != "df"
    changes = {name: quality.given[name][keep] for name in ("index", "metadata", "manifest", "statistics")}
    source = {"source": "sample", "images": 18, "lesions": 12}
    assert quality(**changes, source=source) == {"classes without an image": ("1", "fail")}
