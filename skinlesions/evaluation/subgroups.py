"""How well a model does on parts of the images: by sex, age, localization, and how the diagnosis was confirmed.

A group's score says how the model does on the images of that group in this data set. It does not say why: groups
differ in which diagnoses they hold, in the hospital and in the camera. No label of skin tone exists in HAM10000, so
nothing can be said about it. NumPy and pandas are all it needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES, DX_TYPES, MALIGNANT, SEXES
from skinlesions.core.errors import UserError
from skinlesions.core.names import ALL, ALL_IMAGES, MINIMUM_LESIONS
from skinlesions.evaluation import operating_points
from skinlesions.evaluation.bootstrap import percentile_interval

# What is published of the metadata, so that all of this can be recomputed without the images.
METADATA_COLUMNS = ("image_id", "age", "sex", "localization", "dx_type")

ATTRIBUTES = ("sex", "age", "localization", "dx_type")
# Those of the patient and the lesion; how a diagnosis was confirmed follows from what the lesion looked like.
COMPARED = ("sex", "age", "localization")

# The first year of each band, and what the band is called.
AGE_BANDS = ((0, "under 30"), (30, "30–44"), (45, "45–59"), (60, "60–74"), (75, "75 and over"))
UNKNOWN = "unknown"


METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc", "recall_mel", "sensitivity", "specificity")
# Those that are compared with all other images.
RATES = ("balanced_accuracy", "recall_mel", "sensitivity", "specificity")


# --- metadata ---------------------------------------------------------------------------------------------------


def metadata_table(index: pd.DataFrame) -> pd.DataFrame:
    """METADATA_COLUMNS of every image of the prepared `index`, sorted by image_id.

    Without lesions and diagnoses, which the published predictions have.
    """
    return index[list(METADATA_COLUMNS)].sort_values("image_id", kind="stable", ignore_index=True)


def read_metadata(path: Path) -> pd.DataFrame:
    """The table that `metadata_table` made, from the CSV file `path`; an unknown age is NaN.

    Raises:
        UserError: the file is absent, or breaks the format.
    """
    name = paths.relative(path)
    try:
        table = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values={"age": [""]})
    except FileNotFoundError:
        raise UserError(f"{name} does not exist. Run `make report`, or restore it from Git.") from None
    except ValueError as error:
        raise UserError(f"{name} cannot be read as CSV: {error}. Restore it from Git.") from None
    if list(table.columns) != list(METADATA_COLUMNS):
        raise UserError(f"{name} has the columns {', '.join(table.columns)}; expected {', '.join(METADATA_COLUMNS)}")
    if not pd.api.types.is_numeric_dtype(table["age"]):
        raise UserError(f"{name}: the column age holds something that is not a number; restore the file from Git")
    if table["image_id"].duplicated().any():
        raise UserError(f"{name}: image {table['image_id'][table['image_id'].duplicated()].iloc[0]} appears twice")
    return table


def age_band(age: pd.Series) -> pd.Series:
    """The name of the band of every age in years; UNKNOWN where there is none."""
    starts = [start for start, _ in AGE_BANDS]
    positions = np.searchsorted(starts, age.fillna(-1), side="right") - 1
    names = np.array([*(name for _, name in AGE_BANDS), UNKNOWN], dtype=object)
    return pd.Series(names[positions], index=age.index)


def attributes(image_ids: pd.Series, metadata: pd.DataFrame) -> pd.DataFrame:
    """The group of every image by each of ATTRIBUTES, in the order of `image_ids`.

    Raises:
        UserError: `metadata` lacks an image.
    """
    known = metadata.set_index("image_id")
    missing = sorted(set(image_ids) - set(known.index))
    if missing:
        raise UserError(
            f"the metadata have no image {missing[0]} ({len(missing)} of {len(image_ids)} images are missing); "
            "they belong to another run than the predictions"
        )
    rows = known.loc[image_ids].reset_index(drop=True)
    return rows.assign(age=age_band(rows["age"]))[list(ATTRIBUTES)]


def ordered_groups(attribute: str, values: pd.Series) -> list[str]:
    """The groups that occur among `values`, in the order in which they are tabulated, the unknown ones last."""
    orders = {"sex": SEXES, "age": [name for _, name in AGE_BANDS], "dx_type": DX_TYPES}
    by_size = values.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    order = orders.get(attribute, by_size)
    present = [name for name in order if name != UNKNOWN and (values == name).any()]
    others = sorted(set(values) - set(present) - {UNKNOWN})
    return present + others + [UNKNOWN] * bool((values == UNKNOWN).any())


# --- scores -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """The test images with what a model says of them.

    Attributes:
        labels: int64 [N], positions in CLASSES.
        lesions: the lesion of every image, [N].
        probabilities: float64 [N, 7].
        predicted: the class that the model answers, int64 [N].
        called: whether the model calls an image malignant, bool [N]; operating_points.called chooses the threshold
            on validation images.
        attributes: as `attributes` returns it, N rows.
    """

    labels: np.ndarray
    lesions: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    called: np.ndarray
    attributes: pd.DataFrame


def scored(
    test: operating_points.Part,
    val: operating_points.Part,
    image_ids: pd.Series,
    metadata: pd.DataFrame,
    *,
    predicted: np.ndarray | None = None,
    specificity: float = 0.90,
) -> Scored:
    """The test images of a model, or of an ensemble, as `tables` takes them.

    Args:
        test: the test images; rows as in predictions.select(table, "test").
        val: the validation images, which choose the threshold of every fold.
        image_ids: of the test images.
        metadata: as `read_metadata` returns it.
        predicted: the class that the model answers, int [N]; None: that of the greatest probability. The answer for
            balanced accuracy is another one where probabilities state how common the classes are.
        specificity: at which images are called malignant, on the validation images.

    Raises:
        UserError: `metadata` lacks an image, or the validation images of a fold leave no threshold to choose.
    """
    thresholds = operating_points.fold_thresholds(val, MALIGNANT, "specificity", specificity)
    called = operating_points.called(test, MALIGNANT, thresholds)
    predicted = test.probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted)
    return Scored(test.labels, test.groups, test.probabilities, predicted, called, attributes(image_ids, metadata))


def tables(scored: Scored, weights: np.ndarray, confidence: float) -> dict[str, pd.DataFrame]:
    """Everything that is tabulated about groups, the first of which is all images (ALL, ALL_IMAGES).

    - groups: attribute, group, images, lesions, classes (those present, each with its number of lesions).
    - group_scores: attribute, group, metric (one of METRICS), images and lesions that the score rests on, value,
      low, high, small ("yes" or "no": see MINIMUM_LESIONS). Balanced accuracy and macro AUC run over the classes
      present, and are small if one of these has too few lesions. Scores that a group has no images for are left
      out.
    - group_differences: attribute, group, metric (one of RATES), difference (the group less all other images),
      low, high, small (of the group or of the others).
    - nevi: dx_type, images, lesions, recall (called nv), specificity (not called malignant), with intervals; the
      last row is histopathology less follow-up.

    Args:
        scored: the test images.
        weights: how often each image counts in each resample of the lesions, whole numbers [R, N].
        confidence: of the intervals.
    """
    weights = operating_points.with_sample(weights)
    indicators = _indicators(scored)
    everything = _sums(weights, indicators)
    groups, scores, differences = [], [], []
    for attribute, group, rows in _groups(scored.attributes):
        own = _sums(weights[:, rows], indicators[rows])
        labels, lesions = scored.labels[rows], scored.lesions[rows]
        head = {"attribute": attribute, "group": group}
        groups.append(head | _contents(labels, lesions))
        values = _rates(own) | _areas(scored, rows, weights)
        for metric in METRICS:
            if not np.isnan(values[metric][0]):
                row = head | {"metric": metric} | _basis(metric, labels, lesions)
                row |= _estimate("value", values[metric], confidence)
                scores.append(row | {"small": _small(metric, labels, lesions)})
        others = np.setdiff1d(np.arange(len(scored.labels)), rows)
        rest = _rates(everything - own)
        for metric in RATES:
            change = _rates(own)[metric] - rest[metric]
            if not np.isnan(change[0]):
                sides = (_small(metric, scored.labels[part], scored.lesions[part]) for part in (rows, others))
                small = {"small": "yes" if "yes" in sides else "no"}
                differences.append(head | {"metric": metric} | _estimate("difference", change, confidence) | small)
    return {
        "groups": pd.DataFrame(groups),
        "group_scores": pd.DataFrame(scores),
        "group_differences": pd.DataFrame(
            differences, columns=["attribute", "group", "metric", "difference", "low", "high", "small"]
        ),
        "nevi": _nevi(scored, weights, confidence),
    }


def _nevi(scored: Scored, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """The nevi by how they were confirmed, as in `tables`; `weights` float32 [R + 1, N], the first row the sample's.

    All malignant lesions of HAM10000 are confirmed by histopathology, but most nevi by follow-up, which are the ones
    that nobody thought worth excising. A specificity over all nevi is mostly about these easy ones.
    """
    nevus = scored.labels == CLASSES.index("nv")
    predicted = scored.predicted == CLASSES.index("nv")
    rows, found = [], {}
    for kind in ordered_groups("dx_type", scored.attributes["dx_type"][nevus]):
        own = nevus & (scored.attributes["dx_type"] == kind).to_numpy()
        found[kind] = {
            "recall": operating_points.rates(own, predicted, weights)[0],
            "specificity": operating_points.rates(own, ~scored.called, weights)[0],
        }
        sizes = {"images": int(own.sum()), "lesions": len(np.unique(scored.lesions[own]))}
        rows.append({"dx_type": kind} | sizes | _both(found[kind], confidence))
    if {"histo", "follow_up"} <= set(found):
        change = {name: found["histo"][name] - found["follow_up"][name] for name in ("recall", "specificity")}
        rows.append({"dx_type": "histo less follow_up", "images": "", "lesions": ""} | _both(change, confidence))
    return pd.DataFrame(rows)


def _both(values: dict[str, np.ndarray], confidence: float) -> dict[str, float]:
    """The estimates and intervals of recall and specificity."""
    recall, specificity = (operating_points.estimated(name, own, confidence) for name, own in values.items())
    return recall | specificity


def _groups(frame: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Every attribute and group with the rows of its images, all images first."""
    yield ALL, ALL_IMAGES, np.arange(len(frame))
    for attribute in ATTRIBUTES:
        for group in ordered_groups(attribute, frame[attribute]):
            yield attribute, group, np.flatnonzero(frame[attribute] == group)


def _indicators(scored: Scored) -> np.ndarray:
    """What is counted, float32 [N, 18]: the images of each class, those recalled, then malignant ones, malignant ones
    called so, benign ones, benign ones not called malignant.
    """
    truth = np.eye(len(CLASSES))[scored.labels]
    recalled = truth * (scored.predicted == scored.labels)[:, None]
    malignant = operating_points.positives(scored.labels, MALIGNANT)
    binary = [malignant, malignant & scored.called, ~malignant, ~malignant & ~scored.called]
    return np.column_stack([truth, recalled, *binary]).astype(np.float32)


def _sums(weights: np.ndarray, indicators: np.ndarray) -> np.ndarray:
    """The weighted counts, float64 [R + 1, 18]; whole numbers below 2^24, exact in single precision."""
    return (weights @ indicators).astype(np.float64)


def _rates(sums: np.ndarray) -> dict[str, np.ndarray]:
    """RATES under each weighting, float64 [R + 1] each, from `_sums`; NaN where there is nothing to divide by."""
    count = len(CLASSES)
    images, hits = sums[:, :count], sums[:, count : 2 * count]
    malignant, found, benign, spared = sums[:, 2 * count :].T
    recalls = operating_points.ratio(hits, images)
    present = (images > 0).sum(axis=1)
    return {
        "balanced_accuracy": operating_points.ratio(np.nansum(recalls, axis=1), present),
        "recall_mel": recalls[:, CLASSES.index("mel")],
        "sensitivity": operating_points.ratio(found, malignant),
        "specificity": operating_points.ratio(spared, benign),
    }


def _areas(scored: Scored, rows: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The areas under the ROC curves of a group, float64 [R + 1] each; NaN without both kinds of image."""
    labels, probabilities, own = scored.labels[rows], scored.probabilities[rows], weights[:, rows]

    def area(classes: tuple[str, ...]) -> np.ndarray:
        """Some classes against the rest."""
        score = operating_points.scores(probabilities, classes)
        return operating_points.resampled(operating_points.positives(labels, classes), score, own, ["auc"])["auc"]

    areas = np.stack([area((name,)) for position, name in enumerate(CLASSES) if (labels == position).any()])
    defined = ~np.isnan(areas)
    return {
        "macro_auc": operating_points.ratio(np.where(defined, areas, 0).sum(axis=0), defined.sum(axis=0)),
        "malignant_auc": area(MALIGNANT),
    }


def _contents(labels: np.ndarray, lesions: np.ndarray) -> dict[str, int | str]:
    """How many images and lesions a group has, and of which classes."""
    sizes = {name: _lesions(labels == position, lesions) for position, name in enumerate(CLASSES)}
    return {
        "images": len(labels),
        "lesions": len(np.unique(lesions)),
        "classes": ", ".join(f"{name} {size}" for name, size in sizes.items() if size),
    }


def _lesions(mask: np.ndarray, lesions: np.ndarray) -> int:
    """How many different lesions are among those that `mask` (bool [n]) chooses."""
    return len(np.unique(lesions[mask]))


def _basis(metric: str, labels: np.ndarray, lesions: np.ndarray) -> dict[str, int]:
    """The images and lesions that a score of a group rests on."""
    malignant = operating_points.positives(labels, MALIGNANT)
    masks = {"recall_mel": labels == CLASSES.index("mel"), "sensitivity": malignant, "specificity": ~malignant}
    mask = masks.get(metric, np.ones(len(labels), dtype=bool))
    return {"images": int(mask.sum()), "lesions": _lesions(mask, lesions)}


def _small(metric: str, labels: np.ndarray, lesions: np.ndarray) -> str:
    """Whether a score of a group rests on too few lesions: "yes" or "no"."""
    malignant = operating_points.positives(labels, MALIGNANT)
    if metric in ("balanced_accuracy", "macro_auc"):
        kinds = [labels == label for label in np.unique(labels)]
    elif metric == "malignant_auc":
        kinds = [malignant, ~malignant]
    else:
        return "yes" if _basis(metric, labels, lesions)["lesions"] < MINIMUM_LESIONS else "no"
    return "yes" if min(_lesions(kind, lesions) for kind in kinds) < MINIMUM_LESIONS else "no"


def _estimate(name: str, values: np.ndarray, confidence: float) -> dict[str, float]:
    """The first of `values` [R + 1] with the interval of the others."""
    low, high = percentile_interval(values[1:], confidence)
    return {name: float(values[0]), "low": low, "high": high}
