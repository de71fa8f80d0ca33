"""Made-up scores of images that are positive or not, and weightings of them."""

import numpy as np


def scored_images(*, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Whether each of 300 images is positive, and its score; with `ties` many images share theirs."""
    generator = np.random.default_rng(1)
    positive = generator.random(300) < 0.2
    score = 1 / (1 + np.exp(-(generator.normal(size=300) + 1.5 * positive)))
    return positive, np.round(score, 1) if ties else score


def random_weights(rows: int, images: int) -> np.ndarray:
    """How often each image counts in some weightings, int64 [rows, images]."""
    return np.random.default_rng(2).integers(0, 4, size=(rows, images))
