"""The rules that every notebook source obeys, so that it reads well, diffs well and runs by hand."""

import ast
import re

import nbformat
import pytest

from skinlesions.core import notebooks, paths
from skinlesions.stages import notebook as runner

SOURCES = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
MAXIMUM_LINES = 15
# A reader should be able to quote a cell by its id.
READABLE_ID = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")


def read(path):
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def python(cell):
    """The source of `cell` without lines for IPython."""
    return "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!")))


pytestmark = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)


def test_format(path):
    document = read(path)
    assert (document.nbformat, document.nbformat_minor) == (4, 5)
    nbformat.validate(document)
    assert document.metadata == notebooks.METADATA


def test_no_outputs(path):
    for cell in code_cells(path):
        assert cell.outputs == [], cell.id
        assert cell.execution_count is None, cell.id


def test_cells_have_readable_ids_and_no_stray_metadata(path):
    for cell in read(path).cells:
        assert READABLE_ID.fullmatch(cell.id), f"{cell.id} (nbformat writes random ids; name the cell by what it shows)"
        assert set(cell.metadata) <= {"tags"}, cell.id
        assert not cell.get("attachments"), cell.id
        assert cell.source.strip(), f"{cell.id} is empty"


def test_its_settings_come_from_the_stage_that_runs_it(path):
    """The first cells import and read the settings; a parameter says at most which of several stages it is."""
    cells = code_cells(path)
    parameters = [cell for cell in cells if cell.metadata.get("tags") == [runner.PARAMETERS_TAG]]
    assert parameters == cells[: len(parameters)]
    assert runner.declared(read(path)).keys() <= {"model"}
    settings = next(cell for cell in cells if cell.id == "settings")
    assert "config.of_stage(" in settings.source
    assert settings.source.splitlines()[-1] == "settings", "the reader of the executed notebook sees them"
    assert "config.load" not in "".join(cell.source for cell in cells)


def test_code_is_short_and_defines_nothing(path):
    for cell in code_cells(path):
        lines = [line for line in cell.source.splitlines() if line and not line.startswith(("import ", "from "))]
        assert len(lines) <= MAXIMUM_LINES, f"{cell.id}: move logic to skinlesions/"
        for node in ast.walk(ast.parse(python(cell))):
            forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Global)
            assert not isinstance(node, forbidden), f"{cell.id}: definitions belong in skinlesions/, with a test"


def test_it_opens_with_a_title_and_a_question_and_closes_with_what_was_found(path):
    cells = read(path).cells
    title, *paragraphs = [part.strip() for part in cells[0].source.split("\n\n")]
    assert cells[0].cell_type == "markdown"
    assert re.match(r"# \S", title)
    assert paragraphs
    assert "?" in paragraphs[0], "the first paragraph asks what the notebook answers"
    headings = re.findall(r"^#+ .*$", "\n".join(cell.source for cell in cells if cell.cell_type == "markdown"), re.M)
    assert [heading for heading in headings if heading.startswith("# ")] == [title.splitlines()[0]]
    assert re.search(r"found|conclusion|answer", headings[-1], re.I), "the last section says what was found"


def test_it_shows_no_path_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert str(paths.ROOT) not in text
    assert not re.search(r"/(home|Users|root|work|tmp)/", text)


def test_figures_are_shown_once(path):
    """A cell ends with the figure it saves: earlier ones would be saved without being shown."""
    for cell in code_cells(path):
        statements = ast.parse(python(cell)).body
        for statement in statements[:-1]:
            assert "style.save(" not in ast.unparse(statement), cell.id
