"""A synthetic stand-in for HAM10000, to run the pipeline without a download.

The schema, the order of magnitude of the class sizes, the missing values and the ways of confirmation follow HAM10000;
the images are drawn. No result on them says anything about real lesions.
"""

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES, METADATA_COLUMNS
from skinlesions.core.parallel import in_order
from skinlesions.data.sources.drawing import LOOKS, paint, photographed

NOTE = (
    "Synthetic sample: these images are drawn by a program, so that the pipeline can run without a download. "
    "No number, figure or ranking computed from them says anything about skin lesions or about any model."
)

# Enough lesions that each of five lesion-grouped folds holds every class, even if two of them are taken for one.
MINIMUM_LESIONS = 8

# HAM10000: images and lesions of every class.
IMAGES = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
LESIONS = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}

# Shares of lesions without an age, of unknown sex and of unknown localization.
MISSING = {"age": 0.02, "sex": 0.02, "localization": 0.03}

# (mean, standard deviation) of the age in years.
AGES = {
    "akiec": (67, 11),
    "bcc": (67, 13),
    "bkl": (64, 14),
    "df": (52, 13),
    "mel": (61, 15),
    "nv": (46, 15),
    "vasc": (51, 20),
}

DX_TYPE_SHARES = {
    "akiec": {"histo": 1.0},
    "bcc": {"histo": 1.0},
    "bkl": {"histo": 0.70, "consensus": 0.24, "confocal": 0.06},
    "df": {"histo": 0.48, "consensus": 0.52},
    "mel": {"histo": 1.0},
    "nv": {"histo": 0.37, "follow_up": 0.55, "consensus": 0.08},
    "vasc": {"histo": 0.47, "consensus": 0.53},
}

TRUNK_AND_LIMBS = {
    "back": 0.24,
    "lower extremity": 0.24,
    "trunk": 0.17,
    "upper extremity": 0.12,
    "abdomen": 0.11,
    "foot": 0.04,
    "chest": 0.04,
    "neck": 0.02,
    "hand": 0.01,
    "genital": 0.01,
}
SUN_EXPOSED = {
    "face": 0.34,
    "back": 0.18,
    "upper extremity": 0.15,
    "lower extremity": 0.13,
    "scalp": 0.07,
    "chest": 0.06,
    "neck": 0.04,
    "ear": 0.03,
}
LOCALIZATION_SHARES = {name: SUN_EXPOSED if name in ("akiec", "bcc", "bkl") else TRUNK_AND_LIMBS for name in CLASSES}


def metadata(images: int, seed: int) -> pd.DataFrame:
    """The metadata of the sample: METADATA_COLUMNS, sorted by image_id, one row per image.

    Args:
        images: how many rows; at least 100.
        seed: what all draws derive from.
    """
    random = np.random.default_rng([seed, 0])
    lesions = [(dx, size) for dx, count in _class_sizes(images).items() for size in _lesion_sizes(dx, count, random)]
    order = random.permutation(len(lesions))
    table = pd.DataFrame([lesions[position] for position in order], columns=["dx", "views"])
    table.insert(0, "lesion_id", [f"SAMPLE_LESION_{number:05d}" for number in range(1, len(table) + 1)])
    table["dx_type"] = [_draw(DX_TYPE_SHARES[dx], random) for dx in table["dx"]]
    ages = [random.normal(*AGES[dx]) for dx in table["dx"]]
    table["age"] = np.clip(np.round(np.array(ages) / 5) * 5, 5, 85)
    table["sex"] = random.choice(["male", "female"], len(table), p=[0.54, 0.46])
    table["localization"] = [_draw(LOCALIZATION_SHARES[dx], random) for dx in table["dx"]]
    for column, share in MISSING.items():
        unknown = random.permutation(len(table))[: max(1, round(share * len(table)))]
        table.loc[unknown, column] = np.nan if column == "age" else "unknown"

    rows = table.loc[table.index.repeat(table["views"])]
    # Image ids do not tell which images belong together.
    rows = rows.iloc[random.permutation(len(rows))].reset_index(drop=True)
    rows["image_id"] = [f"SAMPLE_{number:05d}" for number in range(1, len(rows) + 1)]
    return rows[list(METADATA_COLUMNS)]


def _class_sizes(images: int) -> dict[str, int]:
    """Images per class, as in HAM10000 but for a minimum; nv takes what is left."""
    total = sum(IMAGES.values())
    # A few lesions more than the minimum have a second image.
    sizes = {dx: max(MINIMUM_LESIONS + 3, round(images * IMAGES[dx] / total)) for dx in CLASSES if dx != "nv"}
    sizes["nv"] = images - sum(sizes.values())
    return {dx: sizes[dx] for dx in CLASSES}


def _lesion_sizes(dx: str, images: int, random: np.random.Generator) -> list[int]:
    """How many images each lesion of a class has: 1 to 4, on average as in HAM10000."""
    repeats = IMAGES[dx] / LESIONS[dx] - 1
    sizes: list[int] = []
    while images > 0:
        spare = images - max(MINIMUM_LESIONS - len(sizes), 1)
        size = 1 + min(int(random.poisson(repeats)), max(spare, 0), 3)
        sizes.append(size)
        images -= size
    return sizes


def _draw(shares: dict[str, float], random: np.random.Generator) -> str:
    """A key, as often as its value says."""
    weights = np.array(list(shares.values()))
    return str(random.choice(list(shares), p=weights / weights.sum()))


def images(table: pd.DataFrame, seed: int) -> Iterator[tuple[str, bytes]]:
    """(image id, bytes of the JPEG file) of every row of `table`, lesion by lesion.

    A lesion and a photograph depend on the seed, the class and their own ids alone, not on what came before.
    """

    def photographs(lesion: tuple[str, pd.DataFrame]) -> list[tuple[str, bytes]]:
        lesion_id, rows = lesion
        number = int(lesion_id.rpartition("_")[2])
        canvas = paint(LOOKS[rows["dx"].iloc[0]], np.random.default_rng([seed, 1, number]))
        results = []
        for view, image_id in enumerate(rows["image_id"]):
            buffer = io.BytesIO()
            photograph = photographed(canvas, np.random.default_rng([seed, 2, number, view]))
            photograph.save(buffer, "JPEG", quality=90)
            results.append((image_id, buffer.getvalue()))
        return results

    for results in in_order(photographs, table.groupby("lesion_id", sort=True)):
        yield from results
