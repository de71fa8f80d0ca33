"""The audit of a split: what of its tested parts was seen in training, and how hard what is tested is.

A lesion on both sides is memory that a score takes for skill; so is one lesion under two identifiers, and one picture
under two names. And a nevus that was only watched (follow-up) was never suspicious enough to be cut out: a test part
with many of them is easy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core.classes import CLASSES, DX_TYPES
from skinlesions.data.given_splits import TEST, TRAIN, VALIDATION

ALL = "all"
# What a split into folds is audited as: each of them against all others.
EACH_FOLD, OTHER_FOLDS = "each part", "the other parts"

COLUMNS = (
    *("tested", "against", "dx", "images", "lesions"),
    *("same_lesion", "near_duplicate", "identical", "same_image", "seen", "share"),
    *DX_TYPES,
)


@dataclass(frozen=True)
class Pairs:
    """Images that show the same without being of one lesion by name: image_id, other_image_id; None: not known.

    Attributes:
        near_duplicate: photographs of one lesion under two identifiers.
        identical: the same picture under two names.
    """

    near_duplicate: pd.DataFrame | None
    identical: pd.DataFrame | None

    def with_those_of(self, other: "Pairs") -> "Pairs":
        """The pairs that either knows."""
        kinds = ((self.near_duplicate, other.near_duplicate), (self.identical, other.identical))
        known = [[pairs for pairs in kind if pairs is not None] for kind in kinds]
        return Pairs(*(pd.concat(kind, ignore_index=True) if kind else None for kind in known))


def crossings(split: pd.DataFrame, pairs: Pairs) -> pd.DataFrame:
    """What of every tested part of a split is in the part that it is tested against, by class and over all.

    Args:
        split: image_id, part, lesion_id, dx and dx_type of every image; one of several parts has a row for each.
        pairs: what is known beside the lesions.

    Returns:
        COLUMNS. Of `images` of `lesions`: those whose lesion has an image on the other side (same_lesion), those with a
        near-duplicate or an identical picture there, and those that are there themselves (same_image); those of which
        any is so (seen), and their share. Then how many of the images were confirmed in which way. What is not known is
        NaN.
    """
    return pd.DataFrame([row for sides in _sides(split) for row in _rows(split, pairs, *sides)], columns=list(COLUMNS))


def _sides(split: pd.DataFrame) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    """What is tested against what: their names, and for each tested part those parts that it is tested against."""
    parts = list(split["part"].unique())
    if TRAIN not in parts:
        yield EACH_FOLD, OTHER_FOLDS, {part: [other for other in parts if other != part] for part in parts}
        return
    for part in (part for part in parts if part != TRAIN):
        yield part, TRAIN, {part: [TRAIN]}
    if {VALIDATION, TEST} <= set(parts):
        yield TEST, VALIDATION, {TEST: [VALIDATION]}


def _rows(
    split: pd.DataFrame, pairs: Pairs, tested: str, against: str, sides: dict[str, list[str]]
) -> Iterator[tuple[Any, ...]]:
    parts = []
    found: dict[str, pd.Series] = {}
    for part, others in sides.items():
        own, other = split[split["part"] == part], split[split["part"].isin(others)]
        there = set(other["image_id"])
        found = {
            "same_lesion": own["lesion_id"].isin(other["lesion_id"]) & (own["lesion_id"] != ""),
            "near_duplicate": _linked(own["image_id"], there, pairs.near_duplicate),
            "identical": _linked(own["image_id"], there, pairs.identical),
            "same_image": own["image_id"].isin(there),
        }
        parts.append(own.assign(**found, seen=pd.DataFrame(found).eq(True).any(axis=1)))
    table = pd.concat(parts)
    for dx in (*CLASSES, ALL):
        kind = table if dx == ALL else table[table["dx"] == dx]
        if len(kind):
            counts = [_count(kind[name]) for name in (*found, "seen")]
            confirmed = [int((kind["dx_type"] == name).sum()) for name in DX_TYPES]
            lesions = kind.loc[kind["lesion_id"] != "", "lesion_id"].nunique()
            yield tested, against, dx, len(kind), lesions, *counts, counts[-1] / len(kind), *confirmed


def _linked(images: pd.Series, there: set[str], pairs: pd.DataFrame | None) -> pd.Series:
    """Whether a pair links each of `images` to one that is `there`; NaN if no pairs are known."""
    if pairs is None:
        return pd.Series(np.nan, index=images.index)
    first, second = pairs["image_id"], pairs["other_image_id"]
    linked = {*first[second.isin(there)], *second[first.isin(there)]}
    return images.isin(linked)


def _count(found: pd.Series) -> float:
    return float("nan") if found.isna().any() else int(found.sum())


def nevi(table: pd.DataFrame) -> pd.DataFrame:
    """How easy the nevi are: part, images, follow_up and histo, the last two as shares.

    Args:
        table: image_id, part, dx and dx_type; a part called ALL is all that is known.
    """
    rows = []
    for part, own in table[table["dx"] == "nv"].groupby("part", sort=False):
        shares = [float((own["dx_type"] == name).mean()) for name in ("follow_up", "histo")]
        rows.append((part, len(own), *shares))
    return pd.DataFrame(rows, columns=["part", "images", "follow_up", "histo"])
