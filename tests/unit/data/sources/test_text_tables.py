import pytest

from skinlesions.core.errors import UserError
from skinlesions.data.sources import text_tables


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# made by hand\n\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tables_in_every_form_read_the_same(tmp_path, separator, start, line_end):
    lines = ["Image,dx", 'a, "nv" ' if separator == "," else "a,nv", "", "b,mel"]
    path = tmp_path / "table.csv"
    path.write_bytes((start + line_end.join(line.replace(",", separator) for line in lines)).encode())
    if separator == ",":
        path.write_bytes(path.read_bytes().replace(b' "nv" ', b"nv "))
    table = text_tables.read(path)
    assert text_tables.columns(path) == list(table.content.columns) == ["image", "dx"]
    assert table.content.to_numpy().tolist() == [["a", "nv"], ["b", "mel"]]
    first = 2 + 2 * start.startswith("#")
    assert table.content.index.tolist() == [first, first + 2], "as a spreadsheet counts"
    assert len(table.notes) == (separator == ";") + start.startswith("#")


def test_the_numbering_of_a_program_is_passed_over(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(",image,dx\n0,a,nv\n1,b,mel\n")
    table = text_tables.read(path)
    assert list(table.content.columns) == ["image", "dx"] and len(table.notes) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"image,dx\na,nv\n\nb\n", "row 4: 1 values instead of 2"),
        (b"image,dx,dx\na,nv,mel\n", "row 1: column 'dx' is there twice"),
        (b"image,dx\n\xff,nv\n", "not UTF-8"),
        (b'image,dx\n"a,nv\n', "row 2 is not a row of a table"),
    ],
)
def test_what_is_no_table_is_refused_with_file_and_row(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"table\.csv(.|\n)*{message}"):
        text_tables.read(path)


def test_what_is_no_file_is_refused(tmp_path):
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    for path in (tmp_path, tmp_path / "absent.csv", loop):
        assert text_tables.columns(path) == []
        with pytest.raises(UserError, match=path.name):
            text_tables.read(path)


def test_a_head_that_ends_within_a_character_has_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(text_tables, "HEAD_BYTES", 15)
    path = tmp_path / "table.csv"
    path.write_text("image,dx\naaaa,ä\n", encoding="utf-8")
    assert text_tables.columns(path) == ["image", "dx"]
    path.write_bytes(b"image,\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
    assert text_tables.columns(path) == []
