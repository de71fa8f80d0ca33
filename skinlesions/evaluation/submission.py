"""The scores of predictions on images with known diagnoses: what `skinlesions evaluate` prints.

Both files are CSV as skinlesions.data.isic_csv describes it. The scores and their intervals are those of the report, so
that a method from anywhere can be set beside its models. Needs neither images nor weights, a GPU or Keras.
"""

from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES, class_indices
from skinlesions.core.names import CLASS_METRIC_NAMES, METRIC_NAMES
from skinlesions.data import isic_csv
from skinlesions.evaluation import influence
from skinlesions.evaluation.bootstrap import (
    bootstrap,
    has_one_lesion,
    if_any,
    interval,
    lesion_resamples,
    one_lesion_classes,
)
from skinlesions.evaluation.metrics import OF_THE_CLASS, OVERALL_METRICS, summary

# Where the command line says nothing else.
CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 0
METHOD = "percentile"

METHOD_NAMES = {"percentile": "percentile", "bca": "bias-corrected and accelerated (bca)"}

# (metric, class or "") of every score, the overall ones first.
SCORES = (
    *((metric, "") for metric in (*OVERALL_METRICS, "macro_average_precision")),
    *((metric, dx) for metric in CLASS_METRIC_NAMES for dx in CLASSES),
)


class Settings(TypedDict):
    """How `score` computes the intervals."""

    confidence: float
    resamples: int
    seed: int
    method: str


def score(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    method: str = METHOD,
) -> pd.DataFrame:
    """Every score of skinlesions.evaluation.metrics.ALL_METRICS with its interval, from resampled groups.

    What is undefined on these images is left out: every score of a class that has no image, the precision of one that
    is never predicted, the area under the curve where there is one class only.

    Args:
        labels: the true class of every image, int [N], positions in CLASSES.
        probabilities: float [N, 7].
        groups: the lesion of every image, [N], of any sortable type.
        confidence: of every interval, such as 0.95.
        resamples: how many bootstrap resamples of the lesions.
        seed: of the resampling.
        method: of the intervals, one of intervals.METHODS.

    Returns:
        metric, class ("" if it is over all classes), estimate, low, high; in the order of SCORES. The interval is NaN
        where no resample has a value, or where it would have no width because the score rests on one lesion.

    Raises:
        ValueError: `method` is unknown.
    """
    weights = lesion_resamples(groups, labels, resamples, seed)
    return resampled(labels, probabilities, groups, weights, confidence, method)


def resampled(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray,
    confidence: float,
    method: str,
) -> pd.DataFrame:
    """What `score` gives, from resamples that are drawn already: `weights` [R, N]."""
    estimates = summary(labels, probabilities, by_class=True)
    draws = bootstrap(labels, probabilities, weights, by_class=True)
    jackknife = influence.jackknife(labels, probabilities, groups) if method == "bca" else {}
    occurring = {"", *(CLASSES[k] for k in np.unique(labels))}
    alone = one_lesion_classes(labels, groups)
    rows = []
    for metric, dx in SCORES:
        value = estimates[name := _name(metric, dx)]
        if dx in occurring and not np.isnan(value):
            ends = interval(draws[name], value, jackknife.get(name), confidence, method)
            one_lesion = has_one_lesion(groups) or (dx in alone and metric in OF_THE_CLASS)
            rows.append((metric, dx, value, *if_any(ends, one_lesion)))
    return pd.DataFrame(rows, columns=["metric", "class", "estimate", "low", "high"])


def report(
    predictions: Path, ground_truth: Path, *, confidence: float, resamples: int, seed: int, method: str = METHOD
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The scores of one file of predictions, as `score` returns them, and what else is to be known about them.

    Raises:
        UserError: a file breaks its format, or the two do not have the same images.
    """
    matched = isic_csv.match(
        isic_csv.read(predictions),
        isic_csv.read_ground_truth(ground_truth),
        paths.relative(predictions),
        paths.relative(ground_truth),
    )
    labels = class_indices(matched["dx"]).to_numpy()
    has_lesions = bool(matched["lesion_id"].notna().all())
    groups = matched["lesion_id" if has_lesions else "image"].to_numpy(dtype=str)
    probabilities = isic_csv.probabilities(matched)
    settings: Settings = {"confidence": confidence, "resamples": resamples, "seed": seed, "method": method}
    return score(labels, probabilities, groups, **settings), {
        "images": len(matched),
        "images_by_class": {dx: int((labels == k).sum()) for k, dx in enumerate(CLASSES)},
        "lesions": len(np.unique(groups)) if has_lesions else None,
        "resampled": "lesions" if has_lesions else "images",
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
        "method": method,
    }


def as_json(scores: pd.DataFrame, about: dict[str, Any]) -> dict[str, Any]:
    """What `report` returns as one JSON object: `scores` by metric, `scores_by_class` by metric and class."""
    overall: dict[str, Any] = {}
    by_class: dict[str, dict[str, Any]] = {}
    for metric, dx, *values in scores.itertuples(index=False):
        entry = {
            name: None if np.isnan(value) else value
            for name, value in zip(("estimate", "low", "high"), values, strict=True)
        }
        if dx:
            by_class.setdefault(metric, {})[dx] = entry
        else:
            overall[metric] = entry
    return {**about, "scores": overall, "scores_by_class": by_class}


def as_text(scores: pd.DataFrame, about: dict[str, Any]) -> str:
    """What `report` returns as text for a terminal: what was scored, then one aligned line per score."""
    if about["resampled"] == "lesions":
        counted, unit = f"{about['images']:,} images of {about['lesions']:,} lesions", "lesions"
    else:
        counted = f"{about['images']:,} images"
        unit = "images: the ground truth has no lesion_id, so each image counts as a lesion of its own"
    kind = METHOD_NAMES[about["method"]]
    lines = [f"{counted}; {kind} intervals from {about['resamples']:,} resamples of {unit}", *_left_out(scores, about)]

    names = [METRIC_NAMES[_name(metric, dx)] for metric, dx in zip(scores["metric"], scores["class"], strict=True)]
    width = max(map(len, names))
    lines += ["", f"{'':<{width}}  estimate  {100 * about['confidence']:g} % interval"]
    previous = ""
    for name, (metric, dx, estimate, low, high) in zip(names, scores.itertuples(index=False), strict=True):
        if dx and metric != previous:
            lines.append("")
            previous = metric
        interval = "none" if np.isnan(low) else f"{low:.4f} to {high:.4f}"
        lines.append(f"{name:<{width}}  {estimate:>8.4f}  {interval}")
    return "\n".join(lines)


def _left_out(scores: pd.DataFrame, about: dict[str, Any]) -> list[str]:
    """One sentence for every class without an image, and one for the other scores that are undefined."""
    absent = [dx for dx, images in about["images_by_class"].items() if not images]
    given = set(zip(scores["metric"], scores["class"], strict=True))
    undefined = [METRIC_NAMES[_name(*key)] for key in SCORES if key not in given and key[1] not in absent]
    lines = [f"no image of {dx}: its scores are left out, and means over classes run over the others" for dx in absent]
    return lines + ([f"undefined here and left out: {', '.join(undefined)}"] if undefined else [])


def _name(metric: str, dx: str) -> str:
    """A score as skinlesions.evaluation.metrics calls it."""
    return f"{metric}_{dx}" if dx else metric
