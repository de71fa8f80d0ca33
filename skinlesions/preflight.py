"""What `make report` needs and can be sure of at once, before hours of download or computation start."""

from skinlesions import params, paths
from skinlesions.errors import run_main


def check(settings: params.Params) -> None:
    """Refuse to start where the weights of a backbone that is not yet in data/ cannot be had.

    Raises:
        UserError: a local weights file is absent or has the wrong hash.
    """
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
