"""What of the tested parts of a split was seen in training, and how easy they are.

SPLIT is a table with a column of images and one of parts (train, validation, test; or the number of a fold). Counted
are, by class, the images whose lesion, near-duplicate or identical picture is also in the part that they are tested
against, and how their diagnoses were confirmed: nevi that were only watched (follow-up) are easier than those that were
cut out (histology).

Lesions come from the metadata of HAM10000; near-duplicates and identical pictures from the published run, or with
--images from the images themselves, which takes minutes.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import files, outputs, paths
from skinlesions.core.errors import UserError, visible
from skinlesions.core.formatting import percent, plain, plural
from skinlesions.data import given_splits
from skinlesions.data.sources import ham10000
from skinlesions.evaluation import audit

NEAR_DUPLICATES = paths.REPORTS / "tables" / "balance" / "duplicates.csv"
IDENTICAL = paths.REPORTS / "tables" / "explore" / "identical_images.csv"

TITLES = {
    "dx": "class",
    "images": "images",
    "lesions": "lesions",
    "same_lesion": "same lesion",
    "near_duplicate": "near-duplicate",
    "identical": "identical",
    "same_image": "itself",
    "seen": "any of them",
    "share": "share",
}
NEVI_TITLES = {"images": "nevi", "follow_up": "follow-up", "histo": "histology"}
SHARES = ("share", "follow_up", "histo")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the split, what is known of its images, and the output."""
    parser.add_argument("split", type=Path, metavar="SPLIT", help="a CSV file with the columns image and split")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="a folder or zip file with the images",
    )
    parser.add_argument(
        "--metadata",
        type=Path,
        metavar="FILE",
        help="image_id,lesion_id,dx,dx_type (default: data/raw/metadata.csv, else that in HAM10000_DIR)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as CSV, or all as JSON if it ends so")


def run(arguments: argparse.Namespace) -> None:
    """Print what crosses and how easy the parts are.

    Raises:
        UserError: a file is absent or breaks its form, or nothing is known of the images.
    """
    metadata_file = _metadata_file(arguments.metadata)
    if arguments.out is not None:
        outputs.check(arguments.out, [arguments.split, metadata_file, *(arguments.images or ())])
    given, notes = given_splits.read(arguments.split)
    known = given_splits.read_metadata(metadata_file)
    split = given.merge(known, on="image_id", how="left").fillna("")
    _check_known(split, arguments.split, metadata_file, notes)
    pairs = _pairs(split, arguments.images, notes)
    table = audit.crossings(split, pairs)
    nevi = audit.nevi(pd.concat([split, known.assign(part=audit.ALL)]))
    if arguments.out is not None:
        _write(arguments.out, table, nevi, notes)
    if arguments.out != outputs.STANDARD_OUTPUT:
        print(visible(_text(split, table, nevi, notes)))


def _metadata_file(given: Path | None) -> Path:
    """The metadata that are given, those of the last run, or those in the folder of HAM10000."""
    if given is not None:
        return given
    if paths.RAW_METADATA.exists():
        return paths.RAW_METADATA
    folder = ham10000.given_folder(None)
    if folder is None:
        raise UserError(f"which image shows which lesion is not known here: {given_splits.METADATA_HELP}")
    return ham10000.find(folder).metadata


def _check_known(split: pd.DataFrame, path: Path, metadata: Path, notes: list[str]) -> None:
    """Refuse a split of other images, and note the images that the metadata do not have."""
    unknown = split.loc[split["lesion_id"] == "", "image_id"].unique()
    if len(unknown) == split["image_id"].nunique():
        raise UserError(
            f"{paths.relative(path)}: {paths.relative(metadata)} knows none of its images, such as {unknown[0]!r}; "
            f"{given_splits.METADATA_HELP}"
        )
    if len(unknown):
        images = plain(plural(len(unknown), "image"))
        notes.append(
            f"{images} not in {paths.relative(metadata)}, such as {unknown[0]!r}: of no known lesion and class"
        )


def _pairs(split: pd.DataFrame, folders: list[Path] | None, notes: list[str]) -> audit.Pairs:
    """The pairs that the published run found, and those among the images in `folders`."""
    found = audit.Pairs(given_splits.pairs(NEAR_DUPLICATES), given_splits.pairs(IDENTICAL))
    if folders is not None:
        from skinlesions.inference import same_pictures  # only here: it starts Keras, which takes seconds

        return found.with_those_of(same_pictures.find(split, folders, notes))
    for name, pairs, source in (
        ("near-duplicates", found.near_duplicate, NEAR_DUPLICATES),
        ("identical pictures", found.identical, IDENTICAL),
    ):
        if pairs is None:
            notes.append(f"{name} are not known: there is no {paths.relative(source)}; --images finds them")
    return found


def _write(path: Path, table: pd.DataFrame, nevi: pd.DataFrame, notes: list[str]) -> None:
    if path.suffix.lower() != ".json":
        outputs.write_text(path, files.csv_bytes(table).decode())
        return
    content = {"crossings": _records(table), "nevi": _records(nevi), "notes": notes}
    outputs.write_text(path, files.json_bytes(content).decode())


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of `table`, with None for NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _text(split: pd.DataFrame, table: pd.DataFrame, nevi: pd.DataFrame, notes: list[str]) -> str:
    """All of it for a terminal."""
    parts = ", ".join(f"{part} {count:,}" for part, count in split["part"].value_counts(sort=False).items())
    lesions = split.loc[split["lesion_id"] != "", "lesion_id"].nunique()
    lines = [f"{split['image_id'].nunique():,} images of {lesions:,} lesions: {parts}", *(f"note: {x}" for x in notes)]
    for (tested, against), own in table.groupby(["tested", "against"], sort=False):
        total = own.iloc[-1]
        share = plain(percent(total["share"], 1))
        lines += [
            "",
            f"{tested} against {against}: {total['seen']:,} of {total['images']:,} images ({share}) were seen",
        ]
        lines += _aligned(_written(own[list(TITLES)]).rename(columns=TITLES))
    lines += ["", "How easy the nevi are: those only watched (follow-up) are easier than those cut out (histology)."]
    lines += _aligned(_written(nevi.replace({"part": {audit.ALL: "all that are known"}})).rename(columns=NEVI_TITLES))
    return "\n".join(lines)


def _aligned(table: pd.DataFrame) -> list[str]:
    """The lines of `table`, of texts: its first column to the left, the others to the right."""
    cells = [list(table.columns), *table.itertuples(index=False)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]


def _written(table: pd.DataFrame) -> pd.DataFrame:
    """`table` as texts: shares as percentages, counts with commas, and what is not known as such."""

    def write(name: str, value: Any) -> str:
        if isinstance(value, str):
            return value
        if np.isnan(value):
            return "unknown"
        return plain(percent(value, 1)) if name in SHARES else f"{value:,.0f}"

    return pd.DataFrame({name: [write(name, value) for value in table[name]] for name in table.columns})
