"""The columns and classes of HAM10000, and the checked reading of the tables that carry them.

Source: Tschandl, Rosendahl, Kittler, "The HAM10000 dataset", Scientific Data 5:180161 (2018).
"""

from pathlib import Path

import pandas as pd

from skinlesions.core import paths

# The ISIC seven, in the order of every array, table and figure of the project.
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

CLASS_NAMES = {
    "akiec": "actinic keratosis / intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}

MALIGNANT = ("akiec", "bcc", "mel")

METADATA_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")

# The columns of data/prepared/index.csv; row i describes images.npy[i].
INDEX_COLUMNS = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization")

# How a diagnosis was confirmed, from the strongest evidence to the weakest.
DX_TYPES = ("histo", "confocal", "follow_up", "consensus")

SEXES = ("female", "male", "unknown")

LOGIT_COLUMNS = tuple(f"logit_{name}" for name in CLASSES)


def class_indices(dx: pd.Series) -> pd.Series:
    """The position of every diagnosis in CLASSES, int64 [N].

    Raises:
        ValueError: a diagnosis is not one of CLASSES.
    """
    positions = pd.Index(CLASSES).get_indexer(dx)
    unknown = sorted(set(dx[positions < 0]))
    if unknown:
        raise ValueError(f"unknown diagnosis {unknown[0]!r}; known: {', '.join(CLASSES)}")
    return pd.Series(positions, index=dx.index, name=dx.name, dtype="int64")


def read_index(path: Path = paths.PREPARED_INDEX) -> pd.DataFrame:
    """The index of the prepared images: row i describes images.npy[i] and every backbone's features[i]."""
    return pd.read_csv(path, dtype={"image_id": str, "lesion_id": str}, keep_default_na=False, na_values={"age": [""]})
