"""Stage `weights@BACKBONE`: one backbone's weights and their provenance; of an embedding, what its files hash to."""

import argparse

from skinlesions.core import config, inputs
from skinlesions.core.errors import run_main
from skinlesions.data import embeddings
from skinlesions.models import weights_files


def main() -> None:
    """Write data/weights/BACKBONE.weights.h5 and BACKBONE.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    name = parser.parse_args().backbone
    backbone = config.of_stage(f"weights@{name}").backbones[name]
    if isinstance(backbone, config.Embedding):
        inputs.check(f"weights.{name}", lambda: embeddings.entry(name, backbone))
        embeddings.save(name, backbone)
        return
    from skinlesions.models import pretrained  # only here: it starts Keras, which an embedding does not need

    inputs.check(f"weights.{name}", lambda: weights_files.entry(name, backbone))
    pretrained.save(name, *pretrained.load(name, backbone))


if __name__ == "__main__":
    run_main(main)
