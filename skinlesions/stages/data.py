"""Stage `data`: raw images and metadata, from a local folder, from Harvard Dataverse or synthetic, into data/raw."""

from pathlib import Path

from skinlesions.core import config, environment, files, inputs, paths
from skinlesions.core.errors import run_main
from skinlesions.data.sources import dataverse, external_files, ham10000, outside, sample
from skinlesions.data.sources.raw import write_raw


def from_folder(folder: Path, origin: str) -> None:
    """Check HAM10000 in `folder` and write it to data/raw; names and metadata first, since that is quick."""
    found = ham10000.read(folder)
    origins = [{"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)} for path in found.files]
    if {file["sha256"] for file in origins} == {file.sha256 for file in dataverse.FILES}:
        origin = f"{origin}, byte for byte the files of Harvard Dataverse, {dataverse.DOI}"
    source = {"source": "ham10000", "origin": origin, "files": origins, "note": "", "normalised": list(found.notes)}
    contents = ((image.image_id, image.name, content) for image, content in ham10000.read_images(found.images))
    write_raw(paths.RAW, paths.PARTIAL / "raw", found.metadata, contents, source)


def from_dataverse() -> None:
    """Download HAM10000, or what is still missing of it, and write it to data/raw.

    The download stays in data/partial, so that another run of this stage needs no network.
    """
    folder = paths.PARTIAL / "download"
    dataverse.download(folder, base_url=dataverse.BASE_URL, doi=dataverse.DOI, published=dataverse.FILES)
    from_folder(folder, "downloaded")


def from_sample(images: int, seed: int) -> None:
    """Draw the synthetic sample into data/raw."""
    metadata = sample.metadata(images, seed)
    origin = f"drawn by the project, seed {seed}"
    source = {"source": "sample", "origin": origin, "files": [], "note": sample.NOTE, "normalised": []}
    contents = ((image_id, image_id, content) for image_id, content in sample.images(metadata, seed))
    write_raw(paths.RAW, paths.PARTIAL / "raw", metadata, contents, source)


def main() -> None:
    """Write data/raw as params.yaml says."""
    # All of the block, of which DVC tracks everything but `external`: nothing long starts if that could only fail.
    parameters = config.load().data
    environment.check(config.packages("data"))
    folder = ham10000.given_folder(parameters.folder)
    if folder and parameters.source == "ham10000":
        ham10000.find(folder)  # before the complaint that the external set is not in a folder that does not exist
    external_files.locate(parameters.external, folder)
    is_sample = parameters.source == "sample"
    inputs.check("ham10000", lambda: {} if is_sample else outside.images_and_metadata(folder))
    if is_sample:
        from_sample(parameters.sample_images, parameters.sample_seed)
    elif folder:
        from_folder(folder, "a local folder")
    else:
        from_dataverse()


if __name__ == "__main__":
    run_main(main)
