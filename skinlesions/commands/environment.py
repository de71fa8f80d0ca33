"""Renew environment.yaml and inputs.yaml: the installed packages that the stages import, the outside files they read.

`make report` does so by itself. Before a plain `dvc repro` in another environment or from other files, this is the one
thing to do: stages refuse to compute with others than those that are written down.
"""

import argparse
import os
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

from skinlesions.commands import pipeline
from skinlesions.core import config, environment, inputs, paths
from skinlesions.core.errors import UserError
from skinlesions.data import embeddings
from skinlesions.data.sources import external_files, ham10000, outside
from skinlesions.models import weights_files


def configure(parser: argparse.ArgumentParser) -> None:
    """It takes no arguments."""


def run(arguments: argparse.Namespace) -> None:
    """Renew the files, and print what changed; not while a run is going on, which has begun with them as they are."""
    with pipeline.alone(paths.ROOT):
        print(renew(config.load(), to_run=True) or "environment.yaml and inputs.yaml are what is here.")


def renew(settings: config.Params, *, to_run: bool) -> str:
    """Renew environment.yaml and inputs.yaml; what changed, a line per package and input.

    Args:
        settings: of the run.
        to_run: whether stages are about to run. Then those that must download have what they will download for their
            inputs; else they keep what they had: files that are only absent are no other files.
    """
    packages = environment.renew(config.all_packages())
    lines = [f"{name}: {old or 'absent'} → {new or 'no longer needed'}" for name, (old, new) in packages.items()]
    changed = renew_inputs(settings)
    if to_run and (stages := _to_download(settings)):
        changed |= renew_inputs(settings, running=stages)
    return "\n".join(
        [*lines, *(f"{key}: {inputs.described(old, new) or 'no file'}" for key, (old, new) in changed.items())]
    )


def renew_inputs(
    settings: config.Params, file: Path = inputs.FILE, running: Container[str] = ()
) -> dict[str, tuple[inputs.Entry, inputs.Entry]]:
    """Renew inputs.yaml from the files that are here.

    What is not here keeps its entry, as dvc.lock keeps that of data that are only absent, unless its stage is among
    those `running`, which will download it.

    Returns:
        What changed, as inputs.renew has it.
    """
    known = inputs.recorded(file)
    folder = ham10000.given_folder(settings.data.folder)

    def entry(key: str, stage: str, here: bool, now: Callable[[], inputs.Entry]) -> inputs.Entry:
        """The entry of one input; the recorded one where the files are not here, or not as they should be."""
        if key in known and not here and stage not in running:
            return known[key]
        try:
            return now()
        except UserError:  # `skinlesions check` says what is wrong where it matters
            return known.get(key, {})

    def external() -> inputs.Entry:
        return outside.external(external_files.locate(settings.data.external, folder))

    def images() -> inputs.Entry:
        return {} if sample else outside.images_and_metadata(folder)

    sample = settings.data.source == "sample"
    entries = {
        "ham10000": entry("ham10000", "data", sample or folder is not None, images),
        "external_set": entry("external_set", "external_data", _external_is_here(settings, folder), external),
    }
    given = bool(os.environ.get(weights_files.FOLDER_VARIABLE))
    for name, backbone in settings.backbones.items():
        if isinstance(backbone, config.Embedding):
            here, now = embeddings.is_here(backbone), partial(embeddings.entry, name, backbone)
        else:
            here, now = given or backbone.weights == "none", partial(weights_files.entry, name, backbone)
        entries[f"weights.{name}"] = entry(f"weights.{name}", f"weights@{name}", here, now)
    return inputs.renew(entries, file)


def _external_is_here(settings: config.Params, folder: Path | None) -> bool:
    """Whether there is no external set to look for, or some of its files are here."""
    try:
        location = external_files.locate(settings.data.external, folder)
    except UserError:
        return False
    return location is None or isinstance(location.images, Path) or isinstance(location.ground_truth, Path)


def _to_download(settings: config.Params) -> set[str]:
    """The stages that read from outside and are about to run: what they make is absent, or not up to date."""
    made = {"data": paths.RAW_MANIFEST, "external_data": paths.EXTERNAL_RAW / "source.json"}
    made |= {f"weights@{name}": paths.backbone_weights(name) for name in settings.backbones}
    waiting = pipeline.waiting(paths.ROOT)
    return {stage for stage, path in made.items() if stage in waiting or not path.exists()}
