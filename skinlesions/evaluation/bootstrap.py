"""Bootstrap intervals and paired tests that respect the lesions.

Images of one lesion resemble each other, so the lesion is what was sampled from the population, and the lesion is what
a resample draws. Drawing images instead gives intervals that are too narrow (Field & Welsh, "Bootstrapping clustered
data", JRSS B 69, 2007). NumPy and SciPy are all it needs.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from skinlesions.core.classes import CLASSES
from skinlesions.evaluation import weighted
from skinlesions.evaluation.metrics import weighted_summary

METHODS = ("percentile", "bca")

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
    members, strata = _strata(groups, labels)
    generator = np.random.default_rng(seed)
    drawn = np.zeros((resamples, members.max() + 1), dtype=np.uint16)
    for row in drawn:
        for stratum in strata:
            row[stratum] = np.bincount(generator.integers(len(stratum), size=len(stratum)), minlength=len(stratum))
    # np.take, because drawn[:, members] is transposed in memory, which slows all that reads it row by row.
    return np.take(drawn, members, axis=1)


def _strata(groups: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The number of each image's group among the sorted groups, int [N], and the groups of each class, int [G_c]."""
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    classes, kinds = np.unique(np.asarray(labels), return_inverse=True)
    images = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(images, (members, kinds), 1)
    return members, [np.flatnonzero(images.argmax(axis=1) == kind) for kind in range(len(classes))]


def bootstrap(
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    *,
    by_class: bool = False,
) -> dict[str, np.ndarray]:
    """Every metric of skinlesions.evaluation.metrics.METRICS on each resample, float64 [R] each.

    Args:
        labels: int [N], positions in CLASSES.
        probabilities: float [N, 7].
        weights: how often each image is drawn, [R, N]; `lesion_resamples` makes them. The same weights for two models
            make their difference a paired one.
        by_class: give every metric of ALL_METRICS instead.

    The calibration error keeps the bins of the original sample, so its distribution reflects the images drawn and not
    the placing of the bins.
    """
    # Larger ones than the sums below are made of: with each, the images are put in the order of their scores again.
    chunks = weighted.chunks(weights, 4 * weighted.CHUNK_NUMBERS)
    parts = [weighted_summary(labels, probabilities, part, by_class=by_class) for part in chunks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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


def with_sample(weights: np.ndarray) -> np.ndarray:
    """`weights` [R, N] of resamples after those of the sample itself, in which every image counts once, [R + 1, N].

    What is computed from them is the estimate, then its resamples; `estimate` takes both. Whole numbers in single
    precision, which matrix products are quickest in.
    """
    weights = np.asarray(weights)
    return np.concatenate([np.ones_like(weights[:1], shape=(1, weights.shape[1])), weights]).astype(np.float32)


def estimate(values: np.ndarray, confidence: float, *, one_lesion: bool = False) -> tuple[float, float, float]:
    """The estimate, first of `values` [R + 1], and the percentile interval (low, high) of the others, `if_any`."""
    return float(values[0]), *if_any(percentile_interval(values[1:], confidence), one_lesion)


def estimates(
    values: dict[str, np.ndarray], confidence: float, *, one_lesion: Collection[str] = ()
) -> dict[str, float]:
    """The columns NAME, NAME_low and NAME_high of every statistic of `values` [R + 1 each], as `estimate` makes them.

    Those named by `one_lesion` rest on one lesion.
    """
    row: dict[str, float] = {}
    for name, own in values.items():
        value, low, high = estimate(own, confidence, one_lesion=name in one_lesion)
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row


def if_any(ends: tuple[float, float], one_lesion: bool) -> tuple[float, float]:
    """The interval with these `ends`; (NaN, NaN) if it rests on one lesion and has no width.

    What rests on one lesion is the same in every resample, which cannot tell how much another lesion would differ from
    it: there is no interval, and not one that is certain.
    """
    return (float("nan"), float("nan")) if one_lesion and ends[1] - ends[0] < ROUNDING else ends


def has_one_lesion(groups: np.ndarray) -> bool:
    """Whether all images, whose lesions are `groups` [n], are of one lesion."""
    return len(np.unique(groups)) == 1


def one_lesion_classes(labels: np.ndarray, groups: np.ndarray) -> list[str]:
    """The classes whose images are all of one lesion, as `has_one_lesion` has it.

    Args:
        labels: int [N], positions in CLASSES.
        groups: the lesion of every image, [N].
    """
    return [CLASSES[k] for k in np.unique(labels) if has_one_lesion(groups[labels == k])]


def interval(
    values: np.ndarray,
    estimate: float,
    jackknife: np.ndarray | None,
    confidence: float,
    method: str = "percentile",
) -> tuple[float, float]:
    """The bootstrap interval (low, high) of a statistic, by one of METHODS.

    - percentile: the quantiles of the resampled values; see `percentile_interval`.
    - bca: the quantiles corrected for bias and for a spread that changes with the statistic (Efron, "Better bootstrap
      confidence intervals", JASA 82, 1987). Its error shrinks with the sample size n as 1/n, that of the other as
      1/sqrt(n), which tells for rare classes and near 0 and 1.

    Args:
        values: the statistic on every resample, [R]; NaN where undefined, which is left out.
        estimate: the statistic on the sample itself (bca only).
        jackknife: the statistic without each group in turn, [G], from `lesion_jackknife` (bca only). It serves the
            acceleration alone, which depends neither on its scale nor on its mean. That of the difference of two
            statistics is the difference of theirs.
        confidence: such as 0.95.
        method: one of METHODS.

    Returns:
        The interval; (NaN, NaN) where no value, or for bca the estimate, is defined. Where (nearly) all values lie on
        one side of the estimate, the bias is taken as large as R values can show, so that bca stays finite.

    Raises:
        ValueError: `method` is unknown, or bca is asked for without a jackknife.
    """
    if method not in METHODS:
        raise ValueError(f"unknown interval method {method!r}; known: {', '.join(METHODS)}")
    if method == "percentile":
        return percentile_interval(values, confidence)
    if jackknife is None:
        raise ValueError("a bca interval needs the jackknife of the statistic; lesion_jackknife makes it")
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0 or np.isnan(estimate):
        return float("nan"), float("nan")
    # A value that equals the estimate lies half on either side.
    below = ((values < estimate - ROUNDING).sum() + (values <= estimate + ROUNDING).sum()) / 2
    rarest = len(values) / (len(values) + 1)
    bias = ndtri(np.clip(below, 1 - rarest, len(values) - 1 + rarest) / len(values))
    steps = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    stretch = 1 - acceleration(jackknife) * steps
    # Beyond the pole of the correction lies the end of the distribution.
    levels = np.where(stretch > 0, ndtr(bias + steps / np.where(stretch > 0, stretch, 1)), steps > 0)
    low, high = np.quantile(values, levels)
    return float(low), float(high)


def acceleration(jackknife: np.ndarray) -> float:
    """How fast a statistic's spread changes with its value: a sixth of the skewness of its influence (Efron 1987).

    Args:
        jackknife: as for `interval`; NaN is left out. 0 where nothing varies.
    """
    jackknife = np.asarray(jackknife, dtype=np.float64)
    jackknife = jackknife[~np.isnan(jackknife)]
    deviations = jackknife.mean() - jackknife if len(jackknife) else jackknife
    spread = (deviations**2).sum()
    return float((deviations**3).sum() / (6 * spread**1.5)) if spread > ROUNDING**2 else 0.0


def lesion_jackknife(influence: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The infinitesimal jackknife of a statistic over the lesions, within the strata of `lesion_resamples`.

    Leaving a group out changes the statistic by about the sum of its images' influences, which spares the computing
    of the statistic for every group (Jaeckel 1972; Efron 1982, chapter 6).

    Args:
        influence: how fast the statistic moves with the weight of each image, its derivative at weights of 1, [N];
            skinlesions.evaluation.influence has that of every metric.
        groups: the group of every image, [N].
        labels: the class of every image, [N].

    Returns:
        The change of the statistic without each group, less the mean change of its stratum, float64 [G], sorted by
        group.
    """
    members, strata = _strata(groups, labels)
    changes = -np.bincount(members, weights=influence)
    for stratum in strata:
        changes[stratum] -= changes[stratum].mean()
    return changes


@dataclass(frozen=True)
class Resampling:
    """How scores get their intervals; config.Compare says the same under the same names.

    Attributes:
        confidence: such as 0.95.
        resamples: how many bootstrap resamples of the lesions.
        seed: of the resampling.
        interval_method: one of METHODS.
    """

    confidence: float
    resamples: int
    seed: int
    interval_method: str = "percentile"

    def weights(self, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How often each image counts, float32 [R + 1, T]; in the first row once, so that it gives the estimate."""
        return with_sample(lesion_resamples(groups, labels, self.resamples, self.seed))

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """The percentile interval from `values` [R + 1], the first of which is the estimate."""
        return percentile_interval(values[1:], self.confidence)


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
