"""Folds are grouped by lesion, stratified, and refused if they could not give an honest result."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from skinlesions.core.classes import CLASSES, read_index
from skinlesions.core.errors import UserError
from skinlesions.data import splits
from skinlesions.evaluation import bootstrap
from tests.helpers.synthetic import synthetic_index


@pytest.fixture(scope="module")
def real_index(ham10000_dir):
    return read_index(ham10000_dir / "HAM10000_metadata.csv").sort_values("image_id", ignore_index=True)


@pytest.mark.parametrize(("count", "seed"), [(5, 20180814), (3, 0)])
def test_the_lesions_of_ham10000_in_folds(real_index, count, seed):
    folds = splits.make_folds(real_index, count, seed)
    assert list(folds["image_id"]) == list(real_index["image_id"])
    assert folds["image_id"].is_unique and len(folds) == 10_015
    assert set(folds["fold"]) == set(range(count))
    lesions = real_index.groupby("lesion_id")["image_id"].apply(set)  # from the metadata, not from the folds
    assert len(lesions) == 7_470
    fold_of = dict(zip(folds["image_id"], folds["fold"], strict=True))
    assert all(len({fold_of[image] for image in images}) == 1 for images in lesions)
    shares = pd.crosstab(folds["fold"], real_index["dx"], normalize="columns")
    assert np.abs(shares.to_numpy() - 1 / count).max() < 0.04


def test_folds_come_back_the_same_for_a_seed_and_differ_between_seeds():
    index = synthetic_index()
    first, again, other = (splits.make_folds(index, 5, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert (first["fold"] != other["fold"]).mean() > 0.5


@pytest.mark.parametrize("count", [3, 5, 6])
def test_every_image_is_tested_once_validates_once_and_trains_otherwise(count):
    fold = np.random.default_rng(0).integers(0, count, 500)
    uses = {"training": np.zeros(500, int), "validation": np.zeros(500, int), "test": np.zeros(500, int)}
    for number in range(count):
        parts = splits.roles(fold, number, count)
        together = np.concatenate(parts)
        assert len(together) == 500 and len(np.unique(together)) == 500  # disjoint, and nobody is left out
        assert set(fold[parts[2]]) == {number} and set(fold[parts[1]]) == {(number + 1) % count}
        for name, rows in zip(uses, parts, strict=True):
            uses[name][rows] += 1
    assert (uses["test"] == 1).all() and (uses["validation"] == 1).all() and (uses["training"] == count - 2).all()


def test_no_lesion_is_in_two_parts_of_a_model():
    index = synthetic_index(seed=3)
    folds = splits.make_folds(index, 4, seed=0)
    for number in range(4):
        parts = [set(index["lesion_id"].iloc[rows]) for rows in splits.roles(folds["fold"].to_numpy(), number, 4)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_too_few_lesions_of_a_class():
    lesions = dict.fromkeys(CLASSES, 10)
    with pytest.raises(UserError, match=r"class df has 4 lesions, too few for 5 folds; set split\.folds lower"):
        splits.make_folds(synthetic_index(lesions | {"df": 4}), 5, seed=0)
    with pytest.raises(UserError, match="class vasc has 0 lesions"):
        splits.make_folds(synthetic_index({name: 10 for name in CLASSES[:-1]}), 5, seed=0)


def linked(*pairs: tuple[str, str]) -> pd.DataFrame:
    """Confirmed duplicates of these lesions."""
    return pd.DataFrame(pairs, columns=["lesion_id", "other_lesion_id"], dtype="str").assign(confirmed=True)


def reached_from(lesion: str, neighbours: dict[str, set[str]]) -> set[str]:
    """Every lesion that a chain of pairs links to `lesion`, found by walking."""
    known, waiting = {lesion}, [lesion]
    while waiting:
        new = neighbours.get(waiting.pop(), set()) - known
        known |= new
        waiting += new
    return known


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_lesions_that_chains_of_pairs_link(seed):
    random = np.random.default_rng(seed)
    index = synthetic_index(seed=seed)
    lesions = index["lesion_id"].unique()
    pairs = linked(*random.choice(lesions, (60, 2)).tolist())
    pairs["confirmed"] = random.random(60) < 0.8
    neighbours: dict[str, set[str]] = {}
    for one, other in pairs.loc[pairs["confirmed"], ["lesion_id", "other_lesion_id"]].itertuples(index=False):
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    expected = [min(reached_from(lesion, neighbours)) for lesion in index["lesion_id"]]
    assert splits.merged_lesions(index["lesion_id"], pairs).tolist() == expected
    assert len(set(expected)) < len(lesions) - 20

    folds = splits.make_folds(index, 4, seed, pairs)
    assert folds["group"].tolist() == expected
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    assert (folds.groupby(index["lesion_id"].to_numpy())["fold"].nunique() == 1).all()


def test_without_confirmed_pairs_the_folds_are_those_of_the_lesions():
    index = synthetic_index()
    alone = splits.make_folds(index, 5, seed=1)
    refused = linked(tuple(index["lesion_id"].unique()[:2])).assign(confirmed=False)
    for pairs in (linked(), refused):
        pd.testing.assert_frame_equal(splits.make_folds(index, 5, 1, pairs), alone)


def test_a_group_may_hold_two_diagnoses():
    index = synthetic_index(dict.fromkeys(CLASSES, 30))
    one, other = (index.loc[index["dx"] == name, "lesion_id"].iloc[0] for name in ("mel", "nv"))
    folds = splits.make_folds(index, 5, 0, linked((other, one)))
    together = index["lesion_id"].isin([one, other])
    assert set(folds.loc[together, "group"]) == {min(one, other)} and folds.loc[together, "fold"].nunique() == 1
    weights = bootstrap.lesion_resamples(folds["group"].to_numpy(), index["dx"].to_numpy(), 20, seed=0)
    drawn = weights[:, together.to_numpy()]
    assert (drawn == drawn[:, :1]).all()


def test_lesions_merged_into_too_few_groups_are_counted_as_groups():
    index = synthetic_index(dict.fromkeys(CLASSES, 10))
    names = index.loc[index["dx"] == "df", "lesion_id"].unique()
    with pytest.raises(UserError, match="class df has 4 lesions, too few for 5 folds"):
        splits.make_folds(index, 5, 0, linked(*pairwise(names[:7])))


def test_a_pair_of_an_unknown_lesion_is_refused():
    index = synthetic_index()
    with pytest.raises(UserError, match="the duplicates name lesion HAM_x, which no image has"):
        splits.make_folds(index, 5, 0, linked((index["lesion_id"][0], "HAM_x")))


@pytest.fixture
def folds_and_dx():
    index = synthetic_index(dict.fromkeys(CLASSES, 30))
    return splits.make_folds(index, 5, seed=0), index["dx"]


def test_a_lesion_in_two_folds_is_refused(folds_and_dx):
    folds, dx = folds_and_dx
    splits.check_folds(folds, dx)
    row = folds.index[folds["group"].duplicated()][0]
    folds.loc[row, "fold"] = (folds.loc[row, "fold"] + 1) % 5
    with pytest.raises(UserError, match=f"lesion {folds.loc[row, 'group']} is in 2 folds"):
        splits.check_folds(folds, dx)


def test_a_fold_without_a_class_is_refused(folds_and_dx):
    folds, dx = folds_and_dx
    folds.loc[(dx == "mel") & (folds["fold"] == 2), "fold"] = 3
    with pytest.raises(UserError, match=r"fold 2 has no image of class mel; try another split\.seed"):
        splits.check_folds(folds, dx)


def test_uneven_classes_are_refused(folds_and_dx):
    folds, dx = folds_and_dx
    there = folds.index[(dx == "nv") & (folds["fold"] == 0)]
    moved = folds["group"].isin(folds.loc[there, "group"].unique()[1:])  # all lesions but one
    folds.loc[moved, "fold"] = 4
    with pytest.raises(UserError, match=r"fold \d has \d+ images of class nv, \d+ expected"):
        splits.check_folds(folds, dx)


def test_a_whole_fold_that_is_missing_is_refused(folds_and_dx):
    """Folds 0, 1, 3, 4: the model of fold 1 would have nothing to validate on."""
    folds, dx = folds_and_dx
    folds.loc[folds["fold"] == 2, "fold"] = folds.loc[folds["fold"] == 2, "group"].map(
        {group: number % 2 * 3 for number, group in enumerate(folds["group"].unique())}
    )
    with pytest.raises(UserError):
        splits.check_folds(folds, dx)
