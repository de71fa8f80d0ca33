"""The comparison of models: which is best, on which classes, and which differences are more than chance.

All models are scored on the same images and the same bootstrap resamples of lesions, so that differences are paired.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import ALWAYS_NV, CALIBRATION_METRICS, DESCRIBED, INTERVAL_METRICS
from skinlesions.data import predictions
from skinlesions.evaluation import influence
from skinlesions.evaluation.bootstrap import bootstrap, holm, interval
from skinlesions.evaluation.classification import confusion_table
from skinlesions.evaluation.metrics import ALL_METRICS, CLASS_METRICS, summary
from skinlesions.evaluation.pairwise import Paired
from skinlesions.evaluation.published import CLAIMS

PROBABILITY_METRICS = ("macro_auc", "macro_average_precision", "nll", "brier", "ece")


def tables(
    truth: pd.DataFrame,
    probabilities: dict[str, np.ndarray],
    weights: np.ndarray,
    paired: Paired,
    descriptions: dict[str, dict[str, object]],
) -> dict[str, pd.DataFrame]:
    """What is tabulated of the models side by side.

    - comparison: one row per model with how it was trained and from which weights, best balanced accuracy first, the
      always-nv reference last.
    - differences: balanced accuracy of `model` less that of `other` for every pair, the better one first, with the
      bootstrap p-value, that adjusted for the number of pairs (Holm), and whether the two models' intervals overlap.
    - classes: per model and class, against the rest: the metrics of CLASS_METRICS with intervals.
    - confusion: per model, true and predicted class. folds: per model and test fold.
    - claims: the original's figures beside those of the model of the same name.

    Args:
        truth: image_id, lesion_id, group, dx and fold of the test images, from evaluation.ensembles.shared_rows.
        probabilities: by model, float64 [N, 7], rows as in `truth`; the greatest is the answer.
        weights: how often each image is drawn in each resample, [R, N].
        paired: the balanced accuracies of the same models on resamples of their own, as many as p-values need.
        descriptions: by model, the keys DESCRIBED, where known.

    Raises:
        UserError: a model is called ALWAYS_NV.
    """
    if ALWAYS_NV in probabilities:
        raise UserError(f"a model cannot be called {ALWAYS_NV!r}: the comparison adds a row of that name")
    labels, groups = predictions.labels(truth), truth["group"].to_numpy()
    reference = np.tile(np.eye(len(CLASSES))[CLASSES.index("nv")], (len(labels), 1))
    estimates, intervals = {}, {}
    for name, own in (probabilities | {ALWAYS_NV: reference}).items():
        estimates[name] = summary(labels, own, by_class=True)
        draws = bootstrap(labels, own, weights, by_class=True)
        # Only the bias-corrected intervals read the jackknife.
        jackknife = influence.jackknife(labels, own, groups) if paired.method == "bca" else {}
        intervals[name] = {
            metric: interval(
                draws[metric], estimates[name][metric], jackknife.get(metric), paired.confidence, paired.method
            )
            for metric in ALL_METRICS
        }
    ranked = sorted(probabilities, key=lambda name: (-round(estimates[name]["balanced_accuracy"], 10), name))
    return {
        "comparison": _comparison([*ranked, ALWAYS_NV], descriptions, estimates, intervals),
        "differences": _differences(ranked, paired, intervals),
        "classes": _classes(ranked, estimates, intervals, truth),
        "confusion": pd.concat(
            [confusion_table(name, labels, probabilities[name].argmax(axis=1)) for name in ranked], ignore_index=True
        ),
        "folds": _folds(ranked, probabilities, labels, truth["fold"].to_numpy()),
        "claims": _claims(estimates, intervals, descriptions),
    }


def metrics(results: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """The comparison of `tables` as {model: {metric: value}}, six significant digits, undefined ones left out."""
    comparison = results["comparison"].set_index("model").drop(index=ALWAYS_NV, columns=list(DESCRIBED))
    return {
        name: {metric: float(f"{value:.6g}") for metric, value in row.items() if not np.isnan(value)}
        for name, row in comparison.to_dict("index").items()
    }


def _comparison(
    names: list[str], descriptions: dict[str, dict[str, object]], estimates: dict, intervals: dict
) -> pd.DataFrame:
    """One row per model: every overall metric, those of INTERVAL_METRICS with their interval."""
    rows = []
    for name in names:
        known = descriptions.get(name, {})
        row: dict[str, object] = {"model": name, **{key: known.get(key, "–") for key in DESCRIBED}}
        for metric in (*INTERVAL_METRICS, *CALIBRATION_METRICS):
            # A classifier that always gives one answer has no probabilities to score.
            defined = name != ALWAYS_NV or metric not in PROBABILITY_METRICS
            row[metric] = estimates[name][metric] if defined else np.nan
            if metric in INTERVAL_METRICS:
                low, high = intervals[name][metric] if defined else (np.nan, np.nan)
                row |= {f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _differences(ranked: list[str], paired: Paired, intervals: dict) -> pd.DataFrame:
    """Paired differences of balanced accuracy between all pairs of models."""
    metric = "balanced_accuracy"
    rows = []
    for better, other in combinations(ranked, 2):
        (better_low, better_high), (other_low, other_high) = intervals[better][metric], intervals[other][metric]
        overlap = "yes" if better_low <= other_high and other_low <= better_high else "no"
        rows.append(
            {"model": better, "other": other} | paired.difference(better, other) | {"intervals_overlap": overlap}
        )
    columns = ["model", "other", "difference", "low", "high", "p_value", "p_holm", "intervals_overlap"]
    table = pd.DataFrame(rows, columns=[name for name in columns if name != "p_holm"])
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=np.float64)))[columns]


def _classes(ranked: list[str], estimates: dict, intervals: dict, truth: pd.DataFrame) -> pd.DataFrame:
    """Every class against the rest by every model, with the images and lesions that it rests on."""
    images = truth["dx"].value_counts()
    lesions = truth.groupby("dx")["group"].nunique()
    rows = []
    for name in ranked:
        for dx in CLASSES:
            row = {"model": name, "dx": dx, "images": images.get(dx, 0), "lesions": lesions.get(dx, 0)}
            for metric in CLASS_METRICS:
                low, high = intervals[name][f"{metric}_{dx}"]
                row |= {metric: estimates[name][f"{metric}_{dx}"], f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def _folds(
    ranked: list[str], probabilities: dict[str, np.ndarray], labels: np.ndarray, fold: np.ndarray
) -> pd.DataFrame:
    """The balanced accuracy on each test fold, over the classes that occur in it."""
    rows = [
        (
            name,
            int(k),
            int((fold == k).sum()),
            summary(labels[fold == k], probabilities[name][fold == k])["balanced_accuracy"],
        )
        for name in ranked
        for k in np.unique(fold)
    ]
    return pd.DataFrame(rows, columns=["model", "fold", "images", "balanced_accuracy"])


def _claims(estimates: dict, intervals: dict, descriptions: dict[str, dict[str, object]]) -> pd.DataFrame:
    """The original's figures beside ours."""
    rows = []
    for claim in CLAIMS:
        ours = estimates.get(claim.model, dict.fromkeys(ALL_METRICS, np.nan))
        low, high = intervals.get(claim.model, {}).get("balanced_accuracy", (np.nan, np.nan))
        rows.append(
            {
                "model": claim.model,
                "claimed_accuracy": claim.accuracy,
                "claimed_weighted_f1": claim.weighted_f1,
                "original_balanced_accuracy": claim.balanced_accuracy,
                "original_melanoma_recall": claim.melanoma_recall,
                **{f"our_{key}": descriptions.get(claim.model, {}).get(key, "–") for key in DESCRIBED},
                "our_accuracy": ours["accuracy"],
                "our_weighted_f1": ours["weighted_f1"],
                "our_balanced_accuracy": ours["balanced_accuracy"],
                "our_balanced_accuracy_low": low,
                "our_balanced_accuracy_high": high,
                "our_melanoma_recall": ours["recall_mel"],
                "differs": claim.differs,
            }
        )
    return pd.DataFrame(rows)
