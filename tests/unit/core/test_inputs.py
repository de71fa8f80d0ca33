"""The files from outside, as they are and as they are recorded."""

import hashlib
import os

import pytest

from skinlesions.core import inputs
from skinlesions.core.errors import UserError

ENTRIES = {
    "ham10000": {"HAM10000_metadata.csv": "1" * 32},
    "external_set": {},
    "weights.vgg16": {"vgg16.h5": "2" * 32},
    "weights.resnet50": {},
}


@pytest.fixture(autouse=True)
def known(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "KNOWN", tmp_path / "digests")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "inputs.yaml"


def test_the_digest_of_a_file_is_its_md5_and_that_of_several_does_not_depend_on_order_or_folder(tmp_path):
    for name in ("a/x.jpg", "a/y.jpg", "b/y.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name[2])
    x, y, moved = (tmp_path / name for name in ("a/x.jpg", "a/y.jpg", "b/y.jpg"))
    assert inputs.digest(x) == hashlib.md5(b"x").hexdigest()
    assert inputs.digest(x, y) == inputs.digest(y, x) == inputs.digest(x, moved) != inputs.digest(x)
    y.write_text("z")
    assert inputs.digest(x, y) != inputs.digest(x, moved)
    y.rename(tmp_path / "a" / "z.jpg")
    assert inputs.digest(x, tmp_path / "a" / "z.jpg") != inputs.digest(x, moved)


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    path = tmp_path / "large.zip"
    path.write_text("one")
    before = inputs.digest(path)
    with monkeypatch.context() as patch:
        patch.setattr(
            inputs.files, "md5", lambda content: 1 / 0 if content == path else hashlib.md5(content).hexdigest()
        )
        assert inputs.digest(path) == before
    status = path.stat()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert inputs.digest(path) == hashlib.md5(b"two").hexdigest()


def test_a_note_that_was_cut_short_is_not_believed(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    before = inputs.digest(path)
    for note in inputs.KNOWN.iterdir():
        note.write_text("")
    assert inputs.digest(path) == before


def test_what_is_written_is_read_again_and_written_once(file):
    assert inputs.recorded(file) == {}
    changed = inputs.renew(ENTRIES, file)
    assert changed == {name: ({}, entry) for name, entry in ENTRIES.items()}
    assert inputs.recorded(file) == ENTRIES
    before = file.stat().st_mtime_ns
    assert inputs.renew(ENTRIES, file) == {} and file.stat().st_mtime_ns == before


def test_another_file_is_named_with_both_hashes_and_refused(file):
    inputs.renew(ENTRIES, file)
    for key, entry in ENTRIES.items():
        inputs.check(key, lambda entry=entry: entry, file)
    with pytest.raises(
        UserError, match=r"weights\.vgg16 .*vgg16\.h5 2{32} → 3{32}.*make report.*skinlesions environment"
    ):
        inputs.check("weights.vgg16", lambda: {"vgg16.h5": "3" * 32}, file)
    with pytest.raises(UserError, match=r"weights\.resnet50 .*resnet50\.h5 absent → 3"):
        inputs.check("weights.resnet50", lambda: {"resnet50.h5": "3" * 32}, file)
    other = ENTRIES | {"ham10000": {"HAM10000_metadata.csv": "4" * 32}}
    del other["weights.resnet50"]
    assert inputs.renew(other, file) == {
        "ham10000": (ENTRIES["ham10000"], other["ham10000"]),
        "weights.resnet50": ({}, {}),
    }
    assert inputs.recorded(file) == other


def test_without_the_file_nothing_is_recorded_and_nothing_read_or_refused(file):
    inputs.check("ham10000", lambda: {"a": str(1 / 0)}, file)


@pytest.mark.parametrize("text", ["- a\n", "ham10000: [1]\n", "ham10000: {a: 1}\n", "a: b: c\n", "weights: 1\n", ""])
def test_a_file_of_another_form_is_refused_with_the_remedy(file, text):
    file.write_text(text)
    with pytest.raises(UserError, match=r"inputs\.yaml is not .*delete it"):
        inputs.recorded(file)
