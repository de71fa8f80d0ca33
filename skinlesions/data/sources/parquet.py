"""HAM10000 in parquet files, as Hugging Face has it (marmal88/skin_cancer and its copies): images and metadata in one.

PyArrow reads them. It is large, and needed for nothing else: it is not among the requirements.
"""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.errors import UserError

COLUMNS = ("image", "image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization")

# Rows that are in memory at a time.
BATCH = 128


def _opened(path: Path) -> Any:
    """The parquet file `path`, for PyArrow.

    Raises:
        UserError: PyArrow is not installed, or the file is not whole.
    """
    try:
        module = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UserError(
            f"{paths.relative(path)}: parquet files are read by PyArrow, which is not installed here. Install it "
            "(`.venv/bin/python -m pip install pyarrow`), or get HAM10000 in another form"
        ) from None
    try:
        return module.ParquetFile(path)
    except Exception as error:  # nobody knows all that foreign bytes make it raise
        raise UserError(f"{paths.relative(path)} is not a whole parquet file ({error}); download it again") from None


def read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The metadata in `path` as text, all but the images, with their rows from 0 as the index; and the other columns.

    Raises:
        UserError: a column is missing.
    """
    file = _opened(path)
    names = list(file.schema_arrow.names)
    if missing := [name for name in COLUMNS if name not in names]:
        raise UserError(
            f"{paths.relative(path)} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}, as in the data set "
            "marmal88/skin_cancer"
        )
    rows = file.read(columns=list(COLUMNS[1:])).to_pylist()
    table = pd.DataFrame([{name: _text(row[name]) for name in COLUMNS[1:]} for row in rows], columns=list(COLUMNS[1:]))
    return table, [name for name in names if name not in COLUMNS]


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def contents(path: Path, rows: Sequence[int]) -> Iterator[bytes | ValueError]:
    """The bytes of the images in `rows` of `path`, in ascending order, or what is wrong with one."""
    wanted, start = iter(rows), 0
    row = next(wanted, None)
    for batch in _opened(path).iter_batches(batch_size=BATCH, columns=["image"]):
        images = batch.column(0)
        while row is not None and row < start + len(images):
            value = images[row - start].as_py()
            content = value.get("bytes") if isinstance(value, dict) else value
            yield content if isinstance(content, bytes) else ValueError("has no image in it, only a name")
            row = next(wanted, None)
        start += len(images)
