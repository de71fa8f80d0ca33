"""Bootstrap intervals and paired tests that respect the lesions.

Images of one lesion resemble each other, so the lesion is what was sampled from the population, and the lesion is what
a resample draws. Drawing images instead gives intervals that are too narrow (Field & Welsh, "Bootstrapping clustered
data", JRSS B 69, 2007). NumPy is all it needs.
"""

from collections.abc import Sequence

import numpy as np

from skinlesions.dataset.schema import CLASSES
from skinlesions.metrics import weighted_summary

# Numbers of a chunk of resamples: what is in memory at a time, about 5 × 8 bytes each.
CHUNK_NUMBERS = 1_000_000

# Two metrics closer than this are equal but for the rounding of floating-point sums.
ROUNDING = 1e-12


def lesion_resamples(groups: np.ndarray, labels: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each image is drawn in each bootstrap resample, uint16 [R, N].

    Groups (lesions) are drawn with replacement, within each class as many as it has, and bring all their images along.
    A group whose images carry several labels belongs to the most frequent one. The draw depends on the sorted
    groups and not on the order of the images; more resamples with the same seed begin with the same ones.

    Args:
        groups: the group of every image, [N], of any sortable type.
        labels: the class of every image, [N], of any sortable type.
        resamples: how many, R.
        seed: of NumPy's default generator.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    classes, kinds = np.unique(np.asarray(labels), return_inverse=True)
    images = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(images, (members, kinds), 1)
    strata = [np.flatnonzero(images.argmax(axis=1) == kind) for kind in range(len(classes))]

    generator = np.random.default_rng(seed)
    drawn = np.zeros((resamples, len(names)), dtype=np.uint16)
    for row in drawn:
        for stratum in strata:
            row[stratum] = np.bincount(generator.integers(len(stratum), size=len(stratum)), minlength=len(stratum))
    return drawn[:, members]


def bootstrap(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, classes: Sequence[str] = CLASSES
) -> dict[str, np.ndarray]:
    """Every metric of skinlesions.metrics.METRICS on each resample, float64 [R] each.

    Args:
        labels: int [N], positions in `classes`.
        probabilities: float [N, C].
        weights: how often each image is drawn, [R, N]; `lesion_resamples` makes them. The same weights for two models
            make their difference a paired one.
        classes: the names behind the columns.

    The calibration error keeps the bins of the original sample, so its distribution reflects the images drawn and not
    the placing of the bins.
    """
    rows = max(1, CHUNK_NUMBERS // max(1, len(labels)))
    chunks = [
        weighted_summary(labels, probabilities, weights[start : start + rows], classes)
        for start in range(0, len(weights), rows)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def percentile_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The percentile interval (low, high) of bootstrap `values` [R] (Efron & Tibshirani 1993, chapter 13).

    Resamples in which the metric is undefined (NaN) are left out; without any other the interval is (NaN, NaN).
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def two_sided_p_value(differences: np.ndarray) -> float:
    """The bootstrap p-value of "no difference" from paired bootstrap `differences` [R].

    Twice the share of resamples on the rarer side of zero, where a zero is on both sides, and where the observed
    sample is counted as one more resample, so that it is never 0 (Davison & Hinkley 1997, section 4.2).
    """
    differences = np.asarray(differences, dtype=np.float64)
    rarer = min((differences <= ROUNDING).sum(), (differences >= -ROUNDING).sum())
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(differences))))


def holm(p_values: np.ndarray) -> np.ndarray:
    """`p_values` [M] adjusted for M tests, float64 [M], in the same order (Holm 1979)."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return adjusted
