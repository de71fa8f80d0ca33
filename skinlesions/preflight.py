"""What `make report` needs and can be sure of at once, before hours of download or computation start."""

from skinlesions import params, paths
from skinlesions.dataset import external, ham10000
from skinlesions.errors import run_main


def check(settings: params.Params) -> None:
    """Refuse to start where the external set, or the weights of a backbone, is not yet in data/ and cannot be had.

    Raises:
        UserError: a file is absent, or one with weights has the wrong hash.
    """
    if not (paths.EXTERNAL_RAW / "source.json").exists():
        external.locate(settings.data.external, ham10000.given_folder(settings.data.folder))
    missing = [
        name
        for name, backbone in settings.backbones.items()
        if backbone.weights not in ("imagenet", "none") and not (paths.WEIGHTS / f"{name}.weights.h5").exists()
    ]
    if missing:
        from skinlesions import weights  # only here: it starts Keras, which takes seconds

        for name in missing:
            weights.local_file(name, settings.backbones[name])


def main() -> None:
    """Check params.yaml, then what it asks for."""
    check(params.load())


if __name__ == "__main__":
    run_main(main)
