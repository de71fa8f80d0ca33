import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from skinlesions.core import prose
from skinlesions.core.errors import UserError

SCORES = pd.DataFrame({"model": ["a_b", "c"], "auc": [0.25, np.nan], "images": [1200, 1]})


def test_numbers_reach_the_text_through_filters_only():
    assert prose.render("{{ x | number(2) }} of {{ n }}", x=0.666, n=1200) == "0.67 of 1,200"
    assert prose.render("{{ n }}", n=np.int64(1200)) == "1,200"
    for unfit in (0.5, True, None, [1]):
        with pytest.raises(TypeError):
            prose.render("{{ x }}", x=unfit)


def test_a_value_that_is_not_given_is_an_error():
    for template in ("{{ absent }}", "{{ absent | number }}", "{% if absent %}{% endif %}", "{{ row.absent }}"):
        with pytest.raises(UndefinedError):
            prose.render(template, row={"model": "a"})


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "a*b*", "[x](y)", "`x`", "# x", "$x$", "_x_", "a|b"])
def test_text_is_shown_as_it_is(hostile: str):
    shown = MarkdownIt("commonmark").render(prose.render("Of {{ name }}.", name=hostile))
    assert "<script" not in shown and shown.count("<") == 2, "one paragraph, no other element"
    assert "<script" not in prose.html("<p>{{ name }}</p>", name=hostile)


def test_names_with_lines_within_stay_as_they_are():
    assert prose.render("{{ name }}", name="mobilenet_v2") == "mobilenet_v2"


def test_a_table_is_its_rows_and_a_named_index_is_a_column():
    assert prose.render("{{ t | length }} {{ t[0].model }}", t=SCORES) == "2 a_b"
    counts = SCORES[["model", "images"]]
    assert prose.rows(counts.set_index("model")) == prose.rows(counts)


def test_rows_are_picked_by_their_values():
    assert [row["model"] for row in prose.where(SCORES, images=[1, 2])] == ["c"]
    assert prose.row(SCORES, model="c")["images"] == 1
    for wanted in ({"model": "x"}, {"images": [1, 1200]}):
        with pytest.raises(LookupError):
            prose.row(SCORES, **wanted)


def test_the_greatest_and_the_least_pass_over_what_is_absent():
    assert prose.most(SCORES, "auc")["model"] == prose.least(SCORES, "auc")["model"] == "a_b"
    assert prose.most(SCORES, "images")["model"] == "a_b"
    assert prose.least(SCORES, "images")["model"] == "c"


def test_sections_share_what_stands_before_the_first(tmp_path, monkeypatch):
    template = (
        "{% set half = 0.5 %}\n# one\n{{ half | percent }}\n\n\n\nof {{ what }}   \n# two\n{{ half | number(1) }}\n"
    )
    (tmp_path / "01_first.md").write_text(template)
    monkeypatch.setattr(prose, "FOLDER", tmp_path)
    prose.sections.cache_clear()
    assert prose.text("first/one", what="all") == "50\N{NO-BREAK SPACE}%\n\nof all"
    assert prose.text("first/two") == "0.5"
    with pytest.raises(UserError, match="one, two"):
        prose.text("first/three")
    with pytest.raises(UserError, match="second"):
        prose.text("second/one")
    prose.sections.cache_clear()
