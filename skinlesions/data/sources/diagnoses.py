"""What an external set says its images show, in every official form, in its own words and then in the seven classes.

- a column per class, one 1 and else 0 in a row: ISIC 2018 and 2019, MILK10k (by lesion, with the metadata beside it);
- a column with the diagnosis: image_id and dx, BCN20000, PAD-UFES-20;
- the metadata of the ISIC Archive.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.errors import UserError
from skinlesions.data.sources import isic_archive, text_tables
from skinlesions.data.sources.checks import listing, raise_faults
from skinlesions.data.sources.labels import AKIEC_IN_ARCHIVE, CLASS_OF_LABEL, plain
from skinlesions.data.sources.text_tables import TextTable

IMAGE_COLUMNS = ("image_id", "image", "isic_id", "img_id", "bcn_filename", "image_name")
LABEL_COLUMNS = ("dx", "diagnosis", "diagnostic")
LESION = "lesion_id"
IMAGE_TYPE, DERMOSCOPIC = "image_type", "dermoscopic"

# The classes of the challenges that have a column per class, in lower case.
ONE_HOT_CLASSES = (
    *("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc", "ak", "scc", "unk"),
    *("ben_oth", "inf", "mal_oth", "sccka"),
)

# What is put in front of a user who has to decide; only what the sets' own descriptions say.
SUGGESTED = {"ak": "akiec", "ack": "akiec", "nev": "nv", "sek": "bkl"}

EXPECTED = (
    "expected a column for the image (image_id, image, isic_id, img_id) and dx, diagnosis or diagnostic, or a column "
    "per class, such as MEL,NV,BCC,AKIEC,BKL,DF,VASC"
)
_SUFFIX = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
_SCALED = "_downsampled"
# It is published in tables, which a spreadsheet may open: no formulas.
_LESION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}")


@dataclass(frozen=True)
class Diagnoses:
    """What a table, or several, say of images.

    Attributes:
        name: the file, for messages.
        table: image_id, lesion_id (None where none is named), label (the set's own word), archive (whether it is the
            Archive's word), and as index the row of the file; every image once.
        complete: whether every row is to have an image; else the table describes more than the set.
        described: all images that the table names, those that are left out too.
        notes: what was normalised or left out, as sentences.
        files: the tables that were read.
    """

    name: str
    table: pd.DataFrame
    complete: bool
    described: frozenset[str]
    notes: tuple[str, ...]
    files: tuple[Path, ...]


def image_id(name: str) -> str:
    """The identifier in the name of an image: without what ends the name of its file, or says that it was scaled."""
    return _SUFFIX.sub("", name).removesuffix(_SCALED)


def read(path: Path, found: Collection[str], mapping: Mapping[str, str | None]) -> Diagnoses:
    """The diagnoses in `path`.

    Args:
        path: a table in one of the forms above.
        found: the images that there are; which column names them is decided by these.
        mapping: data.external.mapping of params.yaml: its keys may be columns of classes.

    Raises:
        UserError: the table is of no known form, or rows are faulty; the message names file and rows.
    """
    table = text_tables.read(path, "correct data.external.ground_truth in params.yaml")
    content, notes, files = table.content, list(table.notes), [path]
    columns = list(content.columns)
    image = _image_column(content, found)
    classes = [name for name in columns if name in ONE_HOT_CLASSES or name in {key.lower() for key in mapping}]
    label = next((name for name in LABEL_COLUMNS if name in columns), None)
    archive = isic_archive.is_archive(columns)
    used: tuple[str, ...] = (*([image] if image else []), LESION, IMAGE_TYPE)
    if archive:
        labels = isic_archive.labels(content)
        used = (*isic_archive.USED_COLUMNS, *isic_archive.OTHER_COLUMNS)
    elif label is not None:
        labels = content[label]
        used = (*used, label)
    elif len(classes) > 1:
        labels = _from_columns(table, classes)
        used = (*used, *classes)
    else:
        raise UserError(f"{table.name}, row 1: the columns are {listing(columns)}; {EXPECTED}")
    notes += text_tables.unused(table, used)
    content = content.assign(label=labels)
    if image is None:
        if LESION not in columns:
            raise UserError(f"{table.name}, row 1: no column names the image; {EXPECTED}")
        content, beside = _joined(path, content, notes)
        files.append(beside)
        image = "isic_id"
    content = content.assign(image_id=content[image].map(image_id))
    described = frozenset(content["image_id"])
    content = _of_dermatoscopes(content, notes)

    shrunk = int(content[image].str.contains(_SCALED, regex=False).sum())
    if shrunk:
        notes.append(f"Names that end in {_SCALED}, which is left off: {shrunk:,}.")
    complete = not (archive or label in ("diagnosis", "diagnostic"))
    content = content.loc[:, ~content.columns.duplicated()]
    missing = content[(content["label"] == "") & ~content["image_id"].isin(set(found))]
    if len(missing) and not complete:
        content = content.drop(missing.index)
    _check_rows(content, table.name)
    lesions = content[LESION] if LESION in content else pd.Series(None, index=content.index, dtype=object)
    result = pd.DataFrame(
        {"image_id": content["image_id"], "lesion_id": lesions, "label": content["label"], "archive": archive}
    )
    return Diagnoses(table.name, result, complete, described, tuple(notes), tuple(files))


def classes_of(known: Diagnoses, mapping: Mapping[str, str | None]) -> pd.Series:
    """The class of every row of the table of `known`; None where its diagnosis is out of scope.

    Args:
        mapping: data.external.mapping of params.yaml: the set's own word → one of CLASSES, or None: out of scope.

    Raises:
        UserError: a diagnosis is none of the seven, and the mapping does not say what it is.
    """
    own = {plain(label): dx for label, dx in mapping.items()}
    unknown: dict[str, int] = {}

    def dx(image: str, label: str, archive: bool) -> str | None:
        key = plain(label)
        if key in own:
            return own[key]
        if key in CLASS_OF_LABEL:
            return CLASS_OF_LABEL[key]
        # As the images of the challenge are labelled there and here: what the Archive calls so is akiec.
        if archive and isic_archive.part(image) and key in AKIEC_IN_ARCHIVE:
            return AKIEC_IN_ARCHIVE[key]
        unknown[label] = unknown.get(label, 0) + 1
        return None

    columns = (known.table[name] for name in ("image_id", "label", "archive"))
    result = [dx(*row) for row in zip(*columns, strict=True)]
    if unknown:
        counted = [f"{label!r} ({count:,} image{'s' * (count != 1)})" for label, count in sorted(unknown.items())]
        example = ", ".join(f"{_key(label)}: {SUGGESTED.get(plain(label), 'null')}" for label in sorted(unknown)[:10])
        raise UserError(
            f"{known.name}: none of the seven classes is called {listing(counted)}. Say in params.yaml, under "
            f"data.external.mapping, which of {', '.join(CLASSES)} each of them is, or null: out of scope, counted but "
            f"not scored. For instance: mapping: {{{example}}}"
        )
    return pd.Series(result, index=known.table.index, dtype=object)


def _key(label: str) -> str:
    """`label` as a key of YAML."""
    return label if re.fullmatch(r"[A-Za-z][A-Za-z0-9_ -]*", label) else f'"{label}"'


def _image_column(content: pd.DataFrame, found: Collection[str]) -> str | None:
    """The column that names most of the images that there are; None: there is none."""
    present = [name for name in IMAGE_COLUMNS if name in content.columns]
    names = set(found)
    return max(present, key=lambda column: content[column].map(image_id).isin(names).sum()) if present else None


def _from_columns(table: TextTable, classes: list[str]) -> pd.Series:
    """The name, in capitals, of the one class in every row whose column has a 1."""
    values = table.content[classes].apply(lambda column: pd.to_numeric(column.str.replace(",", "."), errors="coerce"))
    ones, whole = (values == 1).sum(axis=1), values.isin([0, 1]).all(axis=1)
    faults = []
    for row in table.content.index[~whole | (ones != 1)]:
        if values.loc[row].isna().any():
            column = values.columns[values.loc[row].isna()][0]
            text = f"{column.upper()} is {table.content.at[row, column]!r}; expected 0 or 1"
        elif not whole[row]:
            text = "these are probabilities or shares; a ground truth has one 1 and else 0 in a row"
        else:
            text = "no class is 1" if ones[row] == 0 else f"{ones[row]} classes are 1"
        faults.append(f"row {row}: {text}; correct the row")
    raise_faults(table.name, faults)
    return values.idxmax(axis=1).str.upper()


def metadata_beside(path: Path) -> Path | None:
    """The metadata beside a truth that has a row per lesion and names no image; None: it needs none, or has none."""
    columns = text_tables.columns(path)
    if LESION not in columns or {*columns} & {*IMAGE_COLUMNS}:
        return None
    return next(
        (
            candidate
            for candidate in sorted(path.parent.iterdir())
            if candidate != path
            and candidate.suffix.lower() in text_tables.SUFFIXES
            and {"isic_id", LESION} <= set(text_tables.columns(candidate))
        ),
        None,
    )


def _joined(path: Path, by_lesion: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, Path]:
    """The images of every lesion of `by_lesion`, from the metadata beside the truth `path`, and where these are."""
    beside = metadata_beside(path)
    if beside is None:
        raise UserError(
            f"{paths.relative(path)} has a row per lesion and names no image; put the set's metadata, with the columns "
            f"isic_id and {LESION} (MILK10k_Training_Metadata.csv), beside it"
        )
    metadata = text_tables.read(beside)
    doubled = by_lesion.index[by_lesion[LESION].duplicated()]
    raise_faults(paths.relative(path), [f"row {row}: the lesion is there twice; remove one" for row in doubled])
    notes.append(f"{path.name} has a row per lesion; which images show it is taken from {beside.name}.")
    labels = by_lesion.set_index(LESION)["label"]
    kept = [name for name in ("isic_id", LESION, IMAGE_TYPE) if name in metadata.content.columns]
    images = metadata.content.loc[metadata.content[LESION].isin(labels.index), kept]
    lacking = sorted(set(labels.index) - set(images[LESION]))
    raise_faults(paths.relative(beside), [f"no image of the lesion {lesion!r}; add its row" for lesion in lacking])
    return images.assign(label=images[LESION].map(labels)), beside


def _of_dermatoscopes(content: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The rows of dermoscopic images, if the table tells them from others."""
    if IMAGE_TYPE not in content.columns:
        return content
    kinds = content[IMAGE_TYPE].str.lower()
    other = ~kinds.str.startswith(DERMOSCOPIC) & (kinds != "")
    if not other.any() or other.all():
        return content
    notes.append(
        f"Images that are not dermoscopic ({listing(sorted(set(kinds[other])))}): {int(other.sum()):,}, left out."
    )
    return content[~other]


def _check_rows(content: pd.DataFrame, name: str) -> None:
    """Refuse rows without an image, a lesion or a diagnosis, and images that stand there twice."""
    faults: list[tuple[int, str]] = []
    first: dict[str, int] = {}
    for row, image in content["image_id"].items():
        if not image:
            faults.append((row, "the name of the image is empty; add it"))
        elif first.setdefault(image, row) != row:
            faults.append((row, f"image {image!r} is already in row {first[image]}; remove one of the two"))
    faults += [(row, "the diagnosis is empty; add it, or remove the row") for row in _empty(content["label"])]
    if LESION in content:
        faults += [(row, f"{LESION} is empty; add it, or remove the column") for row in _empty(content[LESION])]
        faults += [
            (row, f"{LESION} is {lesion[:40]!r}; it may have letters, digits, blanks, _, - and . only")
            for row, lesion in content[LESION].items()
            if lesion and not _LESION.fullmatch(lesion)
        ]
    raise_faults(name, [f"row {row}: {text}" for row, text in sorted(faults)])


def _empty(column: pd.Series) -> Iterable[int]:
    return column.index[column == ""]
