"""The attributes of the images that groups are made by: sex, age, localization, and how the diagnosis was confirmed."""

from pathlib import Path

import numpy as np
import pandas as pd

from skinlesions.core import paths
from skinlesions.core.classes import DX_TYPES, SEXES
from skinlesions.core.errors import UserError

# What is published of the metadata, so that all of this can be recomputed without the images.
METADATA_COLUMNS = ("image_id", "age", "sex", "localization", "dx_type")

ATTRIBUTES = ("sex", "age", "localization", "dx_type")

# The first year of each band, and what the band is called.
AGE_BANDS = ((0, "under 30"), (30, "30–44"), (45, "45–59"), (60, "60–74"), (75, "75 and over"))
UNKNOWN = "unknown"


def metadata_table(index: pd.DataFrame) -> pd.DataFrame:
    """METADATA_COLUMNS of every image of the prepared `index`, sorted by image_id.

    Without lesions and diagnoses, which the published predictions have.
    """
    return index[list(METADATA_COLUMNS)].sort_values("image_id", kind="stable", ignore_index=True)


def read_metadata(path: Path) -> pd.DataFrame:
    """The table that `metadata_table` made, from the CSV file `path`; an unknown age is NaN.

    Raises:
        UserError: the file is absent, or breaks the format.
    """
    name = paths.relative(path)
    try:
        table = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values={"age": [""]})
    except FileNotFoundError:
        raise UserError(f"{name} does not exist. Run `make report`, or restore it from Git.") from None
    except ValueError as error:
        raise UserError(f"{name} cannot be read as CSV: {error}. Restore it from Git.") from None
    if list(table.columns) != list(METADATA_COLUMNS):
        raise UserError(f"{name} has the columns {', '.join(table.columns)}; expected {', '.join(METADATA_COLUMNS)}")
    if not pd.api.types.is_numeric_dtype(table["age"]):
        raise UserError(f"{name}: the column age holds something that is not a number; restore the file from Git")
    if table["image_id"].duplicated().any():
        raise UserError(f"{name}: image {table['image_id'][table['image_id'].duplicated()].iloc[0]} appears twice")
    return table


def age_band(age: pd.Series) -> pd.Series:
    """The name of the band of every age in years; UNKNOWN where there is none."""
    starts = [start for start, _ in AGE_BANDS]
    positions = np.searchsorted(starts, age.fillna(-1), side="right") - 1
    names = np.array([*(name for _, name in AGE_BANDS), UNKNOWN], dtype=object)
    return pd.Series(names[positions], index=age.index)


def attributes(image_ids: pd.Series, metadata: pd.DataFrame) -> pd.DataFrame:
    """The group of every image by each of ATTRIBUTES, in the order of `image_ids`.

    Raises:
        UserError: `metadata` lacks an image.
    """
    known = metadata.set_index("image_id")
    missing = sorted(set(image_ids) - set(known.index))
    if missing:
        raise UserError(
            f"the metadata have no image {missing[0]} ({len(missing)} of {len(image_ids)} images are missing); "
            "they belong to another run than the predictions"
        )
    rows = known.loc[image_ids].reset_index(drop=True)
    return rows.assign(age=age_band(rows["age"]))[list(ATTRIBUTES)]


def ordered_groups(attribute: str, values: pd.Series) -> list[str]:
    """The groups that occur among `values`, in the order in which they are tabulated, the unknown ones last."""
    orders = {"sex": SEXES, "age": [name for _, name in AGE_BANDS], "dx_type": DX_TYPES}
    by_size = values.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    order = orders.get(attribute, by_size)
    present = [name for name in order if name != UNKNOWN and (values == name).any()]
    others = sorted(set(values) - set(present) - {UNKNOWN})
    return present + others + [UNKNOWN] * bool((values == UNKNOWN).any())
