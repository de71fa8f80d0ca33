"""Regenerate the report from the images, as params.yaml says, and renew the README's results.

Whatever is up to date is not run again; an interrupted run goes on where it stopped.
"""

import argparse

from skinlesions.commands import check, environment, params, pipeline, readme
from skinlesions.core import config, paths, presets


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the presets and the number of jobs."""
    parser.add_argument(
        "--preset", metavar="PRESET", nargs="+", default=[], help="presets to write into params.yaml first"
    )
    parser.add_argument(
        "--jobs",
        type=pipeline.job_count,
        default=1,
        help="how many stages run side by side (default: 1); the results are the same",
    )


def run(arguments: argparse.Namespace) -> None:
    """Apply the presets, check what can be checked at once, run the pipeline, renew the README."""
    files = [params.preset_file(name) for name in arguments.preset]
    with pipeline.alone(paths.ROOT):
        for file in files:
            presets.apply(file)
        settings = config.load()
        check.check(settings)
        _say_device(settings)
        if changed := environment.renew(settings, to_run=True):
            print(f"Packages or files from outside are others; stages that need them run again:\n{changed}", flush=True)
        pipeline.repro(paths.ROOT, jobs=arguments.jobs)
        readme.renew()


def _say_device(settings: config.Params) -> None:
    """Print what is computed on."""
    from skinlesions.models import device  # only here: it starts Keras, which takes seconds

    print(device.described(settings.fine_tune.precision), flush=True)
