"""Small pictures of lesions: structures and colours stay visible, and the files small, since the report is in Git."""

import numpy as np
from PIL import Image

# The step between the levels of a colour: a file of fewer levels is smaller, its look the same.
LEVEL_STEP = 8


def coarse(image: np.ndarray) -> np.ndarray:
    """`image` (0–255) with 256 / LEVEL_STEP levels per colour, as uint8."""
    return (np.asarray(image).astype("uint8") // LEVEL_STEP * LEVEL_STEP + LEVEL_STEP // 2).astype("uint8")


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """`image`, uint8 [P, P, 3], at `side` pixels a side, in few levels: uint8 [side, side, 3]."""
    return coarse(np.asarray(Image.fromarray(np.asarray(image)).resize((side, side), Image.Resampling.BOX)))
