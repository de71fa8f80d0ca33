"""Which files from outside the images and the external test set are made of: their entries for inputs.yaml."""

from pathlib import Path

from skinlesions.core import inputs
from skinlesions.data.sources import dataverse, external_set, ham10000

# The name of all images in folders together: where each of them lies makes no difference.
IMAGES = "images"


def images_and_metadata(folder: Path | None) -> inputs.Entry:
    """The files of HAM10000 in `folder`; None: those of Harvard Dataverse, which are known without a download.

    Raises:
        UserError: the folder lacks them.
    """
    if folder is None:
        return {file.name: file.md5 for file in dataverse.FILES}
    layout = ham10000.find(folder)
    found = {path.name: inputs.digest(path) for path in (layout.metadata, *layout.archives)}
    return found | _loose(layout.folders)


def external(location: external_set.Location | None) -> inputs.Entry:
    """The files of the external test set; none if there is no set."""
    found: dict[str, str] = {}
    for file in () if location is None else (location.images, location.ground_truth):
        if isinstance(file, dataverse.PublishedFile):
            found[file.name] = file.md5
        elif file.is_dir():
            found |= _loose(ham10000.image_folders(file))
        else:
            found[file.name] = inputs.digest(file)
    return found


def _loose(folders: tuple[Path, ...]) -> dict[str, str]:
    """The images in `folders` together; nothing if there are no folders."""
    members = [path for folder in folders for path in folder.iterdir() if ham10000.IMAGE_NAME.fullmatch(path.name)]
    return {IMAGES: inputs.digest(*members)} if members else {}
