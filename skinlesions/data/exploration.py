"""What is in the data: counts, missing values, colour statistics, identical images and a table of checks.

The tables are indexed by diagnosis in the order of schema.CLASSES, with a row `all` where a total means something. The
image functions read the prepared array piece by piece, so that their memory does not grow with the number of images.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from skinlesions.core import files
from skinlesions.core.classes import CLASS_NAMES, CLASSES, DX_TYPES, MALIGNANT, SEXES

# Tschandl et al., Scientific Data 5:180161 (2018), table 2 and the metadata as published.
PUBLISHED_IMAGES = 10_015
PUBLISHED_LESIONS = 7_470

# What each class of the published set comprises, after the same article.
CLASS_CONTENTS = {
    "akiec": "actinic (solar) keratoses and Bowen's disease: carcinoma still within the epidermis",
    "bcc": "the most common skin cancer; grows locally, hardly ever spreads",
    "bkl": "seborrheic keratoses, solar lentigines and lichen-planus-like keratoses",
    "df": "benign scar-like nodules, mostly on the legs",
    "mel": "all variants, invasive and in situ; the most dangerous of the seven",
    "nv": "moles: benign proliferations of melanocytes, all variants",
    "vasc": "cherry angiomas, angiokeratomas, pyogenic granulomas and bleeding into the skin",
}

# Weights of red, green and blue in the brightness that the eye sees (luma of ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114])

STATISTICS = ("red", "green", "blue", "brightness", "contrast", "redness")

# An image whose brightness varies by less than one of 255 levels shows nothing.
BLANK_CONTRAST = 1.0


# --- classes and lesions ------------------------------------------------------------------------------------------


def class_names() -> pd.DataFrame:
    """The clinical name of every class, its side of the malignant/benign divide, and what it comprises."""
    return pd.DataFrame(
        {
            "name": [CLASS_NAMES[name] for name in CLASSES],
            "group": ["malignant" if name in MALIGNANT else "benign" for name in CLASSES],
            "comprises": [CLASS_CONTENTS[name] for name in CLASSES],
        },
        index=pd.Index(CLASSES, name="dx"),
    )


def class_counts(index: pd.DataFrame) -> pd.DataFrame:
    """Images and lesions of every class: images, image_share, lesions, lesion_share, images_per_lesion; row `all` last.

    A class without images has zeros, and NaN images per lesion.
    """
    grouped = index.groupby("dx")
    counts = pd.DataFrame({"images": grouped.size(), "lesions": grouped["lesion_id"].nunique()})
    counts = counts.reindex(list(CLASSES), fill_value=0)
    counts.loc["all"] = [len(index), index["lesion_id"].nunique()]
    counts.index.name = "dx"
    counts["image_share"] = counts["images"] / len(index)
    counts["lesion_share"] = counts["lesions"] / counts.loc["all", "lesions"]
    counts["images_per_lesion"] = counts["images"] / counts["lesions"].where(counts["lesions"] > 0)
    return counts[["images", "image_share", "lesions", "lesion_share", "images_per_lesion"]]


def imbalance_ratio(counts: pd.Series) -> float:
    """How many times larger the largest class is than the smallest that has any; a row `all` is left out."""
    counts = counts.drop("all", errors="ignore")
    return float(counts.max() / counts[counts > 0].min())


def lesion_sizes(index: pd.DataFrame) -> pd.DataFrame:
    """How many lesions have 1, 2, 3 … images: lesions, images, image_share; indexed by images_in_lesion."""
    sizes = index.groupby("lesion_id").size().value_counts().sort_index()
    sizes.index.name = "images_in_lesion"
    table = sizes.to_frame("lesions")
    table["images"] = table.index * table["lesions"]
    table["image_share"] = table["images"] / len(index)
    return table


def lesion_mates(index: pd.DataFrame, held_out: float) -> pd.DataFrame:
    """How many images show a lesion of which there are other images: images, with_mates, share, exposed_share.

    `exposed_share` is what a split by image would do: the expected share of test images that have a lesion-mate in
    training if every image went to the test set on its own with probability `held_out`. An image with m mates has all
    of them beside it in the test set with probability held_out^m, and is exposed otherwise.
    """
    mates = index.groupby("lesion_id")["image_id"].transform("size") - 1
    facts = pd.DataFrame({"with_mates": mates > 0, "exposed_share": 1 - held_out**mates})
    grouped = facts.groupby(index["dx"])
    table = grouped["with_mates"].agg(images="size", with_mates="sum")
    table["share"] = table["with_mates"] / table["images"]
    table["exposed_share"] = grouped["exposed_share"].mean()
    table = table.reindex(list(CLASSES)).fillna({"images": 0, "with_mates": 0})
    means = facts.mean()
    table.loc["all"] = [len(facts), facts["with_mates"].sum(), means["with_mates"], means["exposed_share"]]
    table.index.name = "dx"
    return table.astype({"images": "int64", "with_mates": "int64"})


# --- patients and confirmation ------------------------------------------------------------------------------------


def counts_by_class(index: pd.DataFrame, column: str, values: Sequence[str] | None = None) -> pd.DataFrame:
    """Images of every class (rows) with every value of `column` (columns).

    Args:
        values: the columns in their order; None: by falling count, with `unknown` last.
    """
    if values is None:
        found = index[column].value_counts()
        values = sorted(found.index, key=lambda value: (value == "unknown", -found[value], value))
    table = pd.crosstab(index["dx"], index[column]).rename_axis(columns=None)
    return table.reindex(index=pd.Index(CLASSES, name="dx"), columns=list(values), fill_value=0)


def sex_counts(index: pd.DataFrame) -> pd.DataFrame:
    """Images of every class by sex, the missing values as `unknown`."""
    return counts_by_class(index, "sex", SEXES)


def confirmation_counts(index: pd.DataFrame) -> pd.DataFrame:
    """Images of every class by dx_type, how the diagnosis was confirmed, strongest evidence first."""
    return counts_by_class(index, "dx_type", DX_TYPES)


def age_counts(index: pd.DataFrame, step: int = 5) -> pd.DataFrame:
    """Images of every class by age, in steps of `step` years named by their first year, and last `missing`."""
    start = index["age"] // step * step
    names = start.map(lambda year: "missing" if np.isnan(year) else str(int(year)))
    oldest = 0 if start.isna().all() else int(start.max())
    columns = [*(str(year) for year in range(0, oldest + 1, step)), "missing"]
    return counts_by_class(index.assign(age=names), "age", columns)


def age_summary(index: pd.DataFrame) -> pd.DataFrame:
    """Age in years per class: images, missing, minimum, quartile_1, median, quartile_3, maximum; row `all` last."""

    def summary(ages: pd.Series) -> list[float]:
        return [len(ages), int(ages.isna().sum()), *ages.quantile([0, 0.25, 0.5, 0.75, 1])]

    columns = ["images", "missing", "minimum", "quartile_1", "median", "quartile_3", "maximum"]
    rows = {name: summary(index.loc[index["dx"] == name, "age"]) for name in CLASSES}
    rows["all"] = summary(index["age"])
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("dx")
    return table.astype({"images": "int64", "missing": "int64"})


def missing_values(index: pd.DataFrame) -> pd.DataFrame:
    """Images per class without age, sex or localization, and without at least one of them (`any`); row `all` last."""
    gaps = pd.concat([index[["age"]].isna(), index[["sex", "localization"]] == "unknown"], axis=1)
    gaps["any"] = gaps.any(axis=1)
    table = gaps.groupby(index["dx"]).sum().reindex(list(CLASSES), fill_value=0)
    table.insert(0, "images", index["dx"].value_counts().reindex(list(CLASSES), fill_value=0))
    table.loc["all"] = table.sum()
    table.index.name = "dx"
    return table


# --- images -------------------------------------------------------------------------------------------------------


def image_sizes(manifest: pd.DataFrame) -> pd.DataFrame:
    """The sizes of the raw files: width and height in pixels, images, share, median kilobytes and bits per pixel."""
    manifest = manifest.assign(bits_per_pixel=8 * manifest["bytes"] / (manifest["width"] * manifest["height"]))
    grouped = manifest.groupby(["width", "height"])
    table = grouped.agg(
        images=("bytes", "size"), kilobytes=("bytes", "median"), bits_per_pixel=("bits_per_pixel", "median")
    ).reset_index()
    table["kilobytes"] /= 1000
    table.insert(3, "share", table["images"] / len(manifest))
    return table


def image_statistics(path: Path) -> pd.DataFrame:
    """The STATISTICS of every image in the .npy file `path` (uint8 [N, H, W, 3]); row i is image i, float64 in 0–255.

    red, green and blue are means over the pixels; brightness is the mean of their luma and contrast its standard
    deviation; redness is red minus green. The sums behind them are whole numbers below 2^53, hence exact: the same on
    every processor, however it orders its additions.
    """
    rows = []
    for image in chain.from_iterable(files.read_chunks(path)):
        pixels = image.reshape(-1, 3)
        values = np.ones((4, len(pixels)))
        values[:3] = pixels.T
        sums = values @ values.T  # second moments, and in the last row the sums and the number of pixels
        mean = sums[3, :3] / len(pixels)
        covariance = sums[:3, :3] / len(pixels) - np.outer(mean, mean)
        contrast = np.sqrt(max(0.0, LUMA @ covariance @ LUMA))
        rows.append([*mean, LUMA @ mean, contrast, mean[0] - mean[1]])
    return pd.DataFrame(rows, columns=list(STATISTICS))


def statistics_by(statistics: pd.DataFrame, groups: pd.Series, order: Sequence[str]) -> pd.DataFrame:
    """The number of images per group, and mean and standard deviation (`_sd`) of every statistic, groups as `order`."""
    grouped = statistics.groupby(groups.to_numpy())
    parts = {"images": grouped.size()}
    for name in statistics:
        parts[name], parts[f"{name}_sd"] = grouped[name].mean(), grouped[name].std()
    table = pd.DataFrame(parts).reindex(list(order)).fillna({"images": 0}).astype({"images": "int64"})
    return table.rename_axis(groups.name)


def variance_explained(statistics: pd.DataFrame, groups: pd.Series) -> pd.Series:
    """The share of the variance of every statistic that lies between the groups: eta squared, 0–1."""
    deviations = statistics - statistics.mean()
    between = deviations.groupby(groups.to_numpy()).transform("mean")
    return ((between**2).sum() / (deviations**2).sum()).rename("variance_explained").rename_axis("statistic")


def redness_comparisons(index: pd.DataFrame, statistics: pd.DataFrame) -> pd.DataFrame:
    """How well redness alone tells groups of images apart: comparison, positives, negatives, auc (0.5: not at all).

    The area under the ROC curve is NaN where a group is empty.
    """
    nevus, melanoma = index["dx"] == "nv", index["dx"] == "mel"
    histology, follow_up = index["dx_type"] == "histo", index["dx_type"] == "follow_up"
    comparisons = {
        "nv by follow-up against nv by histopathology": (nevus & follow_up, nevus & histology),
        "all nv against mel": (nevus, melanoma),
        "nv by follow-up against mel": (nevus & follow_up, melanoma),
        "nv by histopathology against mel": (nevus & histology, melanoma),
    }
    rows = []
    for name, (positive, negative) in comparisons.items():
        taken = positive | negative
        both = positive.any() and negative.any()
        area = roc_auc_score(positive[taken], statistics.loc[taken.to_numpy(), "redness"]) if both else np.nan
        rows.append((name, int(positive.sum()), int(negative.sum()), area))
    return pd.DataFrame(rows, columns=["comparison", "positives", "negatives", "auc"])


def pixel_digests(path: Path) -> pd.Series:
    """The SHA-256 of the pixels of every image in the .npy file `path`; row i is image i."""
    images = chain.from_iterable(files.read_chunks(path))
    return pd.Series([files.sha256(image.tobytes()) for image in images], dtype="str")


def identical_pairs(index: pd.DataFrame, digests: pd.Series) -> pd.DataFrame:
    """Images with the same digest, each later one beside the first: image_id, lesion_id, dx of both, and same_lesion.

    Args:
        digests: of the images or of their files; row i belongs to row i of `index`.
    """
    digests = digests.to_numpy()
    table = index[["image_id", "lesion_id", "dx"]].reset_index(drop=True)
    first = pd.Series(table.index).groupby(digests).transform("first")
    later = first.index[first.to_numpy() != first.index.to_numpy()]
    left = table.loc[first[later]].reset_index(drop=True)
    right = table.loc[later].reset_index(drop=True).add_prefix("other_")
    pairs = pd.concat([left, right], axis=1)
    pairs["same_lesion"] = pairs["lesion_id"] == pairs["other_lesion_id"]
    return pairs.sort_values(["image_id", "other_image_id"], ignore_index=True)


def mosaic_positions(index: pd.DataFrame, columns: int, seed: int) -> dict[str, np.ndarray]:
    """Which images a mosaic shows: for every class up to `columns` row numbers, one image of each lesion, at random.

    Every class has its own random stream, so that a change in one class leaves the pictures of the others as they are.
    """
    positions = {}
    for number, name in enumerate(CLASSES):
        random = np.random.default_rng([seed, number])
        rows = np.flatnonzero((index["dx"] == name).to_numpy())
        shuffled = random.permutation(rows)
        one_each = shuffled[~index["lesion_id"].iloc[shuffled].duplicated().to_numpy()]
        # Shuffled again: the lesions with many images have come to the front.
        positions[name] = random.permutation(one_each)[:columns]
    return positions


# --- checks -------------------------------------------------------------------------------------------------------


def data_quality(
    index: pd.DataFrame,
    metadata: pd.DataFrame,
    manifest: pd.DataFrame,
    statistics: pd.DataFrame,
    pixel_pairs: pd.DataFrame,
    source: dict[str, Any],
) -> pd.DataFrame:
    """Every check of the data: check, expected, found, verdict.

    The verdict is `pass`: as expected; `note`: the study allows for it, and a reader should know; or `fail`: something
    that the study rests on does not hold.

    Args:
        index: data/prepared/index.csv.
        metadata: data/raw/metadata.csv.
        manifest: data/raw/manifest.csv.
        statistics: image_statistics of the prepared images.
        pixel_pairs: identical_pairs of the prepared images.
        source: data/raw/source.json.
    """
    rows: list[tuple[str, str, str, str]] = []

    def check(text: str, expected: object, found: object, otherwise: str) -> None:
        rows.append((text, f"{expected:,}", f"{found:,}", "pass" if found == expected else otherwise))

    published = source["source"] == "ham10000"
    check("images", PUBLISHED_IMAGES if published else source["images"], len(index), "fail")
    check("lesions", PUBLISHED_LESIONS if published else source["lesions"], index["lesion_id"].nunique(), "fail")

    unmatched = set(metadata["image_id"]) ^ set(manifest["image_id"])
    check("images without metadata, or metadata without an image", 0, len(unmatched), "fail")
    check("prepared images", len(index), len(statistics), "fail")
    columns = [name for name in metadata.columns if name in index.columns]
    both = metadata.merge(index[columns], how="outer", on=columns, indicator=True)
    check("rows in which the index differs from the metadata", 0, int((both["_merge"] != "both").sum()), "fail")
    check("image identifiers used twice", 0, int(index["image_id"].duplicated().sum()), "fail")
    check("diagnoses outside the seven classes", 0, len(set(index["dx"]) - set(CLASSES)), "fail")
    check("classes without an image", 0, len(set(CLASSES) - set(index["dx"])), "fail")

    by_lesion = index.groupby("lesion_id")
    varied = by_lesion[["dx", "dx_type", "age", "sex", "localization"]].nunique(dropna=False) > 1
    check("lesions with more than one diagnosis", 0, int(varied["dx"].sum()), "fail")
    for column in ("dx_type", "age", "sex", "localization"):
        check(f"lesions with more than one {column}", 0, int(varied[column].sum()), "note")

    for column, count in missing_values(index).loc["all", ["age", "sex", "localization"]].items():
        check(f"images without {column}", 0, int(count), "note")
    check("images with an age of 0 years", 0, int((index["age"] == 0).sum()), "note")

    unconfirmed = index["dx_type"] != "histo"
    malignant = index["dx"].isin(MALIGNANT)
    check("malignant images not confirmed by histopathology", 0, int((unconfirmed & malignant).sum()), "note")
    check("benign images not confirmed by histopathology", 0, int((unconfirmed & ~malignant).sum()), "note")

    check("sizes of the raw images", 1, len(manifest.groupby(["width", "height"])), "note")
    check("files that repeat another, byte for byte", 0, int(manifest["sha256"].duplicated().sum()), "note")
    within = int(pixel_pairs["same_lesion"].sum())
    check("images that repeat another of the same lesion, pixel for pixel", 0, within, "note")
    across = len(pixel_pairs) - within
    check("images that repeat one of another lesion, pixel for pixel", 0, across, "fail")
    check("blank images", 0, int((statistics["contrast"] < BLANK_CONTRAST).sum()), "fail")
    return pd.DataFrame(rows, columns=["check", "expected", "found", "verdict"])
