"""Notebook files: read with a clear error, and written in bytes that are the same whenever the results are."""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from skinlesions.core import paths
from skinlesions.core.errors import UserError

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_MEMORY_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def read(source: Path) -> NotebookNode:
    """The notebook in the file `source`.

    Raises:
        UserError: the file is absent or is not a notebook.
    """
    try:
        return nbformat.reads(source.read_text(encoding="utf-8"), as_version=4)
    except FileNotFoundError:
        raise UserError(f"{paths.relative(source)} does not exist") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise UserError(f"{paths.relative(source)} is not a Jupyter notebook: {error}") from None


def _cleaned(value: object) -> object:
    """`value` of an output, without memory addresses and without the folder in which the repository happens to be."""
    if isinstance(value, str):
        value = re.sub(rf"{re.escape(str(paths.ROOT))}(/|\b)", "", value)
        return _MEMORY_ADDRESS.sub("", value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return NotebookNode({key: _cleaned(item) for key, item in value.items()})
    return value


def normalise(notebook: NotebookNode) -> None:
    """Remove in place all that differs between two runs with the same results: timing, logs, addresses, paths."""
    recorded = notebook.metadata.get("papermill", {}).get("parameters")
    notebook.metadata = NotebookNode(METADATA)
    if recorded is not None:
        notebook.metadata["papermill"] = {"parameters": recorded}
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            logged = (output.output_type == "stream" and output.name == "stderr" for output in cell.outputs)
            cell.outputs = [_cleaned(output) for output, drop in zip(cell.outputs, logged, strict=True) if not drop]


def notebook_bytes(notebook: NotebookNode) -> bytes:
    """`notebook` as written to a file, after a check against the format's schema."""
    nbformat.validate(notebook)
    return (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
