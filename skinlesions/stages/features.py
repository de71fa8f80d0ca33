"""Stage `features@BACKBONE`: all prepared images through one frozen backbone."""

import argparse

from skinlesions.core import config, paths
from skinlesions.core.errors import run_main
from skinlesions.models import backbones, features, pretrained, resumption

MODULE = "skinlesions.stages.features"


def main() -> None:
    """Write data/features/BACKBONE.npy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    name = parser.parse_args().backbone
    settings = config.of_stage(f"features@{name}")
    backbone, batch_size = settings.backbones[name], settings.features.batch_size
    network = pretrained.plain(backbone)
    network.load_weights(paths.backbone_weights(name))
    inputs = (paths.PREPARED_IMAGES, paths.backbone_weights(name))
    features.extract(
        backbones.feature_extractor(name, backbone.architecture, network, backbone.pooling),
        paths.PREPARED_IMAGES,
        paths.FEATURES / f"{name}.npy",
        crop=backbone.crop,
        batch_size=batch_size,
        partial=paths.PARTIAL / "features" / name,
        key=resumption.key(MODULE, inputs, backbone=backbone.model_dump(), batch_size=batch_size),
    )


if __name__ == "__main__":
    run_main(main)
