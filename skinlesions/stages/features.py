"""Stage `features@BACKBONE`: all prepared images through one frozen backbone, or the rows of an embedding."""

import argparse
from pathlib import Path

from skinlesions.core import config, paths
from skinlesions.core.errors import run_main
from skinlesions.data import embeddings

MODULE = "skinlesions.stages.features"


def main() -> None:
    """Write data/features/BACKBONE.npy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    name = parser.parse_args().backbone
    settings = config.of_stage(f"features@{name}")
    backbone, target = settings.backbones[name], paths.FEATURES / f"{name}.npy"
    if isinstance(backbone, config.Embedding):
        embeddings.extract(name, backbone, embeddings.prepared_ids(), target)
    else:
        _extract(name, backbone, settings.features.batch_size, target)


def _extract(name: str, backbone: config.Backbone, batch_size: int, target: Path) -> None:
    """Write the features that the network of the backbone makes of the prepared images."""
    from skinlesions.models import backbones, features, pretrained, resumption  # only here: see stages.weights

    network = pretrained.plain(backbone)
    network.load_weights(paths.backbone_weights(name))
    inputs = (paths.PREPARED_IMAGES, paths.backbone_weights(name))
    features.extract(
        backbones.feature_extractor(name, backbone.architecture, network, backbone.pooling),
        paths.PREPARED_IMAGES,
        target,
        crop=backbone.crop,
        batch_size=batch_size,
        partial=paths.PARTIAL / "features" / name,
        key=resumption.key(MODULE, inputs, backbone=backbone.model_dump(), batch_size=batch_size),
    )


if __name__ == "__main__":
    run_main(main)
