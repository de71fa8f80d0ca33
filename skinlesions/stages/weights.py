"""Stage `weights@BACKBONE`: one backbone's weights and their provenance."""

import argparse

from skinlesions.core import config, inputs
from skinlesions.core.errors import run_main
from skinlesions.models import pretrained, weights_files


def main() -> None:
    """Write data/weights/BACKBONE.weights.h5 and BACKBONE.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    name = parser.parse_args().backbone
    settings = config.of_stage(f"weights@{name}")
    backbone = settings.backbones[name]
    inputs.check(f"weights.{name}", lambda: weights_files.entry(name, backbone))
    pretrained.save(name, *pretrained.load(name, backbone))


if __name__ == "__main__":
    run_main(main)
