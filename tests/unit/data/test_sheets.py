"""Tables in the forms that programs write."""

import pytest

from skinlesions.core.errors import UserError
from skinlesions.data import sheets

LINES = ["image,MEL", "a,0.5", "b,0.25"]
ROWS = [["a", 0.5], ["b", 0.25]]


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


FORMS = {
    "plain": "\n".join(LINES),
    "Windows": "\r\n".join(LINES) + "\r\n",
    "byte order mark": "\ufeff" + "\n".join(LINES),
    "tabs": "\n".join(LINES).replace(",", "\t"),
    "semicolons and commas": "\n".join(LINES).replace(",", ";").replace(".", ","),
    "quotes": '"image","MEL"\n"a","0.5"\n"b","0.25"\n',
    "index": ",image,MEL\n0,a,0.5\n1,b,0.25\n",
    "index at the end": "image,MEL,Unnamed: 0\na,0.5,0\nb,0.25,1\n",
    "comments and blank lines": "# by hand\n\nimage,MEL\na,0.5\n  \n# more\nb,0.25\n,\n",
    "another order and case": "mel,Image\n0.5,a\n0.25,b\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_every_form_holds_the_same_table(tmp_path, text):
    sheet = sheets.read(write(tmp_path / "table.csv", text))
    image, mel = sheet.first(["image"]), sheet.first(["melanoma", "mel"])
    assert [[row[image], sheet.number(row[mel])] for _, row in sheet.rows] == ROWS


@pytest.mark.parametrize("form", ["semicolons and commas", "index", "comments and blank lines"])
def test_what_was_normalised_is_noted(tmp_path, form):
    assert len(sheets.read(write(tmp_path / "table.csv", FORMS[form])).notes) == 1
    assert sheets.read(write(tmp_path / "plain.csv", FORMS["plain"])).notes == []


FAULTS = {
    "empty": (b"", "is empty"),
    "header alone": (b"image,MEL\n", "has no rows after the header"),
    "short row": (b"image,MEL\n\na\n", "line 3: 1 values instead of 2"),
    "long row": (b"image,MEL\na,1,2\n", "line 2: 3 values instead of 2"),
    "quote": (b'image,MEL\n"a,1\n', "not CSV"),
    "workbook": (b"PK\x03\x04\x14\x00", "Excel workbook; save it as CSV"),
    "array": (b"\x93NUMPY\x01\x00", "array of NumPy"),
    "Latin-1": ("image,größe\na,1\n".encode("latin-1"), "not UTF-8 text"),
    "zero byte": (b"image,MEL\na,\x00\n", "zero byte"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_no_table_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=rf"table\.csv(.|\n)*{message}"):
        sheets.read(write(tmp_path / "table.csv", content))


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (("gone", "does not exist"), ("", "cannot be read"), ("loop", "cannot be read|does not")):
        with pytest.raises(UserError, match=message):
            sheets.read(tmp_path / name)


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MAXIMUM_BYTES", 10)
    with pytest.raises(UserError, match="more than 10 bytes"):
        sheets.read(write(tmp_path / "table.csv", FORMS["plain"]))


def test_names_that_are_there_twice_or_empty_are_faults_of_their_lines():
    rows = [(2, ["a"]), (3, [""]), (5, ["a"])]
    assert sheets.duplicates(rows, 0) == [
        (3, "the name of the image is empty"),
        (5, "image 'a' is already in line 2; remove one of the two"),
    ]


def test_a_column_that_is_there_twice_is_refused_only_if_it_is_read(tmp_path):
    sheet = sheets.read(write(tmp_path / "table.csv", "image,x,X\na,1,2\n"))
    assert sheet.first(["image"]) == 0
    with pytest.raises(UserError, match="'X' is there twice"):
        sheet.first(["x"])
