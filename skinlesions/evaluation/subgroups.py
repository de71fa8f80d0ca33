"""How well a model does on parts of the images: by sex, age, localization, and how the diagnosis was confirmed.

A group's score says how the model does on the images of that group in this data set. It does not say why: groups
differ in which diagnoses they hold, in the hospital and in the camera. No label of skin tone exists in HAM10000, so
nothing can be said about it. NumPy and pandas are all it needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES, MALIGNANT
from skinlesions.core.names import ALL, ALL_IMAGES, MINIMUM_LESIONS
from skinlesions.evaluation import thresholds, weighted
from skinlesions.evaluation.attributes import ATTRIBUTES, attributes, ordered_groups
from skinlesions.evaluation.bootstrap import estimate, estimates, has_one_lesion, with_sample

METRICS = ("balanced_accuracy", "macro_auc", "malignant_auc", "recall_mel", "sensitivity", "specificity")

# Those that are compared with all other images.
RATES = ("balanced_accuracy", "recall_mel", "sensitivity", "specificity")


@dataclass(frozen=True)
class Scored:
    """The test images with what a model says of them.

    Attributes:
        labels: int64 [N], positions in CLASSES.
        lesions: the lesion of every image, [N].
        probabilities: float64 [N, 7].
        predicted: the class that the model answers, int64 [N].
        called: whether the model calls an image malignant, bool [N]; thresholds.fold_thresholds chooses at which
            score on validation images.
        attributes: as attributes.attributes returns it, N rows.
    """

    labels: np.ndarray
    lesions: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    called: np.ndarray
    attributes: pd.DataFrame


def scored(
    test: thresholds.Part,
    val: thresholds.Part,
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
        metadata: as records.read_metadata returns it.
        predicted: the class that the model answers, int [N]; None: that of the greatest probability. The answer for
            balanced accuracy is another one where probabilities state how common the classes are.
        specificity: at which images are called malignant, on the validation images.

    Raises:
        UserError: `metadata` lacks an image, or the validation images of a fold leave no threshold to choose.
    """
    limits = thresholds.fold_thresholds(val, MALIGNANT, "specificity", specificity)
    called = thresholds.called(test, MALIGNANT, limits)
    predicted = test.probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted)
    return Scored(test.labels, test.groups, test.probabilities, predicted, called, attributes(image_ids, metadata))


@dataclass(frozen=True)
class Group:
    """Some of the images, and what is counted among them.

    Attributes:
        attribute: what the images are grouped by; ALL for all of them.
        name: of the group.
        rows: its images, int [n].
        counts: as `_counts` returns them, of these images, [R + 1, 18].
    """

    attribute: str
    name: str
    rows: np.ndarray
    counts: np.ndarray

    @property
    def head(self) -> dict[str, Any]:
        """What a row about it begins with."""
        return {"attribute": self.attribute, "group": self.name}


def tables(scored: Scored, weights: np.ndarray, confidence: float) -> dict[str, pd.DataFrame]:
    """Everything that is tabulated about groups, the first of which is all images (ALL, ALL_IMAGES).

    Args:
        scored: the test images.
        weights: how often each image counts in each resample of the lesions, whole numbers [R, N].
        confidence: of the intervals.
    """
    weights = with_sample(weights)
    parts = counted(scored, weights)
    return {
        "groups": groups(scored, parts),
        "group_scores": group_scores(scored, parts, weights, confidence),
        "group_differences": group_differences(scored, parts, confidence),
        "nevi": nevi(scored, weights, confidence),
    }


def counted(scored: Scored, weights: np.ndarray) -> list[Group]:
    """Every group of every attribute, all images first; `weights` as bootstrap.with_sample returns them."""
    kinds = _kinds(scored)
    return [
        Group(attribute, name, rows, weighted.counts(kinds[rows], np.take(weights, rows, axis=1)))
        for attribute, name, rows in _groups(scored.attributes)
    ]


def groups(scored: Scored, parts: list[Group]) -> pd.DataFrame:
    """The groups: attribute, group, images, lesions, classes (those present, each with its number of lesions)."""
    return pd.DataFrame(
        [{**group.head, **_contents(scored.labels[group.rows], scored.lesions[group.rows])} for group in parts]
    )


def group_scores(scored: Scored, parts: list[Group], weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """How well the model does on each group.

    Returns:
        attribute, group, metric (one of METRICS), images and lesions that the score rests on, value, low, high, small
        ("yes" or "no": see MINIMUM_LESIONS). Balanced accuracy and macro AUC run over the classes present, and are
        small if one of these has too few lesions. Scores that a group has no images for are left out.
    """
    rows = []
    for group in parts:
        labels, lesions = scored.labels[group.rows], scored.lesions[group.rows]
        values = _rates(group.counts) | _areas(scored, group.rows, weights)
        for metric in METRICS:
            if not np.isnan(values[metric][0]):
                basis = _basis(metric, labels, lesions)
                low_high = _columns("value", values[metric], confidence, one_lesion=basis["lesions"] == 1)
                small = {"small": _small(metric, labels, lesions)}
                rows.append({**group.head, "metric": metric, **basis, **low_high, **small})
    return pd.DataFrame(rows)


def group_differences(scored: Scored, parts: list[Group], confidence: float) -> pd.DataFrame:
    """How far each group is from all other images.

    Returns:
        attribute, group, metric (one of RATES), difference (the group less all other images), low, high, small (of
        the group or of the others).
    """
    rows = []
    for group in parts:
        others = np.setdiff1d(np.arange(len(scored.labels)), group.rows)
        own, rest = _rates(group.counts), _rates(parts[0].counts - group.counts)
        for metric in RATES:
            change = own[metric] - rest[metric]
            if not np.isnan(change[0]):
                sides = [(metric, scored.labels[part], scored.lesions[part]) for part in (group.rows, others)]
                small = {"small": "yes" if "yes" in [_small(*side) for side in sides] else "no"}
                rows.append({**group.head, "metric": metric, **_columns("difference", change, confidence), **small})
    return pd.DataFrame(rows, columns=["attribute", "group", "metric", "difference", "low", "high", "small"])


def nevi(scored: Scored, weights: np.ndarray, confidence: float) -> pd.DataFrame:
    """The nevi by how they were confirmed.

    All malignant lesions of HAM10000 are confirmed by histopathology, but most nevi by follow-up, which are the ones
    that nobody thought worth excising. A specificity over all nevi is mostly about these easy ones.

    Args:
        scored: the test images.
        weights: as bootstrap.with_sample returns them, [R + 1, N].
        confidence: of the intervals.

    Returns:
        dx_type, images, lesions, recall (called nv), specificity (not called malignant), with intervals; the last row
        is histopathology less follow-up.
    """
    nevus = scored.labels == CLASSES.index("nv")
    ways = np.column_stack([scored.predicted == CLASSES.index("nv"), ~scored.called])
    names = ("recall", "specificity")
    rows, found = [], {}
    for kind in ordered_groups("dx_type", scored.attributes["dx_type"][nevus]):
        own = nevus & (scored.attributes["dx_type"] == kind).to_numpy()
        found[kind] = dict(zip(names, weighted.rates(own, ways, weights)[0].T, strict=True))
        one_lesion = names if has_one_lesion(scored.lesions[own]) else ()
        sizes = {"images": int(own.sum()), "lesions": len(np.unique(scored.lesions[own]))}
        rows.append({"dx_type": kind} | sizes | estimates(found[kind], confidence, one_lesion=one_lesion))
    if {"histo", "follow_up"} <= set(found):
        change = {name: found["histo"][name] - found["follow_up"][name] for name in names}
        head = {"dx_type": "histo less follow_up", "images": "", "lesions": ""}
        rows.append(head | estimates(change, confidence))
    return pd.DataFrame(rows)


def _groups(frame: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """Every attribute and group with the rows of its images, all images first."""
    yield ALL, ALL_IMAGES, np.arange(len(frame))
    for attribute in ATTRIBUTES:
        for group in ordered_groups(attribute, frame[attribute]):
            yield attribute, group, np.flatnonzero(frame[attribute] == group)


def _kinds(scored: Scored) -> np.ndarray:
    """What is counted, bool [N, 18]: the images of each class, those recalled, then malignant ones, malignant ones
    called so, benign ones, benign ones not called malignant.
    """
    truth = np.eye(len(CLASSES), dtype=bool)[scored.labels]
    recalled = truth & (scored.predicted == scored.labels)[:, None]
    malignant = thresholds.positives(scored.labels, MALIGNANT)
    binary = [malignant, malignant & scored.called, ~malignant, ~malignant & ~scored.called]
    return np.column_stack([truth, recalled, *binary])


def _rates(counts: np.ndarray) -> dict[str, np.ndarray]:
    """RATES under each weighting, float64 [R + 1] each, from counts of `_kinds`; NaN with nothing to divide by."""
    classes = len(CLASSES)
    images, hits = counts[:, :classes], counts[:, classes : 2 * classes]
    malignant, found, benign, spared = counts[:, 2 * classes :].T
    recalls = weighted.ratio(hits, images)
    return {
        "balanced_accuracy": weighted.mean(recalls),
        "recall_mel": recalls[:, CLASSES.index("mel")],
        "sensitivity": weighted.ratio(found, malignant),
        "specificity": weighted.ratio(spared, benign),
    }


def _areas(scored: Scored, rows: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The areas under the ROC curves of a group, float64 [R + 1] each; NaN without both kinds of image."""
    labels, probabilities, own = scored.labels[rows], scored.probabilities[rows], np.take(weights, rows, axis=1)

    def area(classes: tuple[str, ...]) -> np.ndarray:
        """Some classes against the rest."""
        return weighted.auc(thresholds.positives(labels, classes), thresholds.scores(probabilities, classes), own)

    areas = np.stack([area((name,)) for position, name in enumerate(CLASSES) if (labels == position).any()])
    return {"macro_auc": weighted.mean(areas.T), "malignant_auc": area(MALIGNANT)}


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
    malignant = thresholds.positives(labels, MALIGNANT)
    masks = {"recall_mel": labels == CLASSES.index("mel"), "sensitivity": malignant, "specificity": ~malignant}
    mask = masks.get(metric, np.ones(len(labels), dtype=bool))
    return {"images": int(mask.sum()), "lesions": _lesions(mask, lesions)}


def _small(metric: str, labels: np.ndarray, lesions: np.ndarray) -> str:
    """Whether a score of a group rests on too few lesions: "yes" or "no"."""
    malignant = thresholds.positives(labels, MALIGNANT)
    if metric in ("balanced_accuracy", "macro_auc"):
        kinds = [labels == label for label in np.unique(labels)]
    elif metric == "malignant_auc":
        kinds = [malignant, ~malignant]
    else:
        return "yes" if _basis(metric, labels, lesions)["lesions"] < MINIMUM_LESIONS else "no"
    return "yes" if min(_lesions(kind, lesions) for kind in kinds) < MINIMUM_LESIONS else "no"


def _columns(name: str, values: np.ndarray, confidence: float, *, one_lesion: bool = False) -> dict[str, float]:
    """The estimate, first of `values` [R + 1], as `name`, with low and high."""
    return dict(zip((name, "low", "high"), estimate(values, confidence, one_lesion=one_lesion), strict=True))
