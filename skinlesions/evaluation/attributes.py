"""The attributes of the images that groups are made by: sex, age, localization, and how the diagnosis was confirmed."""

import numpy as np
import pandas as pd

from skinlesions.core.classes import DX_TYPES, SEXES
from skinlesions.core.errors import UserError

ATTRIBUTES = ("sex", "age", "localization", "dx_type")

# The first year of each band, and what the band is called.
AGE_BANDS = ((0, "under 30"), (30, "30–44"), (45, "45–59"), (60, "60–74"), (75, "75 and over"))
UNKNOWN = "unknown"


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
