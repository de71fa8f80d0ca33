"""Which files from outside the images and the external test set are made of: their entries for inputs.yaml."""

from pathlib import Path

from skinlesions.core import inputs
from skinlesions.data.sources import dataverse, diagnoses, external_files, ham10000, layouts

# The name of all images in folders together: where each of them lies makes no difference.
IMAGES = "images"


def images_and_metadata(folder: Path | None) -> inputs.Entry:
    """The files of HAM10000 in `folder`; None: those of Harvard Dataverse, which are known without a download.

    Raises:
        UserError: the folder lacks them, or their names and rows are faulty.
    """
    if folder is None:
        return {file.name: file.md5 for file in dataverse.FILES}
    found = ham10000.read(folder)
    loose = [image.path for image in found.images.values() if image.member is None]
    return {path.name: inputs.digest(path) for path in found.files} | _loose(loose)


def external(location: external_files.Location | None) -> inputs.Entry:
    """The files of the external test set; none if there is no set."""
    found: dict[str, str] = {}
    for file in () if location is None else (location.images, location.ground_truth):
        if isinstance(file, dataverse.PublishedFile):
            found[file.name] = file.md5
        elif file.is_dir():
            folders = layouts.image_folders(file)
            found |= _loose([folder / name for folder in folders for name in layouts.image_names(folder)])
        else:
            found[file.name] = inputs.digest(file)
    if location is not None and isinstance(location.ground_truth, Path):
        beside = diagnoses.metadata_beside(location.ground_truth)
        found |= {} if beside is None else {beside.name: inputs.digest(beside)}
    return found


def _loose(members: list[Path]) -> dict[str, str]:
    """Images in folders together; nothing if there are none."""
    return {IMAGES: inputs.digest(*members)} if members else {}
