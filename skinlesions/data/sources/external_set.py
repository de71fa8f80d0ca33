"""An external test set in the format of the ISIC challenges: images on which no model was trained, tuned or chosen.

It consists of a zip file or folder of images and of a table of their diagnoses, which data.isic_csv reads. The
two are found where the files of HAM10000 are, at a path of their own, or, the official test set, at Harvard Dataverse.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinlesions.core import files, paths
from skinlesions.core.config import External
from skinlesions.core.errors import UserError
from skinlesions.data.sources import dataverse, ham10000, layouts
from skinlesions.data.sources.archives import ImageFile
from skinlesions.data.sources.checks import check_names, listing, raise_faults
from skinlesions.data.sources.dataverse import PublishedFile
from skinlesions.data.sources.ham10000 import Layout
from skinlesions.data.sources.raw import write_raw

COLUMNS = ("image_id", "lesion_id", "dx")

# In the published diagnoses of the official test set, but not among its images, and left out of its official scores.
WITHOUT_IMAGE = ("ISIC_0035068",)

SWITCH_OFF = "or set data.external to null in params.yaml, and no external set is scored"
NOT_ASKED = "data.external in params.yaml is null: no external set was asked for"
NO_LESIONS = "The set names no lesions: every image counts as a lesion of its own, identical files as one."


@dataclass(frozen=True)
class Location:
    """Where the images (a zip file or a folder) and their diagnoses are: here, or for download from Dataverse."""

    images: Path | PublishedFile
    ground_truth: Path | PublishedFile


def locate(wanted: External | None, folder: Path | None) -> Location | None:
    """Where the files of the set are; None if none is wanted. Nothing is read or fetched.

    Args:
        wanted: data.external of params.yaml.
        folder: with the files of HAM10000, if there is one.

    Raises:
        UserError: a file is neither here nor one that Dataverse has.
    """
    if wanted is None:
        return None
    return Location(_find("images", wanted.images, folder), _find("ground_truth", wanted.ground_truth, folder))


def _find(key: str, name: str, folder: Path | None) -> Path | PublishedFile:
    """The file or folder `name` in `folder`, else in the repository; else the published file of that name."""
    places = [place / Path(name).expanduser() for place in (folder, paths.ROOT) if place is not None]
    for place in places:
        if place.exists():
            return place
    for file in dataverse.TEST_FILES:
        if file.name == name:
            return file
    offered = f"Harvard Dataverse has {listing(file.name for file in dataverse.TEST_FILES)}"
    if folder is not None and folder.is_dir():
        offered = f"{paths.relative(folder)} has {listing(sorted(path.name for path in folder.iterdir()))}; {offered}"
    elif folder is None:
        offered = f"neither data.folder nor {ham10000.FOLDER_VARIABLE} names a folder; {offered}"
    looked = " and ".join(dict.fromkeys(paths.relative(place) for place in places))
    raise UserError(
        f"data.external.{key}: {name!r} is not there (looked for {looked}). {offered}. Correct the name, {SWITCH_OFF}."
    )


def fetched(location: Location, folder: Path) -> tuple[Path, Path, str]:
    """The images and the diagnoses as files here, downloaded to `folder` where they are not; and where they are from.

    Raises:
        UserError: the download fails.
    """
    wanted = tuple(file for file in (location.images, location.ground_truth) if isinstance(file, PublishedFile))
    if wanted:
        try:
            dataverse.download(folder, base_url=dataverse.BASE_URL, doi=dataverse.DOI, published=wanted)
        except UserError as error:
            raise UserError(
                f"{error}\nThis is about the external set alone: put {' and '.join(file.name for file in wanted)} "
                f"into the folder of HAM10000, {SWITCH_OFF}."
            ) from None
    images, ground_truth = (
        folder / file.name if isinstance(file, PublishedFile) else file
        for file in (location.images, location.ground_truth)
    )
    origin = "downloaded" if len(wanted) == 2 else "partly downloaded" if wanted else "local files"
    published = (
        any(dataverse.is_whole(path, file) for file in dataverse.TEST_FILES) for path in (images, ground_truth)
    )
    if all(published):
        origin += f", by their MD5 the files of Harvard Dataverse, {dataverse.DOI}"
    return images, ground_truth, origin


def write_none(target: Path) -> None:
    """Write to `target` that no set was asked for."""
    shutil.rmtree(target, ignore_errors=True)
    source = {"name": "", "origin": "", "files": [], "note": NOT_ASKED, "images": 0, "lesions": 0}
    files.write_json(target / "source.json", source)


def write(
    images: Path, ground_truth: Path, table: pd.DataFrame, origin: str, *, target: Path, partial: Path, raw: Path
) -> None:
    """Check the set and write it to `target`, whole or not at all; the cheap checks come first.

    Args:
        images: a zip file or folder.
        ground_truth: the file with the diagnoses.
        table: what it holds: image, lesion_id (None where none is named) and dx, every image once.
        origin: where the two are from, for source.json.
        target: replaced if it exists: images/, metadata.csv (COLUMNS), manifest.csv and source.json.
        partial: where the work in progress is.
        raw: the folder of HAM10000's own images, with its metadata and manifest.

    Raises:
        UserError: the diagnoses or the images are faulty, do not match, or are not external to HAM10000.
    """
    table = table.rename(columns={"image": "image_id"})[list(COLUMNS)].sort_values("image_id", ignore_index=True)
    found = _list_images(images, ground_truth)
    dropped = [name for name in WITHOUT_IMAGE if name not in found and name in set(table["image_id"])]
    table = table[~table["image_id"].isin(dropped)].reset_index(drop=True)
    check_names({image_id: image.name for image_id, image in found.items()}, table, paths.relative(ground_truth))
    hashes = {image.image_id: files.sha256(content) for image, content in ham10000.read_images(found)}
    check_external(table, hashes, pd.read_csv(raw / "metadata.csv"), pd.read_csv(raw / "manifest.csv"))

    notes = [f"{name} has a diagnosis but no published image, and is left out." for name in dropped]
    if table["lesion_id"].isna().any():
        notes.append(NO_LESIONS)
    source = {
        "name": images.name,
        "origin": origin,
        "files": [_described(path) for path in (images, ground_truth) if path.is_file()],
        "note": " ".join(notes),
    }
    contents = ((image.image_id, image.name, content) for image, content in ham10000.read_images(found))
    write_raw(target, partial, _with_lesions(table, hashes), contents, source, label="external_data")


def _list_images(images: Path, ground_truth: Path) -> dict[str, ImageFile]:
    if not images.is_dir():
        return ham10000.list_images(Layout(ground_truth, (images,), ()))
    folders = layouts.image_folders(images)
    if not folders:
        raise UserError(f"{paths.relative(images)}: no JPEG images in this folder; correct data.external.images")
    return ham10000.list_images(Layout(ground_truth, (), folders))


def _described(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}


def _with_lesions(table: pd.DataFrame, hashes: dict[str, str]) -> pd.DataFrame:
    """`table` with a lesion for every image: where none is named, the first image with the same content."""
    first: dict[str, str] = {}
    own = [first.setdefault(hashes[image_id], image_id) for image_id in table["image_id"]]
    return table.assign(lesion_id=table["lesion_id"].where(table["lesion_id"].notna(), own))


def check_external(table: pd.DataFrame, hashes: dict[str, str], metadata: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Refuse images that the models may have been trained on.

    Args:
        table: COLUMNS of the external set.
        hashes: SHA-256 of its files by image id.
        metadata: of HAM10000.
        manifest: of HAM10000, with the SHA-256 of every file.

    Raises:
        UserError: with every image whose name, content or lesion is in HAM10000, or whose content is there twice
            under different diagnoses.
    """
    names, lesions = set(metadata["image_id"]), set(metadata["lesion_id"])
    contents = dict(zip(manifest["sha256"], manifest["image_id"], strict=True))
    faults = []
    seen: dict[str, tuple[str, str]] = {}  # content → image, dx
    for image_id, lesion_id, dx in table[list(COLUMNS)].itertuples(index=False):
        digest = hashes[image_id]
        twin, twin_dx = seen.setdefault(digest, (image_id, dx))
        if image_id in names:
            faults.append(f"{image_id} is also an image of HAM10000")
        elif digest in contents:
            faults.append(f"{image_id} is, byte for byte, the image {contents[digest]} of HAM10000")
        elif lesion_id in lesions:
            faults.append(f"{image_id} shows the lesion {lesion_id}, which is in HAM10000")
        elif twin_dx != dx:
            faults.append(f"{image_id} ({dx}) is, byte for byte, {twin} ({twin_dx})")
    raise_faults(f"the external set cannot be scored; take these images out of it, {SWITCH_OFF}", faults)
