"""The statistics of the comparison: the bootstrap against a loop over scikit-learn's metrics."""

import resource

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from benchmarks.measurement import IMAGES, index, seconds, verdict
from skinlesions.core import config
from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS, class_indices
from skinlesions.data import balancing, predictions, records, splits
from skinlesions.evaluation import bootstrap, influence, metrics, study

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


def study_of(models: dict[str, pd.DataFrame]) -> records.Study:
    """These predictions with made-up metadata of the images, and the plan that the published run has."""
    image_ids = predictions.select(next(iter(models.values())), "test")["image_id"]
    generator = np.random.default_rng(0)
    metadata = pd.DataFrame(
        {
            "image_id": image_ids,
            "age": generator.choice([25.0, 40.0, 55.0, 70.0, 85.0], size=len(image_ids)),
            "sex": generator.choice(["female", "male"], size=len(image_ids)),
            "localization": generator.choice(["back", "face", "abdomen", "chest"], size=len(image_ids)),
            "dx_type": generator.choice(["histo", "follow_up"], size=len(image_ids)),
        }
    )
    described = {"training": "frozen features", "initialisation": "ImageNet"}
    return records.Study(
        models=models,
        descriptions={name: {"name": name, "architecture": name} | described for name in models},
        plan=balancing.Plan("balanced_weights", 0.6711, 0.999, 2.0, 1.0),
        metadata=metadata[list(records.METADATA_COLUMNS)],
    )


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """Seconds for all models and resamples, and for the whole comparison of notebook 04."""
    settings = config.load()
    resamples = 20 if quick else settings.compare.resamples
    rows = index(600 if quick else IMAGES)
    labels, groups = class_indices(rows["dx"]).to_numpy(), rows["lesion_id"].to_numpy()
    weights = bootstrap.lesion_resamples(groups, labels, resamples, seed=0)
    probabilities = [metrics.softmax(logits(labels, number)) for number in range(MODELS)]

    draw = seconds(lambda: bootstrap.lesion_resamples(groups, labels, resamples, seed=0))
    ours = seconds(lambda: [bootstrap.bootstrap(labels, model, weights) for model in probabilities])
    every = seconds(lambda: [bootstrap.bootstrap(labels, model, weights, by_class=True) for model in probabilities])
    jackknife = seconds(lambda: [influence.jackknife(labels, model, groups) for model in probabilities])
    # Of the whole process, in KiB on Linux.
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    measured = min(20, resamples)  # the loop takes too long for more; every resample costs it the same
    per_resample = seconds(lambda: loop(labels, probabilities[0], weights[:measured])) / measured
    reference = per_resample * resamples * MODELS

    fold = splits.make_folds(rows, settings.split.folds, settings.split.seed)["fold"].to_numpy()
    models = tables_of(rows, fold, settings.split.folds)
    chosen = settings.compare.model_copy(update={"resamples": resamples, "ensemble": "all"})
    whole = seconds(lambda: study.tables(study_of(models), chosen))
    table = pd.DataFrame(
        [
            ("`bootstrap.lesion_resamples`: draw the lesions", f"{draw:.1f}", "", ""),
            (f"`bootstrap.bootstrap`: {len(metrics.METRICS)} metrics", f"{ours:.1f}", "1", ""),
            (
                f"`bootstrap.bootstrap`, `by_class`: {len(metrics.ALL_METRICS)} metrics",
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
                "`study.tables`: all of notebook 04 and of `make verify`",
                f"{whole:.1f}",
                "",
                verdict(whole, TARGET, at_least=False),
            ),
        ],
        columns=["work", "seconds", "this ÷ ours", "target"],
    )
    return {f"{resamples:,} resamples × {MODELS} models × {len(rows):,} images": table}
