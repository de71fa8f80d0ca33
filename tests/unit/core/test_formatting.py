"""Numbers as a reader sees them, written out by hand."""

import numpy as np
import pandas as pd
import pytest

from skinlesions.core import formatting
from skinlesions.core.formatting import ABSENT, estimate, number, percent, plain, plural, points, span

NAN = float("nan")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (number(0.7034), "0.703"),
        (number(0.6665), "0.667"),
        (number(-0.25, 1), "−0.3"),
        (number(-0.0001), "0.000"),
        (number(0.2, 1, signed=True), "+0.2"),
        (number(0.0, 1, signed=True), "0.0"),
        (number(12345.6, 0), "12,346"),
        (number(-np.inf), "−∞"),
        (number(NAN), ABSENT),
        (number(None), ABSENT),
        (percent(0.9), "90 %"),
        (percent(-0.125, 1, signed=True), "−12.5 %"),
        (percent(NAN), ABSENT),
        (points(0.059), "5.9 points"),
        (points(-0.01, 0, signed=True), "−1 point"),
        (points(NAN), ABSENT),
    ],
)
def test_a_number_is_rounded_as_a_reader_does_with_the_true_minus(written, text):
    assert plain(written) == text


def test_an_estimate_has_its_interval_where_one_can_be_seen():
    row = {"recall": 0.5, "recall_low": 0.25, "recall_high": 0.75}
    assert plain(estimate(row, "recall")) == "0.500 (0.250–0.750)"
    assert plain(estimate(pd.Series(row), "recall", unit="%")) == "50.0 % (25.0–75.0)"
    for unseen in ({"recall_low": NAN}, {"recall_low": 0.501, "recall_high": 0.5014}):
        assert estimate(row | unseen, "recall", 2) == "0.50"
    assert estimate({"recall": 0.5}, "recall") == "0.500"
    assert estimate({"recall": NAN}, "recall") == ABSENT


def test_a_dash_does_not_stand_before_a_minus():
    change = {"change": -0.1, "change_low": -0.2, "change_high": 0.1}
    assert plain(estimate(change, "change", 1)) == "−0.1 (−0.2 to 0.1)"
    ends = {"change": 0.05, "low": 0.01, "high": 0.1}
    assert plain(estimate(ends, "change", unit="points", signed=True, ends="")) == "+5.0 points (+1.0 to +10.0)"


def test_an_estimate_does_not_break_at_the_end_of_a_line():
    row = {"recall": 0.5, "recall_low": 0.25, "recall_high": 0.75}
    assert " " not in estimate(row, "recall", unit="%")


def test_many_estimates_keep_their_index_and_get_the_titles_that_readers_know():
    table = pd.DataFrame({"a": [0.5, NAN], "b": [1.0, 0.0]}, index=["mel", "nv"])
    found = formatting.readable(table, {"a": "A", "b": "B"}, 1)
    assert found.to_dict("index") == {"mel": {"A": "0.5", "B": "1.0"}, "nv": {"A": ABSENT, "B": "0.0"}}


@pytest.mark.parametrize(
    ("values", "write", "text"),
    [
        ([8.0, 12.0, NAN], number, "8.000 to 12.000"),
        ([0.5, 0.5001], number, "0.500"),
        ([0.1, 0.25], percent, "10 to 25 %"),
        ([0.01, 0.02], points, "1.0 to 2.0 points"),
        ([NAN], number, ABSENT),
        ([], number, ABSENT),
    ],
)
def test_a_span_says_its_unit_once_and_one_number_where_two_look_alike(values, write, text):
    assert plain(span(values, write)) == text


def test_counted_things_agree_with_their_number():
    counted = plural(1, "image"), plural(2000, "image"), plural(2, "box", "boxes"), plural(0, "image")
    assert [plain(text) for text in counted] == ["1 image", "2,000 images", "2 boxes", "0 images"]
    parts = [(0, 7), (1, 7), (3, 7), (7, 7), (1, 1)]
    assert [formatting.part(*own, "class", "classes") for own in parts] == [
        "no class",
        "1 of 7 classes",
        "3 of 7 classes",
        "all 7 classes",
        "the one class",
    ]
    assert [formatting.verb(count, "is", "are") for count, _ in parts] == ["is", "is", "are", "are", "is"]


def test_words_are_listed_as_in_a_sentence():
    assert [formatting.listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [formatting.capital(text) for text in ("", "the ISIC", "AUC")] == ["", "The ISIC", "AUC"]
