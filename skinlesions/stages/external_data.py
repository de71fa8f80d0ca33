"""Stage `external_data`: the external test set into data/external_raw, or a note that none was asked for."""

from skinlesions.core import config, inputs, paths
from skinlesions.core.errors import run_main
from skinlesions.data.sources import external_files, external_set, ham10000, outside


def main() -> None:
    """Write data/external_raw as params.yaml says; a download stays in data/partial."""
    parameters = config.of_stage("external_data").data
    location = external_files.locate(parameters.external, ham10000.given_folder(parameters.folder))
    inputs.check("external_set", lambda: outside.external(location))
    if location is None:
        external_set.write_none(paths.EXTERNAL_RAW)
        return
    images, ground_truth, origin = external_files.fetched(location, paths.PARTIAL / "download")
    external_set.write(
        images,
        ground_truth,
        parameters.external,
        origin,
        target=paths.EXTERNAL_RAW,
        partial=paths.PARTIAL / "external_raw",
        raw=paths.RAW,
    )


if __name__ == "__main__":
    run_main(main)
