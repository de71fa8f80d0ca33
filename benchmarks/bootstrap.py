"""The statistics of the comparison: the bootstrap against a loop over scikit-learn's metrics."""

import resource

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from benchmarks.measurement import IMAGES, index, seconds, verdict
from skinlesions import comparison, influence, intervals, metrics, params, predictions, splits
from skinlesions.dataset.schema import CLASSES, LOGIT_COLUMNS, class_indices

MODELS = 12
# `make verify` is to take less than a minute, and the resampling of every metric half of it, in at most 2 GB.
TARGET, RESAMPLING_TARGET, MEMORY_TARGET = 60, 30, 2


def logits(labels: np.ndarray, seed: int) -> np.ndarray:
    """Made-up logits of a middling model, float64 [N, 7]."""
    generator = np.random.default_rng(seed)
    return 1.5 * np.eye(len(CLASSES))[labels] + generator.normal(size=(len(labels), len(CLASSES)))


def loop(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> None:
    """Some of the metrics on each resample, with scikit-learn's functions, one call each."""
    for row in weights:
        drawn = np.repeat(np.arange(len(labels)), row)
        truth, scores = labels[drawn], probabilities[drawn]
        answers = scores.argmax(axis=1)
        accuracy_score(truth, answers)
        balanced_accuracy_score(truth, answers)
        f1_score(truth, answers, average="macro")
        f1_score(truth, answers, average="weighted")
        roc_auc_score(truth, scores, multi_class="ovr")
        log_loss(truth, scores, labels=range(len(CLASSES)))


def tables_of(rows: pd.DataFrame, fold: np.ndarray, folds: int) -> dict[str, pd.DataFrame]:
    """Made-up predictions of all models, in the form of predictions.csv."""
    labels = class_indices(rows["dx"]).to_numpy()
    models = {}
    for number in range(MODELS):
        parts = []
        for split, of_model in (("test", fold), ("val", (fold - 1) % folds)):
            part = rows.assign(group=rows["lesion_id"], fold=of_model, split=split)
            part[list(LOGIT_COLUMNS)] = logits(labels, number)
            parts.append(part)
        models[f"model_{number}"] = pd.concat(parts, ignore_index=True)[list(predictions.COLUMNS)]
    return models


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """Seconds for all models and resamples, and for the whole comparison of notebook 04."""
    settings = params.load()
    resamples, confidence = (20 if quick else settings.compare.resamples), settings.compare.confidence
    rows = index(600 if quick else IMAGES)
    labels, groups = class_indices(rows["dx"]).to_numpy(), rows["lesion_id"].to_numpy()
    weights = intervals.lesion_resamples(groups, labels, resamples, seed=0)
    probabilities = [metrics.softmax(logits(labels, number)) for number in range(MODELS)]

    draw = seconds(lambda: intervals.lesion_resamples(groups, labels, resamples, seed=0))
    ours = seconds(lambda: [intervals.bootstrap(labels, model, weights) for model in probabilities])
    every = seconds(lambda: [intervals.bootstrap(labels, model, weights, by_class=True) for model in probabilities])
    jackknife = seconds(lambda: [influence.jackknife(labels, model, groups) for model in probabilities])
    # Of the whole process, in KiB on Linux.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    measured = min(20, resamples)  # the loop takes too long for more; every resample costs it the same
    per_resample = seconds(lambda: loop(labels, probabilities[0], weights[:measured])) / measured
    reference = per_resample * resamples * MODELS

    fold = splits.make_folds(rows, settings.split.folds, settings.split.seed)["fold"].to_numpy()
    models = tables_of(rows, fold, settings.split.folds)
    whole = seconds(lambda: comparison.tables(models, confidence=confidence, resamples=resamples, seed=0))
    table = pd.DataFrame(
        [
            ("`intervals.lesion_resamples`: draw the lesions", f"{draw:.1f}", "", ""),
            (f"`intervals.bootstrap`: {len(metrics.METRICS)} metrics", f"{ours:.1f}", "1", ""),
            (
                f"`intervals.bootstrap`, `by_class`: {len(metrics.ALL_METRICS)} metrics",
                f"{every:.1f}",
                "",
                verdict(every, RESAMPLING_TARGET, at_least=False),
            ),
            (
                f"the same, memory: {memory:.1f} GiB",
                "",
                "",
                f"{verdict(memory, MEMORY_TARGET, at_least=False)}",
            ),
            ("`influence.jackknife`: for the BCa intervals of all of them", f"{jackknife:.1f}", "", ""),
            (
                f"loop over scikit-learn's functions, 6 metrics ({measured} resamples of one model, scaled up)",
                f"{reference:,.0f}",
                f"{reference / ours:,.0f}",
                "",
            ),
            (
                "`comparison.tables`: all of notebook 04 and of `make verify`",
                f"{whole:.1f}",
                "",
                verdict(whole, TARGET, at_least=False),
            ),
        ],
        columns=["work", "seconds", "this ÷ ours", "target"],
    )
    return {f"{resamples:,} resamples × {MODELS} models × {len(rows):,} images": table}
