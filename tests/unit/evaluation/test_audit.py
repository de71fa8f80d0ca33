"""What of a tested part was seen, counted by hand and against the leakage audit of the report."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import paths
from skinlesions.data import given_splits
from skinlesions.evaluation import audit, leakage, published

NOTHING = pd.DataFrame({"image_id": [], "other_image_id": []}, dtype=str)


def pairs(*found):
    return pd.DataFrame(found, columns=["image_id", "other_image_id"], dtype=str)


@pytest.fixture
def split() -> pd.DataFrame:
    rows = [
        ("a1", "A", "nv", "histo", "train"),
        ("a2", "A", "nv", "histo", "test"),
        ("b1", "B", "nv", "follow_up", "test"),
        ("c1", "C", "mel", "histo", "train"),
        ("d1", "D", "mel", "histo", "test"),
        ("d2", "D", "mel", "histo", "test"),
        ("e1", "E", "df", "consensus", "validation"),
        ("e2", "E", "df", "consensus", "test"),
        ("f1", "", "", "", "train"),
        ("f2", "", "", "", "test"),
    ]
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx", "dx_type", "part"])


def of(table: pd.DataFrame, tested: str, against: str, dx: str) -> dict:
    rows = table[(table["tested"] == tested) & (table["against"] == against) & (table["dx"] == dx)]
    assert len(rows) == 1
    return rows.iloc[0].to_dict()


def test_what_crosses_is_counted_by_class(split):
    table = audit.crossings(split, audit.Pairs(pairs(("c1", "d1"), ("a2", "b1")), pairs(("f1", "f2"))))
    nv, mel, total = (of(table, "test", "train", dx) for dx in ("nv", "mel", "all"))
    assert (nv["images"], nv["lesions"], nv["same_lesion"], nv["near_duplicate"], nv["seen"]) == (2, 2, 1, 0, 1)
    assert (mel["images"], mel["lesions"], mel["same_lesion"], mel["near_duplicate"], mel["seen"]) == (2, 1, 0, 1, 1)
    # Images of no known lesion are among all, and do not pass for one lesion.
    assert (total["images"], total["lesions"], total["identical"], total["seen"]) == (6, 4, 1, 3)
    assert total["share"] == 0.5 and (nv["follow_up"], nv["histo"], total["consensus"]) == (1, 1, 1)
    # What was validated on is seen, too.
    assert of(table, "test", "validation", "df")["same_lesion"] == 1
    assert of(table, "validation", "train", "all")["seen"] == 0
    assert tuple(table.columns) == audit.COLUMNS


def test_what_is_not_known_is_not_zero(split):
    total = of(audit.crossings(split, audit.Pairs(None, NOTHING)), "test", "train", "all")
    assert np.isnan(total["near_duplicate"]) and total["identical"] == 0 and total["seen"] == 1


def test_pairs_of_two_sources_are_joined(split):
    known = audit.Pairs(pairs(("c1", "d1")), None).with_those_of(audit.Pairs(pairs(("a1", "b1")), NOTHING))
    total = of(audit.crossings(split, known), "test", "train", "all")
    assert (total["near_duplicate"], total["identical"]) == (2, 0)
    assert audit.Pairs(None, None).with_those_of(audit.Pairs(None, None)) == audit.Pairs(None, None)


def test_an_image_in_two_parts_is_seen(split):
    twice = pd.concat([split, split[split["image_id"] == "b1"].assign(part="train")])
    nv = of(audit.crossings(twice, audit.Pairs(NOTHING, NOTHING)), "test", "train", "nv")
    assert (nv["same_image"], nv["same_lesion"], nv["seen"]) == (1, 2, 2)


def test_folds_are_tested_against_each_other(split):
    folds = split.assign(part=["0", "1", "2", "0", "1", "1", "2", "0", "1", "2"])
    table = audit.crossings(folds, audit.Pairs(NOTHING, NOTHING))
    assert set(table["tested"]) == {audit.EACH_FOLD}
    total = of(table, audit.EACH_FOLD, audit.OTHER_FOLDS, "all")
    assert (total["images"], total["same_lesion"]) == (10, 4)


def test_nevi_by_how_they_were_confirmed(split):
    table = audit.nevi(split).set_index("part")
    assert table.loc["test"].to_dict() == {"images": 2, "follow_up": 0.5, "histo": 0.5}
    assert table.loc["train", "histo"] == 1


def test_the_published_split_crosses_as_the_report_says(ham10000_dir):
    """The lesions of the original's split: the report's own count, and the number that the paper's protocol has."""
    known = given_splits.read_metadata(ham10000_dir / "HAM10000_metadata.csv")
    validation = leakage.original_validation(known)
    near = given_splits.pairs(paths.REPORTS / "tables" / "balance" / "duplicates.csv")
    table = audit.crossings(known.assign(part=np.where(validation, "validation", "train")), audit.Pairs(near, None))
    expected = leakage.shared_lesions(known, validation)
    found = table[["dx", "images", "same_lesion"]].rename(columns={"same_lesion": "shared"})
    pd.testing.assert_frame_equal(found, expected[["dx", "images", "shared"]], check_dtype=False)
    total = table.iloc[-1]
    assert (total["images"], total["same_lesion"]) == (published.VALIDATION_IMAGES, published.SHARED_IMAGES)
    assert published.SHARED_IMAGES <= total["seen"] <= published.SHARED_IMAGES + total["near_duplicate"]
