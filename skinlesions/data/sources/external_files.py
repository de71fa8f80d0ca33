"""Where the files of an external test set are: here, or at Harvard Dataverse.

They are looked for where the files of HAM10000 are, in the repository, or at a path of their own; the official test set
of ISIC 2018, Task 3, is at Dataverse.
"""

from dataclasses import dataclass
from pathlib import Path

from skinlesions.core import paths
from skinlesions.core.config import External
from skinlesions.core.errors import UserError
from skinlesions.data.sources import dataverse, ham10000
from skinlesions.data.sources.checks import listing
from skinlesions.data.sources.dataverse import PublishedFile

SWITCH_OFF = "or set data.external to null in params.yaml, and no external set is scored"


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
    if "://" in name:
        raise UserError(
            f"data.external.{key}: {name!r} is an address, not a file. Download it, and name the file here, "
            f"{SWITCH_OFF}."
        )
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
