"""A synthetic stand-in for HAM10000, to run the pipeline without a download.

The schema, the order of the class sizes, the missing values, the ways of confirmation, and the ages, sexes and sites of
each diagnosis follow HAM10000; the images are drawn. As there, nevi that were followed up have a tint of their
own, and some diagnoses are wrong. No result on them says anything about real lesions.
"""

import io
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES, METADATA_COLUMNS
from skinlesions.core.parallel import in_order
from skinlesions.data.sources.drawing import FOLLOW_UP, LOOKS, USUAL, paint, photographed

NOTE = (
    "Synthetic sample: these images are drawn by a program, so that the pipeline can run without a download. "
    "No number, figure or ranking computed from them says anything about skin lesions or about any model."
)

# Enough lesions that each of five lesion-grouped folds holds every class, even if two of them are taken for one.
MINIMUM_LESIONS = 8

# No class is rarer than this share of the images: of the 1 % that HAM10000 has of some, a small sample teaches nothing.
MINIMUM_SHARE = 0.04

# HAM10000: images and lesions of every class.
IMAGES = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
LESIONS = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}

# Of this share of the lesions the diagnosis is wrong: they look like the class that theirs is most often taken for.
MISLABELLED = 0.03
MISTAKEN = {"akiec": "bcc", "bcc": "akiec", "bkl": "mel", "df": "nv", "mel": "nv", "nv": "mel", "vasc": "bcc"}

# Shares of lesions without an age, of unknown sex and of unknown localization.
MISSING = {"age": 0.02, "sex": 0.02, "localization": 0.03}

# (mean, standard deviation) of the age in years; the share of men.
AGES = {
    "akiec": (67, 12),
    "bcc": (67, 13),
    "bkl": (64, 14),
    "df": (53, 13),
    "mel": (61, 15),
    "nv": (47, 14),
    "vasc": (52, 20),
}
MEN = {"akiec": 0.65, "bcc": 0.63, "bkl": 0.57, "df": 0.48, "mel": 0.60, "nv": 0.51, "vasc": 0.51}

DX_TYPE_SHARES = {
    "akiec": {"histo": 1.0},
    "bcc": {"histo": 1.0},
    "bkl": {"histo": 0.70, "consensus": 0.24, "confocal": 0.06},
    "df": {"histo": 0.48, "consensus": 0.52},
    "mel": {"histo": 1.0},
    "nv": {"histo": 0.37, "follow_up": 0.55, "consensus": 0.08},
    "vasc": {"histo": 0.47, "consensus": 0.53},
}

# Percent of the lesions of each class, in the order of LOCALIZATIONS.
LOCALIZATIONS = (
    "face", "scalp", "ear", "neck", "back", "abdomen", "trunk", "upper extremity", "lower extremity", "hand", "foot",
    "chest",
)  # fmt: skip
LOCALIZATION_SHARES = {
    "akiec": (37, 4, 1, 4, 10, 1, 0, 18, 18, 4, 0, 3),
    "bcc": (19, 3, 1, 3, 38, 3, 2, 10, 11, 0, 1, 9),
    "bkl": (27, 3, 1, 3, 18, 5, 8, 9, 17, 2, 0, 7),
    "df": (0, 0, 0, 0, 1, 3, 0, 19, 75, 0, 2, 0),
    "mel": (11, 1, 2, 3, 30, 5, 4, 18, 18, 0, 2, 6),
    "nv": (1, 0, 0, 1, 20, 13, 22, 9, 27, 1, 4, 2),
    "vasc": (5, 2, 0, 2, 12, 22, 28, 6, 17, 3, 0, 3),
}


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
    table["sex"] = ["male" if random.uniform() < MEN[dx] else "female" for dx in table["dx"]]
    localizations = {dx: dict(zip(LOCALIZATIONS, shares, strict=True)) for dx, shares in LOCALIZATION_SHARES.items()}
    table["localization"] = [_draw(localizations[dx], random) for dx in table["dx"]]
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
    least = max(MINIMUM_LESIONS + 3, round(images * MINIMUM_SHARE))
    sizes = {dx: max(least, round(images * IMAGES[dx] / total)) for dx in CLASSES if dx != "nv"}
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


def _draw(shares: Mapping[str, float], random: np.random.Generator) -> str:
    """A key, as often as its value says."""
    weights = np.array(list(shares.values()))
    return str(random.choice(list(shares), p=weights / weights.sum()))


def looks_like(dx: str, lesion_id: str, seed: int) -> str:
    """The class that a lesion of the class `dx` is drawn as: another one where the diagnosis is wrong."""
    is_wrong = np.random.default_rng([seed, 3, _number(lesion_id)]).uniform() < MISLABELLED
    return MISTAKEN[dx] if is_wrong else dx


def _number(lesion_id: str) -> int:
    return int(lesion_id.rpartition("_")[2])


def images(table: pd.DataFrame, seed: int) -> Iterator[tuple[str, bytes]]:
    """(image id, bytes of the JPEG file) of every row of `table`, lesion by lesion.

    A lesion and a photograph depend on the seed, the row and their own ids alone, not on what came before.
    """

    def photographs(lesion: tuple[str, pd.DataFrame]) -> list[tuple[str, bytes]]:
        lesion_id, rows = lesion
        number, first = _number(lesion_id), rows.iloc[0]
        look = LOOKS[looks_like(first["dx"], lesion_id, seed)]
        canvas = paint(look, np.random.default_rng([seed, 1, number]))
        tint = FOLLOW_UP if first["dx_type"] == "follow_up" else USUAL
        results = []
        for view, image_id in enumerate(rows["image_id"]):
            buffer = io.BytesIO()
            photograph = photographed(canvas, np.random.default_rng([seed, 2, number, view]), tint)
            photograph.save(buffer, "JPEG", quality=90)
            results.append((image_id, buffer.getvalue()))
        return results

    for results in in_order(photographs, table.groupby("lesion_id", sort=True)):
        yield from results
