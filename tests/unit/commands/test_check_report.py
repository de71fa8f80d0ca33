"""The checks of a published report, on one that is made up."""

import pytest

from skinlesions import __main__ as main
from skinlesions.commands import check_report, pipeline, verify
from skinlesions.core import files, paths


@pytest.fixture
def reports(tmp_path):
    """Two pages and what they link to."""
    pages = {
        "index.html": (
            '<h1 id="top">Report</h1><a href="notebooks/04%20compare.html#How-sure">4</a><a href="#top">up</a>'
            '<a href="https://example.org/gone">outside</a><img src="figures/a.png"><img src="data:,A">'
        ),
        "notebooks/04 compare.html": '<h2 id="How-sure">4</h2><a href="../index.html#top">1</a><a href="../">up</a>',
        "figures/a.png": "",
    }
    for name, text in pages.items():
        files.write_text(tmp_path / "reports" / name, text)
    files.write_json(
        tmp_path / "reports" / "provenance.json", {"code": {"commit": "0" * 40, "uncommitted_changes": False}}
    )
    return tmp_path / "reports"


def test_links_that_lead_somewhere_are_no_fault(reports):
    assert list(check_report.broken_links(reports)) == []


@pytest.mark.parametrize(
    "link", ["gone.html", "#gone", "notebooks/04%20compare.html#gone", "figures/A.png", "notebooks"]
)
def test_a_link_that_leads_nowhere_is_named_with_its_page(reports, link):
    with (reports / "index.html").open("a") as stream:
        stream.write(f'<a href="{link}">link</a>')
    (fault,) = check_report.broken_links(reports)
    assert "index.html" in fault and fault.endswith(link)


def test_a_report_without_pages_is_a_fault(tmp_path):
    assert len(list(check_report.broken_links(tmp_path))) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"code": {"commit": "0" * 40, "uncommitted_changes": True}},
        {"code": {"commit": None, "uncommitted_changes": None}},
        {"code": {}},
        {},
        [],
    ],
)
def test_code_that_was_not_committed_is_a_fault(reports, content):
    path = reports / "provenance.json"
    assert list(check_report.provenance_faults(path)) == []
    files.write_json(path, content)
    assert len(list(check_report.provenance_faults(path))) == 1
    path.unlink()
    assert len(list(check_report.provenance_faults(path))) == 1


@pytest.mark.parametrize("broken", [None, "tables", "link", "provenance"])
def test_stages_that_wait_are_named_and_any_fault_ends_with_exit_code_1(reports, monkeypatch, capsys, broken):
    """What each check finds has tests of its own."""
    monkeypatch.setattr(paths, "REPORTS", reports)
    monkeypatch.setattr(paths, "PUBLISHED_MODEL", reports / "no model")
    monkeypatch.setattr(verify, "agree", lambda: broken != "tables")
    monkeypatch.setattr(pipeline, "waiting", lambda root: {"train@vgg16": ["code.py"]})
    if broken == "link":
        (reports / "figures" / "a.png").unlink()
    if broken == "provenance":
        (reports / "provenance.json").unlink()
    if broken is None:
        main.run(["check-report"])
    else:
        with pytest.raises(SystemExit) as end:
            main.run(["check-report"])
        assert end.value.code == 1
    output = capsys.readouterr().out
    assert "train@vgg16: code.py" in output
    assert output.count("FAIL") == (broken not in (None, "tables"))
