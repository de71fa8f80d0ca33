"""Ensembles of the models, and which of them earns its place.

Nothing about a test fold is used to build the ensemble that scores it. For fold k every way reads the validation rows
of the models numbered k and nothing else: images that these networks were not trained on, and none of which shows a
lesion of test fold k. They did help to choose the epoch and the temperature, so that they look a little better than
unseen images would; that costs the ensemble some sharpness but tells it nothing about the test fold.

- best_single: the model with the least loss on the validation rows, that of `greedy`; temperature-scaled.
  best_single_rebalanced: the same model after vector scaling, which is what stacking one model comes to.
- mean: the mean over models of the temperature-scaled probabilities. geometric_mean: the same of their logarithms.
- greedy: a mean with weights, of models added one at a time, and again, as long as the score of the validation rows
  gains (Caruana et al., "Ensemble selection from libraries of models", ICML 2004).
- prior_corrected_mean: the mean of probabilities that had the balancing plan taken back before they were scaled.
- stacked: a multinomial logistic regression on the logarithms of the models' probabilities (Wolpert, "Stacked
  generalization", Neural Networks 5, 1992).

The last two, and vector scaling, state how common the classes are in the data; what they predict if all classes were
equally common, which is what balanced accuracy asks for, is under the name with `_rebalanced`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import bootstrap, calibration, metrics, pairwise
from skinlesions.evaluation.stacking import Stacker, choose_spread, stack

# What every other way is compared with.
REFERENCE = "mean"


# How many models, counted again each time, the greedy selection may add.
GREEDY_STEPS = 30

# Bounds the logarithm of a probability that a model gives as 0.
SMALLEST = 1e-9

# Columns that must be the same for every model.
SHARED_COLUMNS = ("image_id", "lesion_id", "group", "dx", "fold")


def greedy(labels: np.ndarray, probabilities: np.ndarray, steps: int = GREEDY_STEPS) -> np.ndarray:
    """The weights of the models, float64 [M], sum 1, by greedy selection with replacement.

    Each step adds the model that lowers the loss of the mean most; the shortest selection with the least loss is kept.
    The loss is the negative log-likelihood with every class counted the same: smoother than the balanced accuracy
    that it stands for, which a handful of images of a rare class can sway.

    Args:
        labels: int [N].
        probabilities: of the models, float [M, N, C].
        steps: how many models may be added.
    """
    counts = np.bincount(labels)
    importance = 1 / counts[labels]
    of_truth = np.maximum(probabilities[:, np.arange(len(labels)), labels], SMALLEST)
    total, chosen, losses = np.zeros(len(labels)), [], []
    for step in range(steps):
        candidates = -np.log((total + of_truth) / (step + 1)) @ importance
        chosen.append(int(candidates.argmin()))
        losses.append(candidates.min())
        total += of_truth[chosen[-1]]
    best = int(np.argmin(losses)) + 1
    return np.bincount(chosen[:best], minlength=len(probabilities)) / best


@dataclass(frozen=True)
class Fit:
    """What the validation rows of one fold made of the models.

    Attributes:
        fold: which.
        shares: of the models, by way (best_single and greedy), float64 [M] each, sum 1.
        stacker: of the models.
    """

    fold: int
    shares: dict[str, np.ndarray]
    stacker: Stacker


@dataclass(frozen=True)
class Ensembles:
    """Every ensemble's predictions of the test images, and what it is made of.

    Attributes:
        names: of the models, sorted.
        truth: image_id, group, dx and fold of the test images, sorted by image_id.
        probabilities: by way, float64 [N, 7], rows as in `truth`.
        fits: of every fold.
    """

    names: list[str]
    truth: pd.DataFrame
    probabilities: dict[str, np.ndarray]
    fits: list[Fit]


def build(models: dict[str, pd.DataFrame], plan: balancing.Plan) -> Ensembles:
    """Every ensemble of `models`; see the head of this module.

    Args:
        models: the predictions of every model by its name, as skinlesions.data.predictions.read returns them.
        plan: what was done against the imbalance when they were trained.

    Raises:
        UserError: there are fewer than two models, or they were not scored on the same images and folds.
    """
    if len(models) < 2:
        raise UserError(f"an ensemble needs two models or more, not {len(models)}; train another one")
    names = sorted(models)
    test, val = shared_rows(models, "test"), shared_rows(models, "val")
    fold, val_fold = test["fold"].to_numpy(), val["fold"].to_numpy()
    val_labels = predictions.labels(val)
    scaled = {
        split: np.stack([calibration.probabilities(models[name], split, "temperature") for name in names])
        for split in predictions.SPLITS
    }
    logs = {split: np.log(np.maximum(scaled[split], SMALLEST)).transpose(1, 0, 2) for split in scaled}
    natural = [calibration.probabilities(models[name], "test", "prior_corrected_temperature", plan) for name in names]
    counts = calibration.training_counts(models[names[0]])

    made = {
        "mean": scaled["test"].mean(axis=0),
        "geometric_mean": metrics.softmax(logs["test"].mean(axis=1)),
        "prior_corrected_mean": np.mean(natural, axis=0),
    } | {way: np.empty((len(test), len(CLASSES))) for way in ("best_single", "vector", "greedy", "stacked")}
    fits = []
    for k in np.unique(fold):
        fitting, scoring = val_fold == k, fold == k
        labels, groups = val_labels[fitting], val["group"].to_numpy()[fitting]
        chosen = {}
        for way, steps in (("best_single", 1), ("greedy", GREEDY_STEPS)):
            chosen[way] = greedy(labels, scaled["val"][:, fitting], steps)
            made[way][scoring] = np.einsum("m,mnc->nc", chosen[way], scaled["test"][:, scoring])
        best = models[names[int(chosen["best_single"].argmax())]]
        made["vector"][scoring] = calibration.probabilities(best, "test", "vector")[scoring]
        spread = choose_spread(labels, logs["val"][fitting], groups)
        stacker = stack(labels, logs["val"][fitting], spread)
        made["stacked"][scoring] = stacker(logs["test"][scoring])
        fits.append(Fit(int(k), chosen, stacker))
    shares = np.stack([counts[k] / counts[k].sum() for k in fold])
    made["best_single_rebalanced"] = calibration.rebalanced(made.pop("vector"), shares)
    for way in ("prior_corrected_mean", "stacked"):
        made[f"{way}_rebalanced"] = calibration.rebalanced(made[way], shares)
    return Ensembles(names, test, {way: made[way] for way in sorted(made)}, fits)


def coefficients(ensembles: Ensembles) -> pd.DataFrame:
    """How much each model counts in each ensemble that chooses: way (best_single, greedy or stacked), fold, model, dx
    ("all" where one coefficient serves all classes) and weight.
    """
    rows = []
    for fit in ensembles.fits:
        for way, shares in fit.shares.items():
            rows += [(way, fit.fold, name, "all", share) for name, share in zip(ensembles.names, shares, strict=True)]
        rows += [
            ("stacked", fit.fold, name, dx, fit.stacker.weights[m, c])
            for m, name in enumerate(ensembles.names)
            for c, dx in enumerate(CLASSES)
        ]
    return pd.DataFrame(rows, columns=["way", "fold", "model", "dx", "weight"])


def spreads(ensembles: Ensembles) -> pd.DataFrame:
    """How far the validation rows of every fold let the stacking leave equal weights: fold, spread."""
    rows = [(fit.fold, fit.stacker.spread) for fit in ensembles.fits]
    return pd.DataFrame(rows, columns=["fold", "spread"])


def tables(ensembles: Ensembles, weights: np.ndarray, confidence: float, method: str) -> dict[str, pd.DataFrame]:
    """Everything about ensembles that is tabulated; the arguments are those of `compare`."""
    return {
        "ensembles": compare(ensembles, weights, confidence=confidence, method=method),
        "ensemble_weights": coefficients(ensembles),
        "ensemble_spreads": spreads(ensembles),
    }


def compare(
    ensembles: Ensembles, weights: np.ndarray, *, confidence: float, method: str = "percentile"
) -> pd.DataFrame:
    """The ensembles scored on the same resamples of the lesions.

    Args:
        ensembles: from `build`.
        weights: how often each image is drawn in each resample, [R, N].
        confidence: of every interval.
        method: of the intervals, one of bootstrap.METHODS.

    Returns:
        way; every metric of metrics.OVERALL_METRICS; balanced_accuracy_low and _high; difference (of the balanced
        accuracy, from REFERENCE), difference_low, difference_high, p_value, and p_holm (for as many tests as there are
        other ways). Best balanced accuracy first.
    """
    labels, groups = predictions.labels(ensembles.truth), ensembles.truth["group"].to_numpy()
    answers = {way: values.argmax(axis=1) for way, values in ensembles.probabilities.items()}
    scored = pairwise.compare(labels, answers, groups, weights, confidence, method)
    rows = []
    for way, values in ensembles.probabilities.items():
        low, high = scored.interval(way)
        row = {"way": way} | metrics.summary(labels, values)
        row = {name: row[name] for name in ("way", *metrics.OVERALL_METRICS)}
        row |= {f"{pairwise.METRIC}_low": low, f"{pairwise.METRIC}_high": high}
        if way != REFERENCE:
            gain = scored.difference(way, REFERENCE)
            row |= {"difference": gain["difference"], "difference_low": gain["low"], "difference_high": gain["high"]}
            row["p_value"] = gain["p_value"]
        rows.append(row)
    table = pd.DataFrame(rows)
    tested = table["way"] != REFERENCE
    table.loc[tested, "p_holm"] = bootstrap.holm(table.loc[tested, "p_value"].to_numpy())
    return table.sort_values([pairwise.METRIC, "way"], ascending=[False, True], ignore_index=True)


def shared_rows(models: dict[str, pd.DataFrame], split: str) -> pd.DataFrame:
    """SHARED_COLUMNS of the rows of `split`, once it is sure that all models have the same.

    Raises:
        UserError: two models differ in a row; it names the first.
    """
    first, *others = models
    shared = predictions.select(models[first], split)[list(SHARED_COLUMNS)]
    for name in others:
        own = predictions.select(models[name], split)[list(SHARED_COLUMNS)]
        if len(own) != len(shared):
            raise UserError(f"{name} has {len(own)} {split} images, {first} has {len(shared)}; train both on one split")
        differs = (own != shared).to_numpy()
        if differs.any():
            row, column = np.argwhere(differs)[0]
            raise UserError(
                f"{name} and {first} differ in {SHARED_COLUMNS[column]} at {split} row {row + 1}: "
                f"{own.iloc[row, column]!r} and {shared.iloc[row, column]!r}; train both on one split"
            )
    return shared
