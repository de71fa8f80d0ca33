"""The comparison of models: which is best, on which classes, and which differences are more than chance.

All models are scored on the same images and the same bootstrap resamples of lesions, so that differences are paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.core.names import ALWAYS_NV, CALIBRATION_METRICS, DESCRIBED, INTERVAL_METRICS
from skinlesions.core.parallel import computed
from skinlesions.data import predictions
from skinlesions.evaluation import influence
from skinlesions.evaluation.bootstrap import bootstrap, holm, if_any, interval, one_lesion_classes
from skinlesions.evaluation.classification import confusion_table
from skinlesions.evaluation.metrics import ALL_METRICS, CLASS_METRICS, OF_THE_CLASS, summary
from skinlesions.evaluation.pairwise import Paired
from skinlesions.evaluation.published import CLAIMS

PROBABILITY_METRICS = ("macro_auc", "macro_average_precision", "nll", "brier", "ece")

# By model, what is known of it: the keys DESCRIBED among others.
Descriptions = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Scores:
    """Every model's scores on the same images and resamples, and those of the classifier that always answers nv.

    Attributes:
        truth: image_id, lesion_id, group, dx and fold of the test images, from evaluation.ensembles.shared_rows.
        probabilities: by model, float64 [N, 7], rows as in `truth`.
        estimates: by model, ALWAYS_NV among them, and metric of metrics.ALL_METRICS.
        intervals: the same, (low, high).
    """

    truth: pd.DataFrame
    probabilities: dict[str, np.ndarray]
    estimates: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]]

    @property
    def ranked(self) -> list[str]:
        """The models, the best balanced accuracy first."""
        return sorted(
            self.probabilities, key=lambda name: (-round(self.estimates[name]["balanced_accuracy"], 10), name)
        )


def score(
    truth: pd.DataFrame, probabilities: dict[str, np.ndarray], weights: np.ndarray, confidence: float, method: str
) -> Scores:
    """Score every model.

    Args:
        truth: of the test images, as Scores has it.
        probabilities: by model, float64 [N, 7]; the greatest is the answer.
        weights: how often each image is drawn in each resample, [R, N].
        confidence: of every interval.
        method: of the intervals, one of bootstrap.METHODS.

    Raises:
        UserError: a model is called ALWAYS_NV.
    """
    if ALWAYS_NV in probabilities:
        raise UserError(f"a model cannot be called {ALWAYS_NV!r}: the comparison adds a row of that name")
    labels, groups = predictions.labels(truth), truth["group"].to_numpy()
    reference = np.tile(np.eye(len(CLASSES))[CLASSES.index("nv")], (len(labels), 1))
    alone = [f"{metric}_{dx}" for metric in OF_THE_CLASS for dx in one_lesion_classes(labels, groups)]

    def scored(own: np.ndarray) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
        """The estimates and intervals of every metric of probabilities."""
        estimates = summary(labels, own, by_class=True)
        draws = bootstrap(labels, own, weights, by_class=True)
        # Only the bias-corrected intervals read the jackknife.
        jackknife = influence.jackknife(labels, own, groups) if method == "bca" else {}
        intervals = {
            metric: interval(draws[metric], estimates[metric], jackknife.get(metric), confidence, method)
            for metric in ALL_METRICS
        }
        return estimates, intervals | {metric: if_any(intervals[metric], one_lesion=True) for metric in alone}

    everything = probabilities | {ALWAYS_NV: reference}
    found = dict(zip(everything, computed(scored, everything.values()), strict=True))
    estimates = {name: own[0] for name, own in found.items()}
    intervals = {name: own[1] for name, own in found.items()}
    return Scores(truth, probabilities, estimates, intervals)


def tables(scores: Scores, paired: Paired, descriptions: Descriptions) -> dict[str, pd.DataFrame]:
    """What is tabulated of the models side by side.

    Args:
        scores: of the models.
        paired: the balanced accuracies of the same models on resamples of their own, as many as p-values need.
        descriptions: by model, the keys DESCRIBED, where known.
    """
    return {
        "comparison": model_scores(scores, descriptions),
        "differences": differences(scores, paired),
        "classes": class_scores(scores),
        "confusion": confusion(scores),
        "folds": fold_scores(scores),
        "claims": claims(scores, descriptions),
    }


def metrics(results: dict[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """The comparison of `tables` as {model: {metric: value}}, six significant digits, undefined ones left out."""
    comparison = results["comparison"].set_index("model").drop(index=ALWAYS_NV, columns=list(DESCRIBED))
    return {
        name: {metric: float(f"{value:.6g}") for metric, value in row.items() if not np.isnan(value)}
        for name, row in comparison.to_dict("index").items()
    }


def model_scores(scores: Scores, descriptions: Descriptions) -> pd.DataFrame:
    """One row per model, the best balanced accuracy first, the always-nv reference last.

    Args:
        scores: of the models.
        descriptions: by model, the keys DESCRIBED, where known.

    Returns:
        model, DESCRIBED, every overall metric, those of INTERVAL_METRICS with their interval.
    """
    rows = []
    for name in [*scores.ranked, ALWAYS_NV]:
        known = descriptions.get(name, {})
        row: dict[str, object] = {"model": name, **{key: known.get(key, "–") for key in DESCRIBED}}
        for metric in (*INTERVAL_METRICS, *CALIBRATION_METRICS):
            # A classifier that always gives one answer has no probabilities to score.
            defined = name != ALWAYS_NV or metric not in PROBABILITY_METRICS
            row[metric] = scores.estimates[name][metric] if defined else np.nan
            if metric in INTERVAL_METRICS:
                low, high = scores.intervals[name][metric] if defined else (np.nan, np.nan)
                row |= {f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def differences(scores: Scores, paired: Paired) -> pd.DataFrame:
    """Paired differences of balanced accuracy between all pairs of models, the better one first.

    Args:
        scores: of the models.
        paired: the balanced accuracies of the same models on resamples of their own.

    Returns:
        model, other, difference, low, high, p_value, p_holm (adjusted for the number of pairs), intervals_overlap
        (whether the two models' own intervals do: "yes" or "no").
    """
    rows = []
    for better, other in combinations(scores.ranked, 2):
        (better_low, better_high), (other_low, other_high) = (
            scores.intervals[name]["balanced_accuracy"] for name in (better, other)
        )
        overlap = "yes" if better_low <= other_high and other_low <= better_high else "no"
        rows.append(
            {"model": better, "other": other} | paired.difference(better, other) | {"intervals_overlap": overlap}
        )
    columns = ["model", "other", "difference", "low", "high", "p_value", "p_holm", "intervals_overlap"]
    table = pd.DataFrame(rows, columns=[name for name in columns if name != "p_holm"])
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=np.float64)))[columns]


def class_scores(scores: Scores) -> pd.DataFrame:
    """Every class against the rest by every model: the metrics of CLASS_METRICS with intervals.

    Returns:
        model, dx, the images and lesions that the class has, and the metrics.
    """
    images = scores.truth["dx"].value_counts()
    lesions = scores.truth.groupby("dx")["group"].nunique()
    rows = []
    for name in scores.ranked:
        for dx in CLASSES:
            row = {"model": name, "dx": dx, "images": images.get(dx, 0), "lesions": lesions.get(dx, 0)}
            for metric in CLASS_METRICS:
                low, high = scores.intervals[name][f"{metric}_{dx}"]
                row |= {metric: scores.estimates[name][f"{metric}_{dx}"], f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def confusion(scores: Scores) -> pd.DataFrame:
    """What the images of each class are called by every model, as classification.confusion_table has it."""
    labels = predictions.labels(scores.truth)
    parts = [confusion_table(name, labels, scores.probabilities[name].argmax(axis=1)) for name in scores.ranked]
    return pd.concat(parts, ignore_index=True)


def fold_scores(scores: Scores) -> pd.DataFrame:
    """The balanced accuracy on each test fold, over the classes that occur in it: model, fold, images, the score."""
    labels, fold = predictions.labels(scores.truth), scores.truth["fold"].to_numpy()
    rows = [
        (name, int(k), int((fold == k).sum()), summary(labels[fold == k], own[fold == k])["balanced_accuracy"])
        for name, own in ((name, scores.probabilities[name]) for name in scores.ranked)
        for k in np.unique(fold)
    ]
    return pd.DataFrame(rows, columns=["model", "fold", "images", "balanced_accuracy"])


def claims(scores: Scores, descriptions: Descriptions) -> pd.DataFrame:
    """The original's figures beside those of the model of the same name, which are NaN where there is none.

    Args:
        scores: of the models.
        descriptions: by model, the keys DESCRIBED, where known.
    """
    rows = []
    for claim in CLAIMS:
        ours = scores.estimates.get(claim.model, dict.fromkeys(ALL_METRICS, np.nan))
        low, high = scores.intervals.get(claim.model, {}).get("balanced_accuracy", (np.nan, np.nan))
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
