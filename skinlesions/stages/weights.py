"""Stage `weights@BACKBONE`: one backbone's weights and their provenance."""

import argparse

from skinlesions import params, weights
from skinlesions.errors import run_main


def main() -> None:
    """Write data/weights/BACKBONE.weights.h5 and BACKBONE.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    name = parser.parse_args().backbone
    weights.save(name, *weights.load(name, params.load().backbone(name)))


if __name__ == "__main__":
    run_main(main)
