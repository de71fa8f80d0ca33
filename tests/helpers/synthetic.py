"""Made-up predictions in the real format, for tests of what is computed from predictions."""

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES, LOGIT_COLUMNS
from skinlesions.data import predictions

# About the class shares of HAM10000.
LESIONS = {"akiec": 8, "bcc": 12, "bkl": 24, "df": 6, "mel": 22, "nv": 120, "vasc": 6}


def synthetic_index(lesions: dict[str, int] = LESIONS, seed: int = 0) -> pd.DataFrame:
    """Lesions with one to four images each: image_id, lesion_id, dx, sorted by image_id."""
    generator = np.random.default_rng(seed)
    rows = [(name, image) for name in lesions for image in generator.choice([1, 1, 1, 2, 2, 3, 4], size=lesions[name])]
    dx = [name for name, images in rows for _ in range(images)]
    lesion = [f"HAM_{number:07d}" for number, (_, images) in enumerate(rows) for _ in range(images)]
    numbers = generator.permutation(len(dx))
    index = pd.DataFrame({"image_id": [f"ISIC_{number:07d}" for number in numbers], "lesion_id": lesion, "dx": dx})
    return index.sort_values("image_id", ignore_index=True)


def synthetic_predictions(index: pd.DataFrame, skill: float = 1.5, seed: int = 0, folds: int = 5) -> pd.DataFrame:
    """Predictions whose true-class logit is about `skill` above the others, alike within a lesion; sorted."""
    generator = np.random.default_rng(seed)
    names, members = np.unique(index["lesion_id"], return_inverse=True)
    truth = np.array([CLASSES.index(name) for name in index["dx"]])
    # Not from the seed: all models of a comparison share the folds, and find the same lesions hard.
    shared = np.random.default_rng(20180814)
    difficulty = shared.normal(size=(len(names), len(CLASSES)))
    fold = shared.permutation(np.arange(len(names)) % folds)[members]
    tables = []
    for split, model in (("test", fold), ("val", (fold - 1) % folds)):
        logits = (difficulty + 0.5 * generator.normal(size=difficulty.shape))[members]
        logits += 0.5 * generator.normal(size=logits.shape)
        logits[np.arange(len(truth)), truth] += skill
        logits[:, CLASSES.index("nv")] += 0.8
        columns = {"image_id": index["image_id"], "lesion_id": index["lesion_id"], "group": index["lesion_id"]}
        columns |= {"dx": index["dx"], "fold": model, "split": split}
        columns |= {name: np.round(2 * logits[:, k], 4) for k, name in enumerate(LOGIT_COLUMNS)}
        tables.append(pd.DataFrame(columns))
    table = pd.concat(tables).sort_values(["split", "image_id"], ignore_index=True)
    return table[list(predictions.COLUMNS)]
