"""An external test set: images on which no model was trained, tuned or chosen.

It consists of a zip file or folder of images and of a table of their diagnoses, which `diagnoses` reads. Images of
HAM10000 among them are taken out, those that are none of the seven classes set apart; both are counted.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.config import External
from skinlesions.core.errors import UserError
from skinlesions.core.names import OUT_OF_SCOPE_COLUMNS
from skinlesions.core.parallel import in_order
from skinlesions.core.progress import Progress
from skinlesions.data.decoding import decode
from skinlesions.data.sources import diagnoses, ham10000, isic_archive, layouts, overlap
from skinlesions.data.sources.archives import ImageFile
from skinlesions.data.sources.checks import check_image, check_names, raise_faults
from skinlesions.data.sources.external_files import SWITCH_OFF
from skinlesions.data.sources.ham10000 import Layout
from skinlesions.data.sources.raw import write_raw

COLUMNS = ("image_id", "lesion_id", "dx")

# In the published diagnoses of the official test set, but not among its images, and left out of its official scores.
WITHOUT_IMAGE = ("ISIC_0035068",)

NOT_ASKED = "data.external in params.yaml is null: no external set was asked for"
NO_LESIONS = "The set names no lesions: every image counts as a lesion of its own, identical files as one."


def write_none(target: Path) -> None:
    """Write to `target` that no set was asked for."""
    shutil.rmtree(target, ignore_errors=True)
    source = {"name": "", "origin": "", "files": [], "note": NOT_ASKED, "images": 0, "lesions": 0}
    files.write_json(target / "source.json", source)


@dataclass(frozen=True)
class Described:
    """A set of which names and diagnoses are known, and no image is read yet.

    Attributes:
        table: as diagnoses.Diagnoses has it, with `dx`: the class, None where the diagnosis is out of scope.
        images: by image id, the same images as `table` has.
        notes: what readers have to know of the set, as sentences.
        normalised: what was normalised or passed over, as sentences.
        files: the tables that were read.
    """

    table: pd.DataFrame
    images: dict[str, ImageFile]
    notes: list[str]
    normalised: list[str]
    files: tuple[Path, ...]


def described(images: Path, ground_truth: Path, wanted: External) -> Described:
    """What there is to know of a set before its images are read.

    Args:
        images: a zip file or folder.
        ground_truth: the file with the diagnoses.
        wanted: data.external of params.yaml: what diagnoses mean, and which part is asked for.

    Raises:
        UserError: the diagnoses are faulty, or images and diagnoses do not match.
    """
    found = _list_images(images, ground_truth)
    known = diagnoses.read(ground_truth, found.keys(), wanted.mapping)
    name, table, normalised = paths.relative(ground_truth), known.table, list(known.notes)
    if wanted.part is not None:
        others = {image_id for image_id in known.described if isic_archive.part(image_id) != wanted.part}
        table = table[~table["image_id"].isin(others)]
        normalised.append(f"Images that are not of {isic_archive.PART_NAMES[wanted.part]}, by their numbers: left out.")
        found = {image_id: image for image_id, image in found.items() if image_id not in others}
    dropped = [name for name in WITHOUT_IMAGE if name not in found and name in set(table["image_id"])]
    notes = [f"{name} has a diagnosis but no published image, and is left out." for name in dropped]
    table = table[~table["image_id"].isin(dropped)]
    if not known.complete:
        lacking = ~table["image_id"].isin(found.keys())
        if lacking.any():
            count = f"{int(lacking.sum()):,}"
            normalised.append(f"Rows of {ground_truth.name} without an image here: {count}, passed over.")
        table = table[~lacking]
    left_out = known.described - set(table["image_id"])
    found = {image_id: image for image_id, image in found.items() if image_id not in left_out}
    check_names({image_id: image.name for image_id, image in found.items()}, table, name)
    table = table.assign(dx=diagnoses.classes_of(replace(known, table=table), wanted.mapping))
    _check_lesions(table, name)
    return Described(table, found, notes, normalised, known.files)


def write(
    images: Path, ground_truth: Path, wanted: External, origin: str, *, target: Path, partial: Path, raw: Path
) -> None:
    """Check the set and write it to `target`, whole or not at all; the cheap checks come first.

    Args:
        images: these three as `described` takes them.
        ground_truth: ditto.
        wanted: ditto.
        origin: where the files are from, for source.json.
        target: replaced if it exists: images/, metadata.csv (COLUMNS), manifest.csv, source.json, and where there are
            any taken_out.csv (TAKEN_OUT_COLUMNS) and out_of_scope.csv (OUT_OF_SCOPE_COLUMNS).
        partial: where the work in progress is.
        raw: the folder of HAM10000's own images, with its metadata and manifest.

    Raises:
        UserError: as `described`; or images are faulty, or none is left to be scored.
    """
    known = described(images, ground_truth, wanted)
    found, notes = known.images, list(known.notes)
    hashes, pictures = _looked_at(found)
    table = known.table.sort_values("image_id", ignore_index=True)
    taken_out = _of_ham10000(table, found, hashes, pictures, partial, raw)
    table = table[~table["image_id"].isin(taken_out["image_id"])].reset_index(drop=True)
    _check_twins(table, hashes)
    if table["lesion_id"].isna().any():
        notes.append(NO_LESIONS)
    table = _with_lesions(table, hashes)
    scored = table[table["dx"].notna()].reset_index(drop=True)
    out_of_scope = table[table["dx"].isna()].rename(columns={"label": "diagnosis"})[list(OUT_OF_SCOPE_COLUMNS)]
    if scored.empty:
        raise UserError(
            f"{images.name}: no image is left to be scored: {len(taken_out):,} are of HAM10000, {len(out_of_scope):,} "
            f"out of scope. Take another set, {SWITCH_OFF}"
        )
    source = {
        "name": images.name,
        "origin": origin,
        "files": [_hashed(path) for path in (images, *known.files) if path.is_file()],
        "note": " ".join(notes),
        "normalised": known.normalised,
        "taken_out": {reason: int((taken_out["reason"] == reason).sum()) for reason in overlap.REASONS},
        "out_of_scope": {
            label: int(count) for label, count in sorted(out_of_scope["diagnosis"].value_counts().items())
        },
    }
    kept = {image_id: image for image_id, image in found.items() if image_id in set(table["image_id"])}
    contents = ((image.image_id, image.name, content) for image, content in ham10000.read_images(kept))
    write_raw(
        target,
        partial,
        scored[list(COLUMNS)],
        contents,
        source,
        label="external_data",
        out_of_scope=out_of_scope,
        tables={} if taken_out.empty else {"taken_out.csv": taken_out},
    )


def _list_images(images: Path, ground_truth: Path) -> dict[str, ImageFile]:
    """The images of the set by their identifiers."""
    if images.is_dir():
        folders = layouts.image_folders(images)
        if not folders:
            raise UserError(
                f"{paths.relative(images)}: no JPEG or PNG images in this folder; correct data.external.images"
            )
        listed = ham10000.list_images(Layout(ground_truth, (), folders))
    else:
        listed = ham10000.list_images(Layout(ground_truth, (images,), ()))
    found: dict[str, ImageFile] = {}
    for image in listed.values():
        own = replace(image, image_id=diagnoses.image_id(image.image_id))
        if own.image_id in found:
            raise UserError(f"{own.name}: image {own.image_id!r} is also {found[own.image_id].name}; remove one")
        found[own.image_id] = own
    return found


def _hashed(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}


def _check_lesions(table: pd.DataFrame, name: str) -> None:
    """Refuse a lesion with two diagnoses: one of them is wrong, and the intervals go by lesion."""
    first: dict[str, tuple[Any, str, Any]] = {}
    faults = []
    for row, lesion, label, dx in table[["lesion_id", "label", "dx"]].itertuples(name=None):
        if pd.isna(lesion):
            continue
        before = first.setdefault(lesion, (row, label, dx))
        if before[2] != dx:
            faults.append(
                f"row {row}: lesion {lesion!r} is {label!r} here and {before[1]!r} in row {before[0]}; "
                "give all images of a lesion the same diagnosis"
            )
    raise_faults(name, faults)


def _looked_at(found: dict[str, ImageFile]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The SHA-256 of every image, and its coarse picture, after decoding all of it."""
    faults: list[str] = []
    hashes: dict[str, str] = {}
    pictures: dict[str, np.ndarray] = {}

    def look(item: tuple[ImageFile, bytes]) -> tuple[ImageFile, str, np.ndarray | ValueError]:
        image, content = item
        try:
            check_image(content)
            return image, files.sha256(content), overlap.coarse(decode(content), "crop")
        except ValueError as error:
            return image, "", error

    with Progress("external_data: look", len(found)) as progress:
        for image, digest, picture in in_order(look, ham10000.read_images(found)):
            if isinstance(picture, ValueError):
                faults.append(f"{image.name} {picture}; replace it with the published file")
            else:
                hashes[image.image_id], pictures[image.image_id] = digest, picture
            progress.advance()
    raise_faults("images", faults)
    return hashes, pictures


def _of_ham10000(
    table: pd.DataFrame,
    found: dict[str, ImageFile],
    hashes: dict[str, str],
    pictures: dict[str, np.ndarray],
    partial: Path,
    raw: Path,
) -> pd.DataFrame:
    """The images of the set that are HAM10000's, or show what they show: TAKEN_OUT_COLUMNS."""
    metadata, manifest = pd.read_csv(raw / "metadata.csv"), pd.read_csv(raw / "manifest.csv")
    known = overlap.known(table, hashes, metadata, manifest)
    rest = table[~table["image_id"].isin(known["image_id"])]

    def read(names: list[str]) -> Iterator[tuple[str, bytes]]:
        chosen = {image_id: image for image_id, image in found.items() if image_id in set(names)}
        for image, content in ham10000.read_images(chosen):
            yield image.image_id, content

    own = {image_id: files.image_file(raw / "images", image_id) for image_id in manifest["image_id"]}
    alike = overlap.near_duplicates(rest, pictures, read, own, partial)
    parts = [part for part in (known, alike) if len(part)]
    return pd.concat(parts).sort_values("image_id", ignore_index=True) if parts else known


def _with_lesions(table: pd.DataFrame, hashes: dict[str, str]) -> pd.DataFrame:
    """`table` with a lesion for every image: where none is named, the first image with the same content."""
    first: dict[str, str] = {}
    own = [first.setdefault(hashes[image_id], image_id) for image_id in table["image_id"]]
    return table.assign(lesion_id=table["lesion_id"].where(table["lesion_id"].notna(), own))


def _check_twins(table: pd.DataFrame, hashes: dict[str, str]) -> None:
    """Refuse files that are there twice under different diagnoses."""
    faults = []
    seen: dict[str, tuple[str, str, Any]] = {}  # content → image, its diagnosis, its class
    for image_id, label, dx in table[["image_id", "label", "dx"]].itertuples(index=False, name=None):
        twin, twin_label, twin_dx = seen.setdefault(hashes[image_id], (image_id, label, dx))
        if twin_dx != dx:
            faults.append(f"{image_id} ({label}) is, byte for byte, {twin} ({twin_label}); remove the wrong one")
    raise_faults("the external set", faults)
