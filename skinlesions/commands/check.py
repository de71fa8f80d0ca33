"""What a run needs and can be sure of at once, before hours of download or computation start.

params.yaml is valid; the external test set and the weights that it names are here, or can be had.
"""

import argparse

from skinlesions.core import config, paths
from skinlesions.data.sources import external_set, ham10000


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Check params.yaml, then what it asks for."""
    check(config.load())


def check(settings: config.Params) -> None:
    """Refuse to start where the external set, or the weights of a backbone, is not yet in data/ and cannot be had.

    Raises:
        UserError: a file is absent, or one with weights has the wrong hash.
    """
    if not (paths.EXTERNAL_RAW / "source.json").exists():
        external_set.locate(settings.data.external, ham10000.given_folder(settings.data.folder))
    missing = [
        name
        for name, backbone in settings.backbones.items()
        if backbone.weights not in ("imagenet", "none") and not (paths.WEIGHTS / f"{name}.weights.h5").exists()
    ]
    if missing:
        from skinlesions.models import pretrained  # only here: it starts Keras, which takes seconds

        for name in missing:
            pretrained.local_file(name, settings.backbones[name])
