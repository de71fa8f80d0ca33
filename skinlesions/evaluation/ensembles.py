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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, predictions
from skinlesions.evaluation import bootstrap, calibration, metrics, pairwise

# Names the members of the ensemble, if they are all models.
ALL = "all"

# What every other way is compared with.
REFERENCE = "mean"


# How many models, counted again each time, the greedy selection may add.
GREEDY_STEPS = 30

# How far the weights of a stacker may be from equal ones, as standard deviations of a normal prior; the validation
# rows choose among them. And the same of its shifts, which is no choice.
SPREADS = (0.025, 0.05, 0.1, 0.2, 0.4)
SHIFT_PRIOR = 2.0
INNER_FOLDS = 4

# Bounds the logarithm of a probability that a model gives as 0.
SMALLEST = 1e-9

# Columns that must be the same for every model.
SHARED_COLUMNS = ("image_id", "lesion_id", "group", "dx", "fold")


def members(ensemble: Sequence[str] | str, models: Iterable[str]) -> list[str]:
    """The names of the models that the ensemble is made of, sorted.

    Args:
        ensemble: their names, or ALL.
        models: the names of all models.

    Raises:
        UserError: one of them is not among the models.
    """
    known = sorted(models)
    chosen = known if ensemble == ALL else sorted(ensemble)
    if unknown := [name for name in chosen if name not in known]:
        raise UserError(
            f"the ensemble has the member {unknown[0]!r}, which is not among {', '.join(known)}; "
            "mend compare.ensemble in params.yaml"
        )
    return chosen


@dataclass(frozen=True)
class Stacker:
    """A logistic regression in which each class listens to what the models say about that class.

    Attributes:
        weights: of each model's log-probability of each class, float64 [M, C].
        shifts: float64 [C].
        spread: the prior's standard deviation of the weights.
    """

    weights: np.ndarray
    shifts: np.ndarray
    spread: float

    def __call__(self, log_probabilities: np.ndarray) -> np.ndarray:
        """The probabilities, float64 [N, C], from the models' log-probabilities [N, M, C]."""
        return metrics.softmax(np.einsum("nmc,mc->nc", centred(log_probabilities), self.weights) + self.shifts)


def centred(log_probabilities: np.ndarray) -> np.ndarray:
    """`log_probabilities` [..., C] less their mean over the classes: logits without an arbitrary constant."""
    return log_probabilities - log_probabilities.mean(axis=-1, keepdims=True)


def stack(labels: np.ndarray, log_probabilities: np.ndarray, spread: float) -> Stacker:
    """The stacker with the least penalised negative log-likelihood.

    The penalty is that of normal priors: on the weights around 1 / M, which is the geometric mean of the models, and
    on the shifts around 0. A class has M + 1 numbers and no say in another one's, because a validation fold has some
    20 images of the rarest class. The loss is strictly convex; Newton steps in a trust region find its minimum.

    Args:
        labels: int [N].
        log_probabilities: of the models, float [N, M, C].
        spread: the standard deviation of the weights' prior.

    Raises:
        ValueError: there are no images, or the shapes disagree.
    """
    labels, log_probabilities = np.asarray(labels, dtype=np.int64), np.asarray(log_probabilities, dtype=np.float64)
    if log_probabilities.ndim != 3 or len(log_probabilities) == 0 or labels.shape != log_probabilities.shape[:1]:
        raise ValueError(
            f"labels {labels.shape} and log-probabilities {log_probabilities.shape} "
            "must be [N] and [N, M, C] with N > 0"
        )
    count, models, classes = log_probabilities.shape
    inputs = np.concatenate([centred(log_probabilities), np.ones((count, 1, classes))], axis=1)
    start = np.concatenate([np.full((models, classes), 1 / models), np.zeros((1, classes))])
    precision = np.concatenate([np.full((models, classes), spread**-2.0), np.full((1, classes), SHIFT_PRIOR**-2.0)])
    truth = np.eye(classes)[labels]

    def probabilities_of(parameters: np.ndarray) -> np.ndarray:
        return metrics.softmax(np.einsum("nmc,mc->nc", inputs, parameters.reshape(start.shape)))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The penalised negative log-likelihood, and its gradient."""
        probabilities = probabilities_of(parameters)
        away = parameters.reshape(start.shape) - start
        likelihood = np.maximum(probabilities[np.arange(count), labels], np.finfo(np.float64).tiny)
        gradient = np.einsum("nmc,nc->mc", inputs, probabilities - truth) + precision * away
        return float(-np.log(likelihood).sum() + (precision * away**2).sum() / 2), gradient.ravel()

    def curvature(parameters: np.ndarray) -> np.ndarray:
        """The Hessian."""
        probabilities = probabilities_of(parameters)
        slopes = (inputs * probabilities[:, None]).reshape(count, -1)
        second = -(slopes.T @ slopes).reshape(*start.shape, *start.shape)
        for k in range(classes):
            second[:, k, :, k] += (inputs[:, :, k] * probabilities[:, k, None]).T @ inputs[:, :, k]
        return second.reshape(start.size, start.size) + np.diag(precision.ravel())

    options = {"gtol": 1e-8 * count}
    found = minimize(loss, start.ravel(), jac=True, hess=curvature, method="trust-exact", options=options)
    parameters = found.x.reshape(start.shape)
    return Stacker(parameters[:-1], parameters[-1], spread)


def choose_spread(
    labels: np.ndarray, log_probabilities: np.ndarray, groups: np.ndarray, spreads: Sequence[float] = SPREADS
) -> float:
    """The one of `spreads` whose stackers have the least negative log-likelihood on lesions left out of their fit.

    The images are dealt to INNER_FOLDS folds, the lesions whole and class by class.

    Args:
        labels: int [N].
        log_probabilities: float [N, M, C].
        groups: the lesion of every image, [N].
    """
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(first))
    dealt = np.empty(len(first), dtype=np.int64)
    dealt[shuffled[np.argsort(labels[first][shuffled], kind="stable")]] = np.arange(len(first)) % INNER_FOLDS
    fold = dealt[members]
    losses = []
    for spread in spreads:
        loss = 0.0
        for k in np.unique(fold):
            stacker = stack(labels[fold != k], log_probabilities[fold != k], spread)
            left_out = stacker(log_probabilities[fold == k])
            loss -= np.log(left_out[np.arange(len(left_out)), labels[fold == k]]).sum()
        losses.append(loss)
    return spreads[int(np.argmin(losses))]


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
class Ensembles:
    """Every ensemble's predictions of the test images, and what it is made of.

    Attributes:
        truth: image_id, group, dx and fold of the test images, sorted by image_id.
        probabilities: by way, float64 [N, 7], rows as in `truth`.
        weights: way (best_single, greedy or stacked), fold, model, dx ("all" where one weight serves all classes) and
            weight.
        spreads: fold and the spread that its validation rows chose.
    """

    truth: pd.DataFrame
    probabilities: dict[str, np.ndarray]
    weights: pd.DataFrame
    spreads: pd.DataFrame


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
    weights, spreads = [], []
    for k in np.unique(fold):
        fitting, scoring = val_fold == k, fold == k
        labels, groups = val_labels[fitting], val["group"].to_numpy()[fitting]
        for way, steps in (("best_single", 1), ("greedy", GREEDY_STEPS)):
            shares = greedy(labels, scaled["val"][:, fitting], steps)
            made[way][scoring] = np.einsum("m,mnc->nc", shares, scaled["test"][:, scoring])
            if steps == 1:
                chosen = models[names[int(shares.argmax())]]
                made["vector"][scoring] = calibration.probabilities(chosen, "test", "vector")[scoring]
            weights += [(way, k, name, "all", share) for name, share in zip(names, shares, strict=True)]
        spread = choose_spread(labels, logs["val"][fitting], groups)
        stacker = stack(labels, logs["val"][fitting], spread)
        made["stacked"][scoring] = stacker(logs["test"][scoring])
        spreads.append((k, spread))
        weights += [
            ("stacked", k, name, dx, stacker.weights[m, c])
            for m, name in enumerate(names)
            for c, dx in enumerate(CLASSES)
        ]
    shares = np.stack([counts[k] / counts[k].sum() for k in fold])
    made["best_single_rebalanced"] = calibration.rebalanced(made.pop("vector"), shares)
    for way in ("prior_corrected_mean", "stacked"):
        made[f"{way}_rebalanced"] = calibration.rebalanced(made[way], shares)
    return Ensembles(
        truth=test,
        probabilities={way: made[way] for way in sorted(made)},
        weights=pd.DataFrame(weights, columns=["way", "fold", "model", "dx", "weight"]),
        spreads=pd.DataFrame(spreads, columns=["fold", "spread"]),
    )


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
