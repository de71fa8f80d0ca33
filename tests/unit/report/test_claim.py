"""The report held against CLAIM: that all of it is answered, from the run, and that every link leads to its section."""

import dataclasses
import html
from collections import Counter

import pandas as pd
import pytest

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.core.formatting import capital, part, plain
from skinlesions.report import claim
from skinlesions.report.claim import DONE, NOT_APPLICABLE, NOT_DONE, PARTLY
from tests.unit.report import standin
from tests.unit.report.page import Page

# How many items the published checklist has in each of its sections.
IN_SECTIONS = [2, 2, 2, 7, 5, 2, 1, 3, 3, 7, 2, 3, 2, 3]


@pytest.fixture(scope="module")
def answered(real):
    return {item.number: item for item in claim.items(standin.evidence(real[1]))}


def with_record(evidence, **changed):
    """`evidence` with parts of its record replaced."""
    return dataclasses.replace(evidence, record={**evidence.record, **changed})


def item(evidence, number):
    return claim.items(evidence)[number - 1]


def shown(text):
    """The `text` of a page as a reader sees it."""
    return plain(html.unescape(text))


def test_all_items_are_there_in_the_order_of_the_checklist(answered):
    assert list(answered) == list(range(1, 45))
    assert [len(section["items"]) for section in claim.sections()] == IN_SECTIONS
    asked = [(section["section"], entry["asks"]) for section in claim.sections() for entry in section["items"]]
    assert [(one.part, one.ask) for one in answered.values()] == asked
    assert len({one.ask for one in answered.values()}) == 44
    assert Counter(one.part_number for one in answered.values()) == dict(enumerate(IN_SECTIONS, start=1))


def test_items_have_no_key_that_nothing_reads():
    known = {"asks", "did", "lacks", "where", "patients", "unless", "otherwise"}
    places = {"page", "section", "published", "file", "when"}
    for entry in (entry for section in claim.sections() for entry in section["items"]):
        assert entry.keys() <= known, entry["asks"]
        assert all(place.keys() <= places for place in entry.get("where", [])), entry["asks"]


def test_a_status_follows_from_what_there_is_to_say():
    assert claim.status("This.", "") == DONE
    assert claim.status("This.", "That.") == PARTLY
    assert claim.status("", "That.") == NOT_DONE


def test_every_item_says_something_and_leads_somewhere(answered):
    for one in answered.values():
        assert one.did or one.lacks, one.number
        assert all(text.endswith(".") for text in (one.did, one.lacks) if text), one.number
        assert one.places or one.status == NOT_DONE, one.number


def test_what_was_not_done_is_said_not_to_be(answered):
    for number in (18, 21, 34, 44):
        assert answered[number].status == NOT_DONE, number
    for number, words in {36: "Skin tone", 38: "human reader", 41: "utility", 43: "weights"}.items():
        assert answered[number].status == PARTLY
        assert words in answered[number].lacks


def test_the_numbers_are_those_of_the_run(real, answered):
    tables = real[1] / "tables"
    scores = pd.read_csv(tables / "compare" / "comparison.csv").set_index("model")
    for name in ("resnet50", "ensemble"):
        row = scores.loc[name]
        text = f"{row.balanced_accuracy:.3f} ({row.balanced_accuracy_low:.3f}–{row.balanced_accuracy_high:.3f})"
        assert text in shown(answered[37].did)
    reach = 50 * (scores.loc["resnet50"].balanced_accuracy_high - scores.loc["resnet50"].balanced_accuracy_low)
    assert f"±{reach:.1f} points" in shown(answered[21].lacks)
    sizes = pd.read_csv(tables / "balance" / "folds.csv").drop(columns="fold").sum(axis=1)
    assert "5 folds" in shown(answered[19].did) and f"{sizes.min()} to {sizes.max()} images" in answered[19].did
    assert "2 pairs" in shown(answered[20].did)
    pairs = pd.read_csv(tables / "compare" / "differences.csv")
    assert capital(part((pairs.p_holm < 0.05).sum(), len(pairs), "pair")) in shown(answered[29].did)
    confusion = pd.read_csv(tables / "compare" / "confusion.csv").query("model == 'resnet50' and dx != predicted")
    assert f"{confusion.images.sum()} images" in shown(answered[39].did)
    assert "2 confident mistakes" in shown(answered[39].did)
    leaked = shown(answered[30].did)
    assert "+14.8 points (logistic regression)" in leaked and "−1.2 points (nearest neighbour)" in leaked
    assert "+5.0 points (−1.0 to +10.0)" in leaked


def test_the_external_set_decides_whether_there_was_an_external_test(copied, answered):
    assert answered[33].status == PARTLY
    assert "outside.zip, 1 image" in shown(answered[33].did)
    assert "0.700 (0.650–0.750) for the ensemble" in shown(answered[33].did)
    without = item(with_record(copied, external=None), 33)
    assert (without.status, without.did) == (NOT_DONE, "")


def test_code_without_a_clean_commit_is_said_to_be(copied):
    clean, changed, nowhere = (
        item(with_record(copied, code={"commit": commit, "uncommitted_changes": differs}), 42)
        for commit, differs in (("abcdef0123456789", False), ("abcdef0123456789", True), (None, None))
    )
    assert (clean.status, changed.status, nowhere.status) == (DONE, PARTLY, PARTLY)
    assert "abcdef012345" in clean.did
    assert not clean.lacks and changed.lacks and nowhere.lacks and changed.lacks != nowhere.lacks


def test_without_an_ensemble_the_item_does_not_apply(copied, answered):
    assert answered[27].status == DONE
    standin.without_ensemble(copied.folder)
    assert item(copied, 27).status == NOT_APPLICABLE
    assert "ensemble" not in item(copied, 37).did


def test_nothing_is_said_of_patients_whom_a_program_drew(sample):
    answered = claim.items(standin.evidence(sample, "sample"))
    entries = [entry for section in claim.sections() for entry in section["items"]]
    of_patients = {number for number, entry in enumerate(entries, start=1) if entry.get("patients")}
    assert {one.number for one in answered if one.status == NOT_APPLICABLE} == of_patients
    assert str(standin.parameters("sample").data.sample_seed) in answered[6].did
    assert "Dataverse" not in Page(sample / "claim.html").text
    assert all(not one.lacks for one in answered if one.status == NOT_APPLICABLE)


def test_the_page_shows_every_item_once_with_its_status(real, answered):
    page = Page(real[1] / "claim.html")
    assert {f"item-{number}" for number in answered} <= page.anchors
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"].count("#item-21") == 2
    found = Counter(one.status for one in answered.values())
    assert claim.counts(list(answered.values())) == {status: found[status] for status in claim.STATUSES}
    for one in answered.values():
        assert f"{one.number} · {one.ask}" in page.text
        assert html.unescape(one.did) in page.text
        assert html.unescape(one.lacks) in page.text


def test_a_section_that_is_gone_stops_the_report(copied):
    page = copied.folder / "notebooks" / "04_compare.html"
    files.write_text(page, page.read_text().replace("Which differences are real", "Differences"))
    with pytest.raises(UserError, match="no section “Which differences are real”"):
        claim.items(copied)


def test_a_table_that_is_gone_stops_the_report(copied):
    (copied.folder / "tables" / "compare" / "nevi.csv").unlink()
    with pytest.raises(UserError, match=r"no table compare/nevi\.csv"):
        claim.items(copied)
