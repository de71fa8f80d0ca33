"""What was edited in a published report, by the list in it and by dvc.lock."""

import subprocess
import sys

import pytest

from skinlesions.core import files
from skinlesions.report import contents

NAMES = ("index.html", "notebooks/04 compare.ipynb", "notebooks/é.html", "tables/explore/images.csv", "tables/a-b.csv")


@pytest.fixture
def root(tmp_path):
    """A report and the dvc.lock of the run that has made it: DVC's own."""
    (tmp_path / ".dvc").mkdir()
    files.write_text(tmp_path / ".dvc" / "config", "[core]\n    no_scm = true\n    analytics = false\n")
    outs = "outs: [reports: {cache: false, persist: true}]"
    files.write_text(tmp_path / "dvc.yaml", f"stages: {{report: {{cmd: 'true', {outs}}}}}\n")
    for name in NAMES:
        files.write_text(tmp_path / "reports" / name, f"of {name}")
    return tmp_path


def locked(root):
    """Let DVC note what reports/ is."""
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=root, check=True)
    return root / "reports", root / "dvc.lock"


def test_what_was_not_edited_has_no_fault_by_dvc_s_own_hash(root):
    contents.write(root / "reports")
    assert list(contents.faults(*locked(root))) == []
    assert contents.foreign(root / "reports") == []


def test_without_a_list_dvc_s_hash_tells_that_something_was_edited(root):
    reports, lock = locked(root)
    assert list(contents.faults(reports, lock)) == []
    files.write_text(reports / NAMES[1], "edited")
    (fault,) = contents.faults(reports, lock)
    assert "not as the last run wrote it" in fault
    assert list(contents.faults(reports, root / "no.lock")) == [] == contents.foreign(reports)


def test_what_was_edited_removed_or_added_is_named(root):
    reports = root / "reports"
    contents.write(reports)
    reports, lock = locked(root)
    files.write_text(reports / NAMES[1], "edited")
    (reports / NAMES[2]).unlink()
    files.write_text(reports / "mine.txt", "mine")
    for where in (lock, root / "no.lock"):
        found = list(contents.faults(reports, where))
        assert len(found) == 3
        for name, what in ((NAMES[1], "was edited"), (NAMES[2], "is absent"), ("mine.txt", "is not of the report")):
            assert any(f"/{name} {what}" in fault for fault in found)
    assert contents.foreign(reports) == ["mine.txt", NAMES[1]]


def test_a_list_that_was_edited_with_the_file_is_found_out(root):
    contents.write(root / "reports")
    reports, lock = locked(root)
    files.write_text(reports / NAMES[1], "edited")
    contents.write(reports)
    (fault,) = contents.faults(reports, lock)
    assert "contents.json" in fault


@pytest.mark.parametrize("text", ["{", "[]", '["index.html"]', '{"index.html": 1}'])
def test_a_list_that_is_none_is_a_fault_and_says_nothing_of_whose_the_files_are(root, text):
    files.write_text(root / "reports" / contents.FILE, text)
    (fault,) = contents.faults(root / "reports", root / "dvc.lock")
    assert "contents.json cannot be read" in fault
    assert contents.foreign(root / "reports") == []


@pytest.mark.parametrize("text", ["", "{", "stages: []", "stages: {report: {cmd: a}}", "a: b"])
def test_a_lock_without_a_report_is_compared_with_nothing(root, text):
    contents.write(root / "reports")
    files.write_text(root / "dvc.lock", text)
    assert list(contents.faults(root / "reports", root / "dvc.lock")) == []
