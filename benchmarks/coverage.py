"""Do the intervals cover what they should? Simulated studies, whose truth is known because they are drawn from it."""

import numpy as np
import pandas as pd

from benchmarks.measurement import LESIONS
from skinlesions.core import names
from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import bootstrap, influence, metrics

# What is looked at: means over classes, a common class, a rare one, and what has no interval of a textbook.
METRICS = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "macro_auc",
    "macro_average_precision",
    "nll",
    "recall_nv",
    "recall_mel",
    "recall_df",
    "average_precision_mel",
)

CONFIDENCE = 0.95
# A study has a fifth of the lesions of HAM10000: what one fold has.
SCALE = 5
LOWEST, HIGHEST = 0.93, 0.97


def sizes() -> np.ndarray:
    """The lesions of each class in a study, int [7]."""
    return np.array([round(LESIONS[name] / SCALE) for name in CLASSES])


def draw(generator: np.random.Generator, lesions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The labels [N], probabilities [N, 7] and lesions [N] of a study; images of one lesion resemble each other.

    Args:
        generator: what is drawn from.
        lesions: how many of each class, int [7].
    """
    of_lesion = np.repeat(np.arange(len(CLASSES)), lesions)
    images = generator.choice([1, 1, 1, 2, 3], size=len(of_lesion))
    logits = 1.5 * np.eye(len(CLASSES))[of_lesion] + generator.normal(size=(len(of_lesion), len(CLASSES)))
    logits = np.repeat(logits, images, axis=0)
    logits += 0.3 * generator.normal(size=logits.shape)
    return np.repeat(of_lesion, images), metrics.softmax(logits), np.repeat(np.arange(len(of_lesion)), images)


def truth(seed: int, lesions: int) -> dict[str, float]:
    """The metrics of all there is: of many `lesions` of each class, weighted to the shares of a study."""
    labels, probabilities, _ = draw(np.random.default_rng(seed), np.full(len(CLASSES), lesions))
    weights = (sizes() / sizes().sum())[labels][None]
    values = metrics.weighted_summary(labels, probabilities, weights, by_class=True)
    return {name: float(values[name][0]) for name in METRICS}


def covered(studies: int, resamples: int, population: int) -> dict[tuple[str, str, str], float]:
    """By metric, unit (lesions or images) and method: the share of intervals with the truth in them."""
    known = truth(0, population)
    hits = dict.fromkeys(
        ((name, unit, method) for name in METRICS for unit in ("lesions", "images") for method in bootstrap.METHODS), 0
    )
    generator = np.random.default_rng(1)
    for study in range(studies):
        labels, probabilities, lesions = draw(generator, sizes())
        estimates = metrics.summary(labels, probabilities, by_class=True)
        for unit, groups in (("lesions", lesions), ("images", np.arange(len(labels)))):
            weights = bootstrap.lesion_resamples(groups, labels, resamples, seed=study)
            draws = bootstrap.bootstrap(labels, probabilities, weights, by_class=True)
            jackknife = influence.jackknife(labels, probabilities, groups)
            for method in bootstrap.METHODS:
                for name in METRICS:
                    low, high = bootstrap.interval(draws[name], estimates[name], jackknife[name], CONFIDENCE, method)
                    hits[name, unit, method] += low <= known[name] <= high
    return {key: count / studies for key, count in hits.items()}


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """The share of studies whose interval covers the truth, for each metric, unit and method."""
    studies, resamples, population = (5, 50, 500) if quick else (500, 500, 20_000)
    shares = covered(studies, resamples, population)
    rows = []
    for name in METRICS:
        own = {method: shares[name, "lesions", method] for method in bootstrap.METHODS}
        within = [method for method, share in own.items() if LOWEST <= share <= HIGHEST]
        rows.append(
            {
                "metric": names.METRIC_NAMES[name],
                **{f"lesions, {method}": f"{100 * share:.1f} %" for method, share in own.items()},
                "93 to 97 %": "both" if len(within) == 2 else (" ".join(within) or "**neither**"),
                **{f"images, {method}": f"{100 * shares[name, 'images', method]:.1f} %" for method in own},
            }
        )
    title = f"{studies:,} studies of {sizes().sum():,} lesions, {resamples:,} resamples, 95 % intervals"
    return {title: pd.DataFrame(rows)}
