"""How alike heat maps are: of one picture before and after a change, and of different pictures."""

import numpy as np
from scipy import stats
from skimage.metrics import structural_similarity

from skinlesions.explain.gradcam import scaled

MEASURES = ("spearman", "ssim")


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over the cells of two stacks of maps [n, h, w], float64 [n].

    A map of equal values, such as an empty one, has no order of cells; its correlation counts as 0.
    """
    ranks = [stats.rankdata(part.reshape(len(part), -1), axis=1) for part in (first, second)]
    ranks = [part - part.mean(axis=1, keepdims=True) for part in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.divide((ranks[0] * ranks[1]).sum(axis=1), norm, out=np.zeros(len(norm)), where=norm > 0)


def ssim(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    """The structural similarity of two stacks of maps [n, h, w], each scaled to `size` pixels and 0 to 1; float64 [n].

    Source: Wang et al. 2004, as in scikit-image with its uniform window of 7 pixels.
    """
    pairs = zip(scaled(first, size), scaled(second, size), strict=True)
    return np.array([structural_similarity(one, other, data_range=1.0) for one, other in pairs], "float64")


def similarities(first: np.ndarray, second: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Both measures of similarity of two stacks of maps [n, h, w], float64 [n] each."""
    return {"spearman": spearman(first, second), "ssim": ssim(first, second, size)}


def likeness(maps: np.ndarray) -> float:
    """The mean rank correlation between the maps [n, h, w] of different pictures; NaN with fewer than two.

    Maps without any shape, such as empty ones, are left out.
    """
    shaped = maps[np.ptp(maps, axis=(1, 2)) > 0]
    first, second = np.triu_indices(len(shaped), 1)
    return float(spearman(shaped[first], shaped[second]).mean()) if len(first) else float("nan")


def to_other_images(maps: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """How similar the map of each image is to those of the other images, on average; float64 [n] by measure.

    Maps of one network resemble each other whatever the picture: lesions are in the middle. What random weights leave
    over is to be read against this.
    """
    count = len(maps)
    first, second = np.triu_indices(count, 1)
    found = {}
    for name, values in similarities(maps[first], maps[second], size).items():
        total = np.bincount(first, values, count) + np.bincount(second, values, count)
        found[name] = total / max(count - 1, 1)
    return found
