"""DataFrames on a page: what is text is to the left, headers are one line, and no value changes."""

import re

import pandas as pd
import pytest

from skinlesions.report.tables import tidy


def table(frame):
    return re.search(r"<table.*</table>", frame.to_html(), re.DOTALL).group()


def rows(html):
    """The text of every cell and whether it is marked as text, row by row."""
    found = re.findall(r"<tr\b.*?</tr>", html, re.DOTALL)
    cells = [re.findall(r"<t[hd]\b([^>]*)>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
    return [
        [(content.replace("<wbr>", ""), 'class="text"' in attributes) for attributes, content in row] for row in cells
    ]


FRAME = pd.DataFrame({"low_high": [0.5, float("nan")], "name": ["a <b>", "2"]}, index=pd.Index(["x", "y"], name="dx"))


def test_text_is_marked_and_headers_are_one_line():
    assert rows(tidy(table(FRAME))) == [
        [("dx", False), ("low_high", False), ("name", True)],
        [("x", True), ("0.5", False), ("a &lt;b&gt;", True)],
        [("y", True), ("NaN", False), ("2", True)],
    ]


def test_a_styled_table_is_read_like_a_plain_one():
    styled = FRAME.style.format(escape="html", na_rep="NaN", precision=1)
    plain = tidy(table(FRAME))
    assert rows(tidy(styled.to_html())) == rows(plain)
    hidden = rows(tidy(styled.hide(axis="index").to_html()))
    assert hidden == [row[1:] for row in rows(plain)]
    assert "row0" not in tidy(styled.to_html()).partition("<thead>")[2]


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.reset_index(),
        FRAME.set_index("name", append=True),
        pd.DataFrame(
            {"a": [1], "b": ["12 of 13"]}, index=pd.MultiIndex.from_tuples([("p", "q")], names=["one", "two"])
        ),
        pd.DataFrame({"a": [1, 2, 3]}, index=pd.MultiIndex.from_tuples([("p", 1), ("p", 2), ("q", 1)])),
        pd.DataFrame({("a", "b"): [1], ("a", "c"): [2]}),
        FRAME.rename_axis(columns="measure"),
        pd.DataFrame({"empty": []}),
    ],
)
def test_no_value_is_lost(frame):
    before, after = table(frame), tidy(table(frame))
    cells = [sorted(cell for row in rows(html) for cell, _ in row if cell) for html in (before, after)]
    assert cells[0] == cells[1]
    last = [[cell for cell, _ in rows(html)[-1]] for html in (before, after)]
    assert len(frame) == 0 or last[0] == last[1]


@pytest.mark.parametrize("number", ["-1.5", "1,234", "12 %", "1e-05", "", "True", "<NA>", "inf", "–"])
def test_what_counts_as_a_number(number):
    html = table(pd.DataFrame({"a": [number]}))
    assert rows(tidy(html))[1][1][1] is False


def test_other_tables_stay_as_they_are():
    html = "<table><tr><td>a</td></tr></table>"
    assert tidy(html) == html
