"""What things are called, in tables and by readers: what the report shares with the statistics."""

from collections.abc import Iterable, Sequence

from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError

# Rows of the comparison that are no model: the mean of the members, the regression stacked on them, and the classifier
# that calls every image a nevus, which is the floor under every accuracy on these data.
ENSEMBLE = "ensemble"
STACKED = "stacked"
ALWAYS_NV = "always_nv"

# What a table says of a model beside its scores, and what it says where there is nothing to say.
DESCRIBED = ("training", "initialisation")

# Of an external set: the images that are none of the seven classes, and those that HAM10000 has.
OUT_OF_SCOPE_COLUMNS = ("image_id", "lesion_id", "diagnosis")
TAKEN_OUT_COLUMNS = ("image_id", "reason", "ham10000_image_id", "similarity", "inliers", "correlation")

CLASS_METRIC_NAMES = {
    "recall": "recall",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "average precision",
}

METRIC_NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_auc": "macro AUC",
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "macro_average_precision": "macro average precision",
} | {f"{metric}_{name}": f"{text} of {name}" for metric, text in CLASS_METRIC_NAMES.items() for name in CLASSES}

INTERVAL_METRICS = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "macro_auc",
    "macro_average_precision",
)
CALIBRATION_METRICS = ("nll", "brier", "ece")

# How probabilities are calibrated.
CALIBRATION_NAMES = {
    "as_trained": "as trained",
    "temperature": "temperature scaling",
    "vector": "vector scaling",
    "prior_corrected": "prior correction",
    "prior_corrected_temperature": "prior correction and temperature scaling",
}

# How models are combined.
ENSEMBLE_NAMES = {
    "best_single": "the single model best on validation",
    "best_single_rebalanced": "the single model, vector-scaled, rebalanced",
    "geometric_mean": "geometric mean",
    "greedy": "greedy selection",
    "mean": "mean of the calibrated probabilities",
    "prior_corrected_mean": "mean, prior-corrected, not rebalanced",
    "prior_corrected_mean_rebalanced": "mean, prior-corrected",
    "stacked": "stacked, not rebalanced",
    "stacked_rebalanced": "stacked",
}

# What is decided.
TASK_NAMES = {"melanoma": "melanoma against the rest", "malignant": "malignant against benign"}

# How certain an answer is.
CERTAINTY_NAMES = {
    "probability": "probability of the predicted class",
    "entropy": "entropy of the probabilities",
    "mutual_information": "disagreement of the models (mutual information)",
    "variance": "disagreement of the models (variance)",
}

# The groups of images; the one of all images is what the others are read against.
ATTRIBUTE_NAMES = {"sex": "sex", "age": "age", "localization": "localization", "dx_type": "confirmed by"}
ALL, ALL_IMAGES = "all", "all images"
GROUP_METRIC_NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC, malignant against benign",
    "recall_mel": "recall of melanoma",
    "sensitivity": "sensitivity to malignant lesions",
    "specificity": "specificity on benign lesions",
}
# A score that rests on fewer lesions is marked as small: one lesion is worth more than five points of it, and a
# percentile interval of a share close to 0 or 1 is then too narrow.
MINIMUM_LESIONS = 20


def display_name(model: str) -> str:
    """`model` as readers see it."""
    return "always “nv”" if model == ALWAYS_NV else model


def leading(models: Sequence[str]) -> list[str]:
    """Whose curves are drawn: the best single model, and after it the ensemble where there is one.

    Args:
        models: those of the table `comparison`, best first.
    """
    single = next(name for name in models if name not in (ENSEMBLE, STACKED, ALWAYS_NV))
    return [single, ENSEMBLE] if ENSEMBLE in models else [single]


def members(ensemble: Sequence[str] | str, models: Iterable[str]) -> list[str]:
    """The names of the models that the ensemble is made of, sorted.

    Args:
        ensemble: their names, or `all`, as params.yaml has it.
        models: the names of all models.

    Raises:
        UserError: one of them is not among the models.
    """
    known = sorted(models)
    chosen = known if ensemble == "all" else sorted(ensemble)
    if unknown := [name for name in chosen if name not in known]:
        raise UserError(
            f"the ensemble has the member {unknown[0]!r}, which is not among {', '.join(known)}; "
            "mend compare.ensemble in params.yaml"
        )
    return chosen
