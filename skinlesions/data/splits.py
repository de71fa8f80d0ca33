"""Lesion-grouped, stratified folds.

HAM10000 shows many lesions on several images. A split by image puts views of one lesion on both sides and measures
memory; here all images of a lesion share a fold, and so do lesions that a pair of duplicate photographs links.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from skinlesions.core import classes
from skinlesions.core.errors import UserError


def make_folds(index: pd.DataFrame, folds: int, seed: int, duplicates: pd.DataFrame | None = None) -> pd.DataFrame:
    """Deal the lesions of `index` to folds so that every fold has about the same share of each class.

    Args:
        index: image_id, lesion_id and dx of every image.
        duplicates: the table of data.duplicates, whose confirmed pairs are kept together; None: every lesion
            is a group of its own.

    Returns:
        image_id, group (the lesion, or the first of those kept together) and fold (0 to folds - 1), in the order of
        `index`.

    Raises:
        UserError: a class has fewer groups than there are folds, or a pair names an unknown lesion.
    """
    group = index["lesion_id"] if duplicates is None else merged_lesions(index["lesion_id"], duplicates)
    groups = group.groupby(index["dx"]).nunique()
    for name in classes.CLASSES:
        if groups.get(name, 0) < folds:
            raise UserError(
                f"class {name} has {groups.get(name, 0)} lesions, too few for {folds} folds; "
                "set split.folds lower or use more images"
            )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.empty(len(index), "int64")
    for number, (_, test) in enumerate(splitter.split(index, index["dx"], group)):
        fold[test] = number
    table = pd.DataFrame({"image_id": index["image_id"], "group": group, "fold": fold})
    check_folds(table, index["dx"])
    return table


def merged_lesions(lesions: pd.Series, duplicates: pd.DataFrame) -> pd.Series:
    """The group of every image: the first, in the order of their names, of the lesions that chains of pairs link.

    Args:
        lesions: the lesion_id of every image.
        duplicates: lesion_id, other_lesion_id, and `confirmed` (bool), without which a pair does not count.

    Raises:
        UserError: a pair names a lesion that is not in `lesions`.
    """
    confirmed = duplicates[duplicates["confirmed"].to_numpy(dtype=bool)]
    names, members = np.unique(lesions.to_numpy(dtype=str), return_inverse=True)
    ends = [confirmed[column].to_numpy(dtype=str) for column in ("lesion_id", "other_lesion_id")]
    unknown = sorted(set(np.concatenate(ends)) - set(names))
    if unknown:
        raise UserError(f"the duplicates name lesion {unknown[0]}, which no image has; run `dvc repro split`")
    links = coo_array((np.ones(len(confirmed)), [np.searchsorted(names, end) for end in ends]), (len(names),) * 2)
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)  # names are sorted: the first of a component is its name
    return pd.Series(names[first[component]][members], index=lesions.index, name="group")


def check_folds(folds: pd.DataFrame, dx: pd.Series, tolerance: float = 0.5) -> None:
    """Refuse folds that could not give an honest result.

    Args:
        folds: image_id, group, fold.
        dx: the diagnosis of every row of `folds`.
        tolerance: by which share of a class's mean number of images a fold may differ from it.

    Raises:
        UserError: a group is in two folds, a fold lacks a class, or the classes are spread unevenly.
    """
    spread = folds.groupby("group")["fold"].nunique()
    if (spread > 1).any():
        raise UserError(f"lesion {spread.idxmax()} is in {spread.max()} folds; make the folds again")
    counts = pd.crosstab(folds["fold"].to_numpy(), dx.to_numpy())
    if list(counts.index) != list(range(len(counts))):
        raise UserError(f"the folds are numbered {', '.join(map(str, counts.index))}; expected all from 0 on")
    expected = counts.mean()
    uneven = (counts - expected).abs() > np.maximum(tolerance * expected, 3)
    for name in counts:
        if (counts[name] == 0).any():
            raise UserError(f"fold {counts[name].idxmin()} has no image of class {name}; try another split.seed")
        if uneven[name].any():
            fold = uneven[name].idxmax()
            raise UserError(
                f"fold {fold} has {counts.loc[fold, name]} images of class {name}, {expected[name]:.0f} expected; "
                "try another split.seed"
            )


def roles(fold: np.ndarray, number: int, folds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The row numbers for training, validation and test of model `number`.

    Test is fold `number`, validation the next one, training the rest: every image is tested once and validates once.

    Args:
        fold: int [N], the fold of every image.
    """
    validation = (number + 1) % folds
    return (
        np.flatnonzero((fold != number) & (fold != validation)),
        np.flatnonzero(fold == validation),
        np.flatnonzero(fold == number),
    )


def class_counts(folds: pd.DataFrame, dx: pd.Series) -> pd.DataFrame:
    """How many images of each class every fold has: fold, then a column for each of classes.CLASSES.

    Args:
        folds: fold of every image, among others.
        dx: the class of every image, rows as in `folds`.
    """
    counts = pd.crosstab(folds["fold"], dx.to_numpy()).reindex(columns=list(classes.CLASSES), fill_value=0)
    return counts.rename_axis(columns=None).reset_index()
