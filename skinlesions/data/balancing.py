"""Strategies against class imbalance, each as three things a training loop can apply.

- class weights: how much an image of a class counts in the loss;
- a sample: which training images are seen in an epoch, and how often;
- an adjustment of the logits inside the loss, or a focal exponent.

Class counts are always those of the training part of a fold: nothing is taken from validation or test.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from skinlesions.core import files
from skinlesions.core.classes import CLASSES

# The published offline augmentation: every image of a class gave this many.
ORIGINAL_MULTIPLES = {"akiec": 6, "bcc": 4, "bkl": 2, "df": 19, "mel": 2, "nv": 1, "vasc": 16}

DESCRIPTIONS = {
    "none": "every image counts the same",
    "balanced_weights": "loss weights inverse to class size, as published",
    "effective_number_weights": "loss weights inverse to the effective number of images (Cui et al. 2019)",
    "undersample_nv": "a share of the nv images dropped at random, as published, but seeded",
    "oversample": "images of rare classes repeated by the published multiples (akiec 6, bcc 4, df 19, ...)",
    "logit_adjustment": "log class priors added to the logits inside the loss (Menon et al. 2021)",
    "focal_loss": "easy images count less in the loss (Lin et al. 2017)",
}


@dataclass(frozen=True)
class Plan:
    """A strategy and the numbers of all of them; only the strategy's own numbers have an effect.

    Attributes:
        strategy: one of DESCRIPTIONS.
        nv_share_dropped: undersample_nv: the share of nv images left out, 0 to 1.
        effective_number_beta: effective_number_weights: beta of Cui et al. 2019, eq. 2.
        focal_gamma: focal_loss: gamma of Lin et al. 2017, eq. 4.
        logit_adjustment_tau: logit_adjustment: tau of Menon et al. 2021, eq. 10.
    """

    strategy: str
    nv_share_dropped: float
    effective_number_beta: float
    focal_gamma: float
    logit_adjustment_tau: float

    def __post_init__(self) -> None:
        if self.strategy not in DESCRIPTIONS:
            raise ValueError(f"unknown balancing strategy {self.strategy!r}; known: {', '.join(DESCRIPTIONS)}")

    @property
    def gamma(self) -> float:
        """The focal exponent of the loss; 0 is plain cross-entropy."""
        return self.focal_gamma if self.strategy == "focal_loss" else 0.0


def write(path: Path, plan: Plan) -> None:
    """Write `plan` to a JSON file."""
    files.write_json(path, asdict(plan))


def read(path: Path) -> Plan:
    """The plan in a JSON file that `write` wrote."""
    return Plan(**files.read_json(path))


def counts(labels: np.ndarray) -> np.ndarray:
    """How many of `labels` (int [N]) are of each class, int64 [7]."""
    return np.bincount(labels, minlength=len(CLASSES))


def class_weights(plan: Plan, class_counts: np.ndarray) -> np.ndarray:
    """The loss weight of each class, float64 [7]; the mean over the images is 1.

    `balanced_weights` are N / (7 n_c), as in scikit-learn. `effective_number_weights` are proportional to
    (1 - beta) / (1 - beta^n_c).
    """
    present = np.maximum(class_counts, 1)
    if plan.strategy == "balanced_weights":
        weights = 1 / present
    elif plan.strategy == "effective_number_weights":
        weights = (1 - plan.effective_number_beta) / (1 - plan.effective_number_beta**present)
    else:
        return np.ones(len(CLASSES))
    return weights * class_counts.sum() / (weights * class_counts).sum()


def logit_offset(plan: Plan, class_counts: np.ndarray) -> np.ndarray:
    """What the loss adds to the logits, float64 [7]: tau times the log prior of each class; zeros without it."""
    if plan.strategy != "logit_adjustment":
        return np.zeros(len(CLASSES))
    return plan.logit_adjustment_tau * np.log(np.maximum(class_counts, 1) / class_counts.sum())


def sample(plan: Plan, labels: np.ndarray, seed: int) -> np.ndarray:
    """Which training images are seen, as positions in `labels`, some left out or repeated.

    Args:
        labels: the classes of the training images, int [N].
        seed: what decides which nv images are left out.
    """
    positions = np.arange(len(labels))
    if plan.strategy == "undersample_nv":
        nevi = positions[labels == CLASSES.index("nv")]
        dropped = np.random.default_rng(seed).permutation(nevi)[: round(plan.nv_share_dropped * len(nevi))]
        return np.setdiff1d(positions, dropped)
    if plan.strategy == "oversample":
        multiples = np.array([ORIGINAL_MULTIPLES[name] for name in CLASSES])
        return np.repeat(positions, multiples[labels])
    return positions
