"""HAM10000 in a local folder, in each layout in which people have it, read into one form.

`layouts` finds the files. Other names and values than HAM10000's own are turned into those; what was normalised, passed
over or set apart is said in notes, which reach the report.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from skinlesions.core import paths
from skinlesions.core.classes import METADATA_COLUMNS
from skinlesions.core.errors import UserError
from skinlesions.data.sources import archives, isic_archive, layouts, parquet, text_tables
from skinlesions.data.sources.archives import MAXIMUM_IMAGE_BYTES, ImageFile
from skinlesions.data.sources.checks import (
    IDENTIFIER,
    OPTIONAL_COLUMN,
    check_columns,
    check_metadata,
    check_names,
    raise_faults,
)
from skinlesions.data.sources.labels import CLASS_OF_LABEL, DX_TYPE_OF_LABEL, plain
from skinlesions.data.sources.layouts import Layout, find

__all__ = ["Dataset", "Layout", "find", "given_folder", "list_images", "read", "read_images", "read_metadata"]

# Where the files are, unless data.folder says so.
FOLDER_VARIABLE = "HAM10000_DIR"

LOWER = ("dx_type", "sex", "localization")


@dataclass(frozen=True)
class Dataset:
    """HAM10000 as a folder has it.

    Attributes:
        metadata: as check_metadata returns it.
        images: by image id; the same images as `metadata` has.
        files: the tables and zip files that it is read from; not images in folders.
        notes: what was normalised, passed over or set apart, as sentences.
    """

    metadata: pd.DataFrame
    images: dict[str, ImageFile]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def given_folder(folder: str | None) -> Path | None:
    """The folder with the files of HAM10000: `folder` (data.folder), else FOLDER_VARIABLE; None if neither is set."""
    folder = folder or os.environ.get(FOLDER_VARIABLE)
    return paths.ROOT / Path(folder).expanduser() if folder else None


def read(folder: Path) -> Dataset:
    """HAM10000 in `folder`: names and metadata, checked; no image is read yet.

    Raises:
        UserError: the files are not HAM10000, a row has a fault, or images and rows do not match.
    """
    layout = find(folder)
    notes = list(layout.notes)
    if layout.kind == layouts.PARQUET:
        metadata, images = _from_parquet((layout.metadata, *layout.further), notes)
        return Dataset(metadata, images, (layout.metadata, *layout.further), tuple(notes))
    metadata = _metadata(layout, notes)
    for rival in layout.rivals:
        other = _metadata(Layout(rival, (), (), layout.kind, layout.further), [])
        if not _agree(metadata, other):
            raise UserError(
                f"{paths.relative(layout.metadata)} and {paths.relative(rival)} are both metadata of HAM10000, and "
                "they differ; leave one of them in the folder"
            )
    if layout.strict:
        own = set(metadata["image_id"])
        images = {
            image_id: image
            for image_id, image in list_images(layout).items()
            if image_id in own or not _is_png(image)  # masks are PNG
        }
    else:
        described = text_tables.read(layout.metadata).content[layouts.IMAGE_COLUMNS[layout.kind]]
        images = _chosen(layout, set(metadata["image_id"]), set(described), notes)
    check_names({image_id: image.name for image_id, image in images.items()}, metadata, paths.relative(layout.metadata))
    used = {image.path for image in images.values()}
    zip_files = [path for path in layout.archives if path in used]
    return Dataset(metadata, images, (*zip_files, layout.metadata, *layout.further), tuple(notes))


# --- tables -----------------------------------------------------------------------------------------------------


def read_metadata(path: Path) -> pd.DataFrame:
    """The checked, normalised metadata in `path`, a table with HAM10000's columns.

    Raises:
        UserError: the file is not such a table, or a row has a fault.
    """
    return _metadata(Layout(path, (), ()), [])


def _metadata(layout: Layout, notes: list[str]) -> pd.DataFrame:
    """The metadata of `layout`, checked; what was normalised is appended to `notes`."""
    table = text_tables.read(layout.metadata, "take the metadata file as published")
    notes += table.notes
    if layout.kind == layouts.ARCHIVE:
        content = _of_archive(table, notes)
    elif layout.kind == layouts.CHALLENGE:
        content = _of_challenge(table, layout.further[0], notes)
    else:
        check_columns(list(table.content.columns), table.name)
        notes += text_tables.unused(table, (*METADATA_COLUMNS, OPTIONAL_COLUMN))
        content = _normalised(table.content, layout.metadata.name, notes)
    return check_metadata(content, table.name)


def _normalised(content: pd.DataFrame, file: str, notes: list[str]) -> pd.DataFrame:
    """`content` with other spellings of what HAM10000 knows as HAM10000 spells it."""
    content = content.copy()
    before = content["dx"]
    content["dx"] = before.map(lambda label: CLASS_OF_LABEL.get(plain(label), label))
    if (changed := int((content["dx"] != before).sum())) > 0:
        notes.append(f"{file}: diagnoses by other names are read as the seven short ones (rows: {changed:,}).")
    lower = {column: content[column].str.lower() for column in LOWER}
    lower["dx_type"] = lower["dx_type"].map(lambda label: DX_TYPE_OF_LABEL.get(plain(label), label))
    if any((lower[column] != content[column]).any() for column in LOWER):
        notes.append(f"{file}: {', '.join(LOWER)} are spelled as HAM10000 spells them.")
    return content.assign(**lower)


def _of_archive(table: text_tables.TextTable, notes: list[str]) -> pd.DataFrame:
    """HAM10000's rows of metadata of the ISIC Archive; the others are counted."""
    file = Path(table.name).name
    notes += text_tables.unused(table, (*isic_archive.USED_COLUMNS, *isic_archive.OTHER_COLUMNS))
    if "lesion_id" not in table.content.columns:
        raise UserError(
            f"{table.name} has no column 'lesion_id', and without it images of one lesion would be trained on and "
            "tested on; fetch it anew: isic metadata download --collections 66 -o metadata.csv"
        )
    parts = table.content["isic_id"].map(isic_archive.part)
    own = parts == isic_archive.HAM10000
    notes.append(
        f"{file} is of the ISIC Archive: lesions have its names (IL_...), anterior torso and head/neck are its broader "
        "sites, ages of 0 and the site trunk are not given, nor is the collection (`dataset`)."
    )
    for part, rows in table.content[~own].groupby(parts[~own]):
        notes.append(
            f"Set apart, by their numbers, as images of {isic_archive.PART_NAMES[part]}: {len(rows):,} "
            f"(lesions: {rows['lesion_id'].nunique():,})."
        )
    return isic_archive.as_ham10000(table.content[own])


def _of_challenge(table: text_tables.TextTable, groupings: Path, notes: list[str]) -> pd.DataFrame:
    """HAM10000's rows from the truth of the ISIC 2018 challenge and its groups of images by lesion."""
    classes = list(layouts.CHALLENGE_CLASSES)
    notes += text_tables.unused(table, ("image", *classes))
    content = table.content
    values = content[classes].apply(pd.to_numeric, errors="coerce")
    faulty = ~(values.isin([0, 1]).all(axis=1) & (values.sum(axis=1) == 1))
    raise_faults(
        table.name,
        [f"row {row}: expected one 1 and else 0; restore the row as published" for row in content.index[faulty]],
    )
    lesions = text_tables.read(groupings)
    notes += [*lesions.notes, *text_tables.unused(lesions, ("image", "lesion_id", "diagnosis_confirm_type"))]
    known = lesions.content.drop_duplicates("image").set_index("image")
    missing = content.loc[~content["image"].isin(known.index), "image"]
    raise_faults(
        table.name,
        [f"row {row}: {lesions.name} has no lesion of image {image!r}; add it" for row, image in missing.items()],
    )
    known = known.loc[content["image"]].set_index(content.index)
    confirmed = known.get("diagnosis_confirm_type", pd.Series("", index=content.index))
    notes.append("The files of the ISIC 2018 challenge have no age, sex, site or collection (`dataset`) of an image.")
    return pd.DataFrame(
        {
            "lesion_id": known["lesion_id"],
            "image_id": content["image"],
            "dx": values.idxmax(axis=1),
            "dx_type": confirmed.map(lambda label: DX_TYPE_OF_LABEL.get(plain(label), label)),
            "age": "",
            "sex": "unknown",
            "localization": "unknown",
        },
        index=content.index,
    )


def _from_parquet(files: tuple[Path, ...], notes: list[str]) -> tuple[pd.DataFrame, dict[str, ImageFile]]:
    """Metadata and images of parquet files whose splits share images; every image is taken once."""
    images: dict[str, ImageFile] = {}
    rows: dict[str, tuple[str, ...]] = {}
    faults: list[str] = []
    counts: Counter[str] = Counter()
    unused: set[str] = set()
    for path in files:
        table, others = parquet.read(path)
        unused |= set(others)
        for position, row in enumerate(table.itertuples(index=False, name=None)):
            image_id = row[0]
            counts[image_id] += 1
            if rows.setdefault(image_id, row) != row:
                faults.append(f"{paths.relative(path)}, row {position}: image {image_id!r} stands elsewhere otherwise")
            elif image_id not in images:
                images[image_id] = ImageFile(image_id, path, str(position))
    raise_faults("parquet files", [f"{fault}; take the files of one data set" for fault in faults])
    if unused:
        notes.append(f"Columns of the parquet files that are passed over: {', '.join(sorted(unused))}.")
    if counts.total() > len(rows):
        notes.append(
            f"The parquet files have {counts.total():,} rows of {len(rows):,} images, up to {max(counts.values())} of "
            "one: every image is taken once. Their own splits share images, and are not used."
        )
    content = pd.DataFrame(rows.values(), columns=list(parquet.COLUMNS[1:]), dtype=object)
    return check_metadata(_normalised(content, "parquet", notes), paths.relative(files[0])), images


def _agree(metadata: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables say the same of the same images."""
    columns = list(METADATA_COLUMNS)
    return metadata[columns].equals(other[columns])


# --- images -----------------------------------------------------------------------------------------------------


def list_images(layout: Layout) -> dict[str, ImageFile]:
    """Every image of the layout by its id, in the order in which reading them is fast. Nothing is unpacked.

    Raises:
        UserError: a zip file is damaged or has unsafe members, or an image is there twice.
    """
    images: dict[str, ImageFile] = {}
    faults: list[str] = []
    for image in _all_images(layout, faults):
        if not IDENTIFIER.fullmatch(image.image_id):
            faults.append(f"{image.name}: not the name of an image; rename it or move it elsewhere")
        elif image.image_id in images:
            faults.append(f"{image.name}: image {image.image_id!r} is also {images[image.image_id].name}; remove one")
        else:
            images[image.image_id] = image
    raise_faults("images", faults)
    return images


def _chosen(layout: Layout, wanted: set[str], described: set[str], notes: list[str]) -> dict[str, ImageFile]:
    """Of all images of the layout the `wanted` ones: of several copies the first, of two in one zip file none.

    Args:
        described: the images that the metadata name, those that are set apart among them.
    """
    images: dict[str, ImageFile] = {}
    faults: list[str] = []
    repeated: set[str] = set()
    others = 0
    for image in _all_images(layout, faults):
        first = images.get(image.image_id)
        if image.image_id not in wanted:
            others += image.image_id not in described and not _is_png(image)  # as above
        elif first is None:
            images[image.image_id] = image
        elif image.member is not None and first.path == image.path:
            faults.append(f"{image.name}: image {image.image_id!r} is also {first.name}; remove one")
        else:
            repeated.add(image.image_id)
    raise_faults("images", faults)
    if repeated:
        zips = sorted({images[image_id].path.name for image_id in repeated if images[image_id].member})
        place = zips[0] if zips else "the folder that is nearest"
        notes.append(f"Images that lie in several places: {len(repeated):,}, taken from {place}.")
    if others:
        notes.append(f"JPEG images without a row in {layout.metadata.name}: {others:,}, passed over.")
    return images


def _all_images(layout: Layout, faults: list[str]) -> Iterator[ImageFile]:
    """The images in the zip files and folders of `layout`; what is wrong with a file is appended to `faults`."""
    for path in layout.archives:
        names, wrong = layouts.image_members(path)
        raise_faults(paths.relative(path), [f"{fault}; download the file again from its publisher" for fault in wrong])
        for member in names:
            yield ImageFile(Path(member).stem, path, member)
    for folder in layout.folders:
        for name in layouts.image_names(folder):
            path = folder / name
            yield ImageFile(path.stem, path, None)
            try:
                if path.stat().st_size > MAXIMUM_IMAGE_BYTES:
                    faults.append(f"{paths.relative(path)}: more than {MAXIMUM_IMAGE_BYTES:,} bytes; replace it")
            except OSError as error:
                faults.append(f"{folder.name}/{name} cannot be read ({error.strerror}); replace it")


def _is_png(image: ImageFile) -> bool:
    return Path(image.member or image.path).suffix.lower() == ".png"


def read_images(images: dict[str, ImageFile]) -> Iterator[tuple[ImageFile, bytes]]:
    """Every image with its bytes, one at a time, in the order of `images`.

    Raises:
        UserError: a file or member cannot be read.
    """
    for path, group in groupby(images.values(), key=lambda image: image.path if _in_parquet(image) else None):
        own = list(group)
        found = (
            archives.contents(own)
            if path is None
            else zip(own, parquet.contents(path, [int(image.member or 0) for image in own]), strict=True)
        )
        for image, content in found:
            if isinstance(content, ValueError):
                raise UserError(f"{image.name}: {content}; download it again")
            yield image, content


def _in_parquet(image: ImageFile) -> bool:
    return image.path.suffix.lower() == ".parquet"
