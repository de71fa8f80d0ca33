"""Presets: files of presets/ that change some keys of params.yaml; one that has every block takes its place."""

from pathlib import Path
from typing import Any

from skinlesions.core import config, paths
from skinlesions.core.errors import UserError
from skinlesions.core.files import replacing, write_bytes


def merged(values: dict[str, Any], preset: dict[str, Any]) -> dict[str, Any]:
    """`values` changed by `preset`, as a JSON merge patch (RFC 7396): maps merge, null removes, all else replaces.

    `values` is changed in place, so that a round-trip YAML document keeps its comments.
    """
    for key, value in preset.items():
        if value is None:
            values.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(values.get(key), dict):
                values[key] = {}
            merged(values[key], value)
        else:
            values[key] = value
    return values


def apply(preset: Path, target: Path = paths.PARAMS) -> None:
    """Write `preset` into `target`, keeping its comments, after checking the result; a complete one in its place.

    Raises:
        UserError: the preset cannot be read, or the merged parameters are not valid.
    """
    changes = config.read_yaml(preset)
    if not isinstance(changes, dict):
        raise UserError(f"{paths.relative(preset)} is not a map of parameters; see presets/cpu.yaml")
    if config.Params.model_fields.keys() <= changes.keys():
        config.validate(changes, paths.relative(preset))
        write_bytes(target, preset.read_bytes())
        return

    from ruamel.yaml import YAML  # only here: it keeps comments, and is slower to import

    yaml_document = YAML()
    yaml_document.width = 120
    # As params.yaml is written, so that lines that the preset does not touch stay as they are.
    yaml_document.indent(mapping=2, sequence=4, offset=2)
    yaml_document.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml_document.load(target.read_text(encoding="utf-8"))
    merged(document, changes)
    config.validate(_plain(document), f"params.yaml with {paths.relative(preset)}")
    with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        yaml_document.dump(document, stream)


def _plain(value: Any) -> Any:
    """`value` with the containers and numbers of a round-trip YAML document turned into Python's own."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
