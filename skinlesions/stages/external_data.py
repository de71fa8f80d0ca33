"""Stage `external_data`: the external test set into data/external_raw, or a note that none was asked for."""

from skinlesions import params, paths, submission
from skinlesions.dataset import external, ham10000
from skinlesions.errors import run_main


def main() -> None:
    """Write data/external_raw as params.yaml says; a download stays in data/partial."""
    parameters = params.load().data
    location = external.locate(parameters.external, ham10000.given_folder(parameters.folder))
    if location is None:
        external.write_none(paths.EXTERNAL_RAW)
        return
    images, ground_truth, origin = external.fetched(location, paths.PARTIAL / "download")
    external.write(
        images,
        ground_truth,
        submission.read_ground_truth(ground_truth),
        origin,
        target=paths.EXTERNAL_RAW,
        partial=paths.PARTIAL / "external_raw",
        raw=paths.RAW,
    )


if __name__ == "__main__":
    run_main(main)
