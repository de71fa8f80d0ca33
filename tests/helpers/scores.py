"""Made-up scores and logits of images, and weightings of them."""

import numpy as np
import pandas as pd

from skinlesions.data import predictions
from skinlesions.evaluation import thresholds
from skinlesions.evaluation.metrics import softmax


def scored_images(*, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Whether each of 300 images is positive, and its score; with `ties` many images share theirs."""
    generator = np.random.default_rng(1)
    positive = generator.random(300) < 0.2
    score = 1 / (1 + np.exp(-(generator.normal(size=300) + 1.5 * positive)))
    return positive, np.round(score, 1) if ties else score


def random_weights(rows: int, images: int) -> np.ndarray:
    """How often each image counts in some weightings, int64 [rows, images]."""
    return np.random.default_rng(2).integers(0, 4, size=(rows, images))


def skewed(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the logits they were drawn from, and the logits of a model that is wrong about each class by itself."""
    generator = np.random.default_rng(seed)
    truth = 1.5 * generator.normal(size=(count, 7)) + np.array([-1.0, -1, 0, -2, 0, 2, -2])
    labels = (softmax(truth).cumsum(axis=1) > generator.random((count, 1))).argmax(axis=1)
    return labels, truth, truth * np.linspace(0.6, 1.4, 7) + np.linspace(1.5, -1.5, 7)


def drawn_models(count: int, members: int, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from some probabilities, and log-probabilities [N, M, C] of models that know them roughly."""
    generator = np.random.default_rng(seed)
    truth = 1.5 * generator.normal(size=(count, classes))
    labels = (softmax(truth).cumsum(axis=1) > generator.random((count, 1))).argmax(axis=1)
    stated = truth[:, None] + generator.normal(size=(count, members, classes))
    return labels, np.log(softmax(stated))


def part(table: pd.DataFrame, split: str) -> thresholds.Part:
    """The rows of a split of predictions, with the probabilities of their logits as they are."""
    return thresholds.part(table, split, softmax(predictions.logits(predictions.select(table, split))))
