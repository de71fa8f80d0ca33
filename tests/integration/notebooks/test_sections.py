"""The sentences of a notebook: every section that it fills is there, and every section is filled."""

import json
import re

import pytest

from skinlesions.core import paths, prose

SOURCES = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_notebook_fills_the_sections_of_its_template(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    chapter = path.stem.partition("_")[2]
    filled = re.findall(r'\bfill\(\s*"([^"]+)"', code)
    assert set(filled) == {f"{chapter}/{name}" for name in prose.sections(chapter)}


def test_every_template_has_a_notebook():
    assert [path.stem for path in sorted(prose.FOLDER.glob("*.md"))] == [path.stem for path in SOURCES]
