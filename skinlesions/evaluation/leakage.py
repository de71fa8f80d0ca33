"""The leakage audit: what an image-level split adds to a score.

HAM10000 shows many lesions on several images. A split by image trains on some of them and tests on the others. What
that is worth is measured with an experiment of its own, `injection`; `checkpoint_selection` measures what a choice made
on the test images adds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import weighted
from skinlesions.evaluation.bootstrap import Resampling, has_one_lesion, if_any
from skinlesions.evaluation.injection import DOSES, HEADS, Images, Probabilities, exposed

# The original trains and validates on one split: the first of the sorted file names of each class validate.
ORIGINAL_SHARE = 0.15

# The parts of the test images that scores are about.
EXPOSED, UNEXPOSED, ALL = "exposed", "unexposed", "all"
PARTS = (EXPOSED, UNEXPOSED, ALL)

METRICS = ("balanced_accuracy", "macro_auc", "accuracy", *(f"recall_{name}" for name in CLASSES))


def original_validation(index: pd.DataFrame) -> np.ndarray:
    """Whether the original validates on each image, bool [N]: the first 15 % of the sorted file names of each class.

    Args:
        index: image_id and dx of every image.
    """
    rank = index.sort_values("image_id").groupby("dx").cumcount().reindex(index.index)
    count = index.groupby("dx")["image_id"].transform("size")
    return (rank < (ORIGINAL_SHARE * count).astype("int64")).to_numpy()


def shared_lesions(index: pd.DataFrame, validation: np.ndarray) -> pd.DataFrame:
    """How many validation images show a lesion of which another image is trained on.

    Args:
        index: lesion_id and dx of every image.
        validation: bool [N]; all others are trained on.

    Returns:
        dx (each class with validation images, then `all`), images, shared, share.
    """
    trained = index.loc[~validation, "lesion_id"]
    table = index.loc[validation, ["dx"]].assign(shared=index.loc[validation, "lesion_id"].isin(trained))
    rows = [(name, own) for name, own in table.groupby("dx")["shared"]] + [(ALL, table["shared"])]
    return pd.DataFrame(
        [(name, len(own), int(own.sum()), float(own.mean())) for name, own in rows],
        columns=["dx", "images", "shared", "share"],
    )


def scored(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, metrics: Sequence[str] = METRICS
) -> dict[str, np.ndarray]:
    """Some of METRICS under each weighting, averaged over repeats, float64 [R + 1] each.

    Balanced accuracy and macro AUC run over the classes that occur.

    Args:
        labels: int [T].
        probabilities: of every repeat, float64 [K, T, 7].
        weights: how often each image counts, whole numbers as float32 [R + 1, T].
    """
    answers = probabilities.argmax(axis=2)
    recalls = weighted.recalls(labels, answers, weights)
    right = weighted.counts((answers == labels).T, weights) / weights.sum(axis=1, dtype=np.float64)[:, None]
    values = {"balanced_accuracy": weighted.mean(recalls), "accuracy": right}
    values |= {f"recall_{name}": recalls[:, :, position] for position, name in enumerate(CLASSES)}
    if "macro_auc" in metrics:
        values["macro_auc"] = np.stack([_macro_auc(labels, one, weights) for one in probabilities], axis=1)
    return {metric: values[metric].mean(axis=1) for metric in metrics}


def _macro_auc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean over the classes that occur of the area under the ROC curve, float64 [R + 1]; NaN with one class."""
    areas = [weighted.auc(labels == position, probabilities[:, position], weights) for position in np.unique(labels)]
    return weighted.mean(np.stack(areas, axis=1))


def change(
    labels: np.ndarray,
    groups: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    resampling: Resampling,
    metrics: Sequence[str] = METRICS,
) -> pd.DataFrame:
    """The paired change of every metric from one arm to the other on the same images.

    Args:
        labels: int [T].
        groups: the lesion of every image, [T].
        before: the probabilities of one arm, float64 [K, T, 7].
        after: those of the other.

    Returns:
        metric, images (that it rests on), clean, injected, change, low, high; without classes that do not occur.
    """
    weights = resampling.weights(groups, labels)
    clean, injected = (scored(labels, arm, weights, metrics) for arm in (before, after))
    rows = []
    for metric in metrics:
        name = metric.removeprefix("recall_")
        images = int((labels == CLASSES.index(name)).sum()) if name in CLASSES else len(labels)
        if images and not np.isnan(clean[metric][0]):
            difference = injected[metric] - clean[metric]
            own = groups[labels == CLASSES.index(name)] if name in CLASSES else groups
            ends = if_any(resampling.interval(difference), has_one_lesion(own))
            rows.append((metric, images, clean[metric][0], injected[metric][0], difference[0], *ends))
    return pd.DataFrame(rows, columns=["metric", "images", "clean", "injected", "change", "low", "high"])


@dataclass(frozen=True)
class Part:
    """Some of the tested images; see PARTS.

    Attributes:
        name: of the part.
        rows: whether each tested image is of it, bool [T].
        labels: of its images, int [n].
        groups: the lesions of its images, [n].
    """

    name: str
    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def parts(images: Images, tested: np.ndarray) -> Iterator[Part]:
    """Those of PARTS that have an image, of the `tested` images, bool [N]."""
    labels, groups = images.labels[tested], images.groups[tested]
    has_mates = exposed(images.groups, tested)
    for name, rows in zip(PARTS, (has_mates, ~has_mates, np.ones_like(has_mates)), strict=True):
        if rows.any():
            yield Part(name, rows, labels[rows], groups[rows])


def changes(images: Images, tested: np.ndarray, found: Probabilities, resampling: Resampling) -> pd.DataFrame:
    """What training on all mates adds to every score: head, part, and the columns of `change`.

    Args:
        images: of the audit.
        tested: bool [N].
        found: what injection.inject made of them.
        resampling: of the lesions.
    """
    tables = []
    for part in parts(images, tested):
        for head in HEADS:
            before, after = (found[head, dose][:, part.rows] for dose in (0.0, 1.0))
            tables.append(change(part.labels, part.groups, before, after, resampling).assign(head=head, part=part.name))
    columns = ["head", "part", "metric", "images", "clean", "injected", "change", "low", "high"]
    return pd.concat(tables, ignore_index=True)[columns]


def doses(images: Images, tested: np.ndarray, found: Probabilities, resampling: Resampling) -> pd.DataFrame:
    """What training on the mates of a share of the lesions comes to: head, part, dose, images, balanced_accuracy, low,
    high. The arguments are those of `changes`.
    """
    rows = []
    for part in parts(images, tested):
        weights = resampling.weights(part.groups, part.labels)
        for head in HEADS:
            for dose in DOSES:
                own = found[head, dose][:, part.rows]
                score = scored(part.labels, own, weights, ["balanced_accuracy"])["balanced_accuracy"]
                rows.append((head, part.name, dose, int(part.rows.sum()), score[0], *resampling.interval(score)))
    return pd.DataFrame(rows, columns=["head", "part", "dose", "images", "balanced_accuracy", "low", "high"])


def repeats(images: Images, tested: np.ndarray, found: Probabilities) -> pd.DataFrame:
    """How far the random order of the swap matters: head, repeat, change (of balanced accuracy on the exposed images).

    The arguments are those of `changes`.
    """
    rows = []
    for part in (own for own in parts(images, tested) if own.name == EXPOSED):
        once = np.ones((1, len(part.labels)), dtype=np.float32)
        for head in HEADS:
            before, *after = (
                scored(part.labels, one[None, part.rows], once, ["balanced_accuracy"])["balanced_accuracy"][0]
                for one in (found[head, 0.0][0], *found[head, 1.0])
            )
            rows += [(head, repeat, score - before) for repeat, score in enumerate(after)]
    return pd.DataFrame(rows, columns=["head", "repeat", "change"])


def original(
    images: Images, validation: np.ndarray, arms: dict[str, dict[str, np.ndarray]], resampling: Resampling
) -> pd.DataFrame:
    """The original's split scored both ways: head, part, metric, images, published, clean, injected, change, low, high.

    change, low and high are from clean to injected, which are trained on equally many images.
    """
    metrics = ("balanced_accuracy", "accuracy", "macro_auc")
    tables = []
    for part in parts(images, validation):
        once = np.ones((1, len(part.labels)), dtype=np.float32)
        for head in HEADS:
            published, clean, injected = (arms[arm][head][:, part.rows] for arm in ("published", "clean", "injected"))
            table = change(part.labels, part.groups, clean, injected, resampling, metrics)
            scores = scored(part.labels, published, once, metrics)
            table["published"] = [scores[metric][0] for metric in table["metric"]]
            tables.append(table.assign(head=head, part=part.name))
    columns = ["head", "part", "metric", "images", "published", "clean", "injected", "change", "low", "high"]
    return pd.concat(tables, ignore_index=True)[columns]


def examples(labels: np.ndarray, groups: np.ndarray, tested: np.ndarray) -> list[tuple[int, int]]:
    """For each class the row of a tested image and that of a mate of it, the first in the order of the rows."""
    pairs = []
    for label in range(len(CLASSES)):
        for row in np.flatnonzero(tested & (labels == label)):
            mates = np.flatnonzero(~tested & (groups == groups[row]))
            if len(mates):
                pairs.append((int(row), int(mates[0])))
                break
    return pairs
