"""Stage `features@BACKBONE`: all prepared images through one frozen backbone."""

import argparse
from pathlib import Path

import keras

from skinlesions.core import config, files, paths
from skinlesions.core.errors import run_main
from skinlesions.data import images
from skinlesions.models import backbones, features, pretrained


def main() -> None:
    """Write data/features/BACKBONE.npy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    name = parser.parse_args().backbone
    settings = config.of_stage(f"features@{name}")
    backbone, batch_size = settings.backbones[name], settings.features.batch_size
    network = pretrained.plain(backbone)
    network.load_weights(pretrained.stored(name))
    features.extract(
        backbones.feature_extractor(name, backbone.architecture, network, backbone.pooling),
        paths.PREPARED_IMAGES,
        paths.FEATURES / f"{name}.npy",
        crop=backbone.crop,
        batch_size=batch_size,
        partial=paths.PARTIAL / "features" / name,
        key={
            "inputs": files.fingerprint(paths.PREPARED_IMAGES, pretrained.stored(name)),
            "code": files.fingerprint(Path(features.__file__), Path(backbones.__file__), Path(images.__file__)),
            "backbone": backbone.model_dump(),
            "batch_size": batch_size,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
    )


if __name__ == "__main__":
    run_main(main)
