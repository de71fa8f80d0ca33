"""The scores of predictions on images with known diagnoses: what `skinlesions evaluate` prints.

The files are those that skinlesions.data.submissions reads. The scores and their intervals are those of the report, so
that a method from anywhere can be set beside its models; beside them stand those of the official scorer of the ISIC
challenges. Needs neither images nor weights, a GPU or Keras.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import inflected, plain, plural
from skinlesions.core.names import CALIBRATION_METRICS, CLASS_METRIC_NAMES, METRIC_NAMES
from skinlesions.data import isic_csv, submissions
from skinlesions.evaluation import challenge, influence, weighted
from skinlesions.evaluation.bootstrap import (
    bootstrap,
    has_one_lesion,
    if_any,
    interval,
    lesion_resamples,
    one_lesion_classes,
)
from skinlesions.evaluation.metrics import OF_THE_CLASS, OVERALL_METRICS, weighted_summary

# Where the command line says nothing else.
CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 0
METHOD = "percentile"

# Numbers of all resamples together, of two bytes each: more is too much memory for most machines.
MAXIMUM_DRAWS = 2_000_000_000

CHALLENGE_TITLES = {"f1": "F1", "ppv": "PPV", "npv": "NPV", "auc": "AUC", "average_precision": "av. prec."}

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
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Every score of skinlesions.evaluation.metrics.ALL_METRICS with its interval, from resampled groups.

    What is undefined on these images is left out: every score of a class that has no image, the precision of one that
    is never predicted, the area under the curve where there is one class only.

    Args:
        labels: the true class of every image, int [N], positions in CLASSES.
        probabilities: float [N, 7], in [0, 1]. Rows need not sum to 1: those scores that are of distributions
            (CALIBRATION_METRICS) are of the rows divided by their sums, and all others of the rows as they are.
        groups: the lesion of every image, [N], of any sortable type.
        confidence: of every interval, such as 0.95.
        resamples: how many bootstrap resamples of the lesions.
        seed: of the resampling.
        method: of the intervals, one of intervals.METHODS.
        weights: how much each image counts, float [N]; None: all the same.

    Returns:
        metric, class ("" if it is over all classes), estimate, low, high; in the order of SCORES. The interval is NaN
        where no resample has a value, or where it would have no width because the score rests on one lesion.

    Raises:
        ValueError: `method` is unknown.
        UserError: `method` is bca, and weights are given; or there are more resamples than memory.
    """
    if resamples * len(labels) > MAXIMUM_DRAWS:
        raise UserError(
            f"{resamples:,} resamples of {len(labels):,} images are too many to be held in memory; "
            f"ask for at most {MAXIMUM_DRAWS // len(labels):,}"
        )
    if weights is not None and method == "bca":
        raise UserError("bca intervals are for images that all count the same; take percentile intervals")
    drawn: np.ndarray = lesion_resamples(groups, labels, resamples, seed)
    return resampled(labels, probabilities, groups, drawn, confidence, method, weights)


def resampled(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    drawn: np.ndarray,
    confidence: float,
    method: str,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """What `score` gives, from resamples that are drawn already: how often each image is in each, `drawn` [R, N]."""
    once = np.ones((1, len(labels)))
    if weights is not None:
        drawn, once = drawn * weights, once * weights
    found = {name: float(value[0]) for name, value in _by_both(weighted_summary, labels, probabilities, once).items()}
    draws = _by_both(bootstrap, labels, probabilities, drawn)
    jackknife = {} if method != "bca" else _jackknife(labels, probabilities, groups)
    occurring = {"", *(CLASSES[k] for k in np.unique(labels))}
    alone = one_lesion_classes(labels, groups)
    rows = []
    for metric, dx in SCORES:
        value = found[name := _name(metric, dx)]
        if dx in occurring and not np.isnan(value):
            ends = interval(draws[name], value, jackknife.get(name), confidence, method)
            one_lesion = has_one_lesion(groups) or (dx in alone and metric in OF_THE_CLASS)
            rows.append((metric, dx, value, *if_any(ends, one_lesion)))
    return pd.DataFrame(rows, columns=["metric", "class", "estimate", "low", "high"])


def _by_both(
    summarize: Callable[..., dict[str, np.ndarray]], labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """What `summarize` gives by class: of the probabilities as they are, and where it matters of distributions."""
    values = summarize(labels, probabilities, weights, by_class=True)
    if _off(probabilities).any():
        of_distributions = summarize(labels, distributions(probabilities), weights)
        values |= {name: of_distributions[name] for name in CALIBRATION_METRICS}
    return values


def _jackknife(labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """`influence.jackknife` of the probabilities as they are, and where it matters of distributions."""
    values = influence.jackknife(labels, probabilities, groups)
    if _off(probabilities).any():
        of_distributions = influence.jackknife(labels, distributions(probabilities), groups)
        values |= {name: of_distributions[name] for name in CALIBRATION_METRICS}
    return values


def _off(probabilities: np.ndarray) -> np.ndarray:
    """Which rows do not sum to 1, bool [N]."""
    return np.abs(probabilities.sum(axis=1) - 1) > isic_csv.SUM_TOLERANCE


def distributions(values: np.ndarray) -> np.ndarray:
    """The rows of `values` [N, C] divided by their sums; rows of zeros, which say nothing, are spread evenly."""
    sums = values.sum(axis=1, keepdims=True)
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1), 1 / values.shape[1])


def report(
    predictions: Path, ground_truth: Path, *, confidence: float, resamples: int, seed: int, method: str = METHOD
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The scores of one file of predictions, as `score` returns them, and what else is to be known about them.

    Raises:
        UserError: a file breaks its form, or the two do not have the same images.
    """
    matched = submissions.read(predictions, ground_truth)
    scored, validated = matched.weights.T
    seven = np.isin(np.array(matched.categories)[matched.truth], CLASSES) & (scored > 0)
    notes = [*matched.notes, *_notes(matched, seven)]
    if not seven.any():
        raise UserError(f"{paths.relative(ground_truth)}: no image counts; each is of another class or has no weight")
    labels, probabilities = matched.of(seven, CLASSES)
    groups = (matched.images if matched.lesions is None else matched.lesions)[seven]
    weights = scored[seven]
    settings: Settings = {"confidence": confidence, "resamples": resamples, "seed": seed, "method": method}
    scores = score(labels, probabilities, groups, **settings, weights=None if np.ptp(weights) == 0 else weights)
    return scores, {
        "images": len(labels),
        "images_by_class": {dx: int((labels == k).sum()) for k, dx in enumerate(CLASSES)},
        "lesions": None if matched.lesions is None else len(np.unique(groups)),
        "resampled": "images" if matched.lesions is None else "lesions",
        **settings,
        "notes": notes,
        "challenge": _challenge(matched, scored, validated),
    }


def _challenge(matched: submissions.Matched, scored: np.ndarray, validated: np.ndarray) -> dict[str, Any]:
    """What the official scorer of the challenges says of the same files, None where it is undefined."""
    names = [name.upper() for name in matched.categories]
    table = challenge.by_class(matched.truth, matched.values, scored, names)
    balanced = {
        name: challenge.balanced_accuracy(matched.truth, matched.values, weights)
        for name, weights in (("balanced_accuracy", scored), ("balanced_accuracy_validation", validated))
    }
    values = {
        **balanced,
        "macro_average": challenge.macro_average(table),
        "by_class": {row.pop("class"): row for row in table.to_dict("records")},
    }
    return _defined(values)


def _defined(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with None for NaN, at any depth."""
    return {
        name: _defined(value) if isinstance(value, dict) else None if np.isnan(value) else value
        for name, value in values.items()
    }


def _notes(matched: submissions.Matched, seven: np.ndarray) -> list[str]:
    """What is to be known of the values as such, a sentence each."""
    notes = []
    counted = matched.weights[:, 0] > 0
    if idle := int((~counted).sum()):
        notes.append(f"{plain(plural(idle, 'image'))} without weight left out, such as {matched.images[~counted][0]}")
    if others := int((counted & ~seven).sum()):
        notes.append(
            f"{plain(plural(others, 'image'))} of classes beside the seven: only in the scores of the official scorer"
        )
    if len(matched.categories) > len(CLASSES):
        notes.append("the scores with intervals tell the seven classes apart, whatever was predicted for the others")
    if not seven.any():
        return notes
    _, values = matched.of(seven, CLASSES)
    answers = weighted.answers(values)
    if undecided := int((answers == len(CLASSES)).sum()):
        verb = inflected(undecided, "has its", "have their")
        notes.append(
            f"{plain(plural(undecided, 'image'))} {verb} largest probability twice: undecided, which counts as wrong"
        )
    sums = values.sum(axis=1)
    if off := int(_off(values).sum()):
        notes.append(
            f"{plain(plural(off, 'row'))} with another sum than 1 ({sums.min():.3g} to {sums.max():.3g}): divided by "
            "it for the log-likelihood, the Brier score and the calibration error, and taken as they are for all else"
        )
    if np.isin(values, (0, 1)).all():
        notes.append("answers only, no probabilities: areas, log-likelihood and calibration rest on 0 and 1")
    if len(kinds := np.unique(answers)) == 1 and kinds[0] < len(CLASSES):
        dx = CLASSES[kinds[0]]
        notes.append(f"every answer is {dx}: these are the scores of always answering {dx}, whatever the image shows")
    return notes


def as_json(scores: pd.DataFrame, about: dict[str, Any]) -> dict[str, Any]:
    """What `report` returns as one JSON object: `scores` by metric, `scores_by_class` by metric and class."""
    overall: dict[str, Any] = {}
    by_class: dict[str, dict[str, Any]] = {}
    for metric, dx, *values in scores.itertuples(index=False):
        entry = _defined(dict(zip(("estimate", "low", "high"), values, strict=True)))
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
    lines = [f"{counted}; {kind} intervals from {about['resamples']:,} resamples of {unit}"]
    lines += [*_left_out(scores, about), *(f"note: {text}" for text in about["notes"])]

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
    return "\n".join([*lines, "", *_challenge_lines(about["challenge"])])


def _challenge_lines(scores: dict[str, Any]) -> list[str]:
    """The scores of the official scorer as a table for a terminal."""
    titles = [CHALLENGE_TITLES.get(metric, metric) for metric in challenge.METRICS]
    rows = scores["by_class"] | {"mean": scores["macro_average"]}
    width = max(map(len, rows))
    lines = [f"As the official scorer of the challenge has it: balanced accuracy {_four(scores['balanced_accuracy'])}"]
    if scores["balanced_accuracy_validation"] != scores["balanced_accuracy"]:
        lines[0] += f", with the weights of the validation {_four(scores['balanced_accuracy_validation'])}"
    lines.append("(each class called at a probability above 0.5; what has no cases counts as 1)")
    lines.append(f"{'':<{width}}  {'  '.join(f'{title:>11}' for title in titles)}")
    for name, row in rows.items():
        lines.append(f"{name:<{width}}  {'  '.join(f'{_four(row[metric]):>11}' for metric in challenge.METRICS)}")
    return lines


def _four(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


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
