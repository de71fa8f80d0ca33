"""The figure of the duplicates across lesions, in notebook 02."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from skinlesions.data import duplicates, registration
from skinlesions.figures.pictures import thumbnail

# Pairs to a row of the figure, and the side of a picture in pixels.
COLUMNS = 4
THUMBNAIL = 96


def pairs(table: pd.DataFrame, images: np.ndarray, index: pd.DataFrame, most: int = 12) -> Figure:
    """The confirmed pairs of different lesions, the least alike first: an image, and the other one laid on it.

    What the other image does not show is left white.

    Args:
        table: that of duplicates.find.
        images: uint8 [N, S, S, 3], may be memory-mapped: only the rows shown are read.
        index: image_id of every image.
        most: how many pairs are shown.
    """
    shown = duplicates.across_lesions(table).sort_values(["correlation", "image_id"], kind="stable").head(most)
    row_of = dict(zip(index["image_id"], range(len(index)), strict=True))
    rows = max(1, -(-len(shown) // COLUMNS))
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(2.4 * COLUMNS, 1.6 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, pair in zip(grid.flat, shown.itertuples(), strict=False):
        first, second = (np.asarray(images[row_of[name]]) for name in (pair.image_id, pair.other_image_id))
        axes.imshow(_side_by_side(first, second), interpolation="none")
        labels = " / ".join(dict.fromkeys((pair.dx, pair.other_dx)))
        axes.set_title(f"{labels}, correlation {pair.correlation:.2f}", fontsize=8)
    if shown.empty:
        grid[0, 0].text(0, 0.5, "no pair of different lesions was confirmed", transform=grid[0, 0].transAxes)
    return figure


def _side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`first`, and `second` laid on it as far as they can be registered, as one small picture, uint8 [H, W, 3]."""
    found = registration.register(registration.keypoints(first), registration.keypoints(second))
    if found:
        moved, inside = registration.laid_on(second, found.transform)
        second = np.where(inside[..., None], np.clip(np.round(moved), 0, 255), 255).astype("uint8")
    gap = np.full((THUMBNAIL, 4, 3), 255, "uint8")
    return np.concatenate([thumbnail(first, THUMBNAIL), gap, thumbnail(second, THUMBNAIL)], axis=1)
