"""The settings: params.yaml read and checked once, with what its blocks share written into each of them.

What several blocks share stands in params.yaml once (`features` for the backbones, `head` and `fine_tune` for the
models, `statistics` for whatever has intervals); the typed blocks that come out are complete, and are passed on as
they are.

A stage and its notebook call `of_stage`, which gives them the keys that DVC tracks for that stage and no others.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from skinlesions.core import environment, paths
from skinlesions.core.backbones import Embedding
from skinlesions.core.blocks import (
    ARCHITECTURES,
    Backbone,
    Balance,
    Block,
    Compare,
    Explain,
    External,
    FineTune,
    Head,
    Leakage,
    Model,
    Publish,
    Strategy,
)
from skinlesions.core.errors import UserError
from skinlesions.core.schema import Params

__all__ = [
    "ARCHITECTURES",
    "Backbone",
    "Balance",
    "Compare",
    "Embedding",
    "Explain",
    "External",
    "FineTune",
    "Head",
    "Leakage",
    "Model",
    "Params",
    "Publish",
    "StageSettings",
    "Strategy",
    "load",
    "of_stage",
    "read_yaml",
    "resolved",
    "tracked",
    "validate",
]

# The blocks that others take what they do not say themselves from.
SHARED = ("features", "statistics", "head", "fine_tune")


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of params.yaml with what they share written into each; what is not a map is left to the schema."""

    def shared(name: str, kind: type[Block]) -> dict[str, Any]:
        """The keys of the block `name` that blocks of `kind` have as well."""
        block = values.get(name, {})
        return {key: value for key, value in block.items() if key in kind.model_fields} if _is_map(block) else {}

    result = dict(values)
    for name, kind in (("balance", Balance), ("compare", Compare), ("explain", Explain), ("leakage", Leakage)):
        if _is_map(result.get(name)):
            result[name] = shared("statistics", kind) | result[name]
    if _is_map(result.get("balance")):
        result["balance"] = _changed(result["balance"], "head", shared("head", Head))
    if _is_map(result.get("backbones")):
        result["backbones"] = {
            name: {"architecture": name} | shared("features", Backbone) | block
            if _is_map(block) and "features" not in block
            else block
            for name, block in result["backbones"].items()
        }
    if _is_map(result.get("models")):
        result["models"] = {name: _model(block, shared) for name, block in result["models"].items()}
    return result


def _model(block: Any, shared: Callable[[str, type[Block]], dict[str, Any]]) -> Any:
    """A block of `models` with the shared head, and the shared fine-tuning if it is fine-tuned."""
    if not _is_map(block):
        return block
    block = _changed(block, "head", shared("head", Head))
    return _changed(block, "fine_tune", shared("fine_tune", FineTune)) if block.get("fine_tune") is not None else block


def _changed(block: Mapping[str, Any], key: str, shared: dict[str, Any]) -> dict[str, Any]:
    """`block` with `shared`, changed by what the block says itself, under `key`."""
    own = block.get(key, {})
    return {**block, key: shared | own if _is_map(own) else own}


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def validate(values: Any, source: str = "params.yaml") -> Params:
    """The checked settings.

    Args:
        values: what the YAML file holds, or `Params.model_dump()`.
        source: what to call it in messages.

    Raises:
        UserError: a key is unknown or missing, or a value is not allowed; one line per fault.
    """
    try:
        return Params.model_validate(resolved(values) if _is_map(values) else values)
    except ValidationError as error:
        raise _refusal(error, source) from None


def _refusal(error: ValidationError, source: str, block: str = "") -> UserError:
    """What is wrong, one line per fault; one in a block that others share is named there and not in each of them."""
    faults = [
        ((block,) * bool(block) + fault["loc"], fault["msg"].removeprefix("Value error, ")) for fault in error.errors()
    ]
    in_shared = {(place[-1], text) for place, text in faults if place and place[0] in SHARED}
    lines = []
    for place, text in faults:
        if place and place[0] not in SHARED and (place[-1], text) in in_shared:
            continue
        # pydantic names the alternatives of a key ("literal['all']") after it.
        key = ".".join(str(part) for part in place if "[" not in str(part))
        lines.append(f"  {key or 'whole file'}: {text}")
    count = len(lines)
    return UserError(
        f"{source} has {count} fault{'s' if count > 1 else ''}:\n" + "\n".join(lines) + "\n"
        "Mend these keys; the comments in params.yaml say what each accepts."
    )


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice in a map is an error: PyYAML would take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The map of `node`."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str) else id(key_node))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The value in the YAML file `path`.

    Raises:
        UserError: the file is absent, not a file, not UTF-8 or not YAML, or has a key twice.
    """
    name = paths.relative(path)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise UserError(f"{name} does not exist") from None
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text; save it in that encoding") from None
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not valid YAML: {error}") from None


def load(path: Path | None = None) -> Params:
    """The checked settings in `path`; None: params.yaml.

    Raises:
        UserError: the file cannot be read, or its settings are not valid.
    """
    path = paths.PARAMS if path is None else path
    return validate(read_yaml(path), paths.relative(path))


# --- the settings of one stage ----------------------------------------------------------------------------------


class StageSettings:
    """The blocks of params.yaml that DVC tracks for one stage, typed, as attributes; no other can be read.

    A block that the stage depends on through what it shares with others (`models`, through `head`) must be tracked with
    that: its own keys alone would not be complete.
    """

    def __init__(self, stage: str, tracked: Mapping[str, Any]) -> None:
        """Keep the raw values; a block is checked when it is read.

        Args:
            stage: its name, for messages.
            tracked: as `tracked` returns it.
        """
        self._stage, self._tracked = stage, tracked
        self._resolved = resolved(tracked)

    def __getattr__(self, block: str) -> Any:
        """The typed block `block`.

        Raises:
            UserError: the stage does not track it, or not all that it needs.
        """
        if block.startswith("_"):
            raise AttributeError(block)
        if block not in self._resolved:
            raise UserError(f"stage {self._stage} reads `{block}`, which is not under its `params` in dvc.yaml; add it")
        kind: Any = Params.model_fields[block].annotation
        try:
            return TypeAdapter(kind).validate_python(self._resolved[block])
        except ValidationError as error:
            raise _refusal(error, f"what stage {self._stage} tracks of params.yaml", block) from None

    def names(self, block: str) -> list[str]:
        """The names of the entries of the tracked block `block` (such as `models`), in the order of params.yaml."""
        if block not in self._tracked:
            raise UserError(f"stage {self._stage} reads the names of `{block}`, which it does not track; see dvc.yaml")
        return list(self._tracked[block])

    def _repr_markdown_(self) -> str:
        """The tracked keys as they stand in params.yaml, for the reader of a notebook."""
        text = yaml.safe_dump(dict(self._tracked), sort_keys=False, default_flow_style=None, width=110)
        return f"```yaml\n{text}```"


def tracked(stage: str) -> dict[str, Any]:
    """The keys of params.yaml, with their present values, that DVC tracks for `stage`, such as "train@resnet50".

    What `dvc.api.params_show` gives (a test compares the two), without the seconds that DVC takes.

    Raises:
        UserError: params.yaml is not valid, or dvc.yaml has no such stage.
    """
    load()
    values, stages = read_yaml(paths.PARAMS), read_yaml(paths.PIPELINE)["stages"]
    name, _, key = stage.partition("@")
    entry = stages.get(name, {})
    if name not in stages or ("foreach" in entry) != bool(key):
        raise UserError(f"dvc.yaml has no stage {stage!r}; it has {', '.join(stages)}")
    found: dict[str, Any] = {}
    for dotted in entry.get("do", entry).get("params", []):
        if isinstance(dotted, dict):  # of another file: see `packages`
            continue
        *outer, last = dotted.replace("${key}", key).split(".")
        source, target = values, found
        for part in outer:
            source, target = source.get(part, {}), target.setdefault(part, {})
        if last not in source:
            raise UserError(f"stage {stage}: params.yaml has no {'.'.join([*outer, last])}, which dvc.yaml tracks")
        target[last] = source[last]
    return found


def packages(stage: str) -> set[str]:
    """The packages whose versions DVC tracks for `stage`, such as "train@resnet50" or "train"."""
    entry = read_yaml(paths.PIPELINE)["stages"][stage.partition("@")[0]]
    listed = [item for item in entry.get("do", entry).get("params", []) if isinstance(item, dict)]
    return {name for item in listed for name in item.get(environment.FILE.name, [])}


def all_packages() -> set[str]:
    """The packages whose versions DVC tracks for any stage."""
    return set().union(*(packages(stage) for stage in read_yaml(paths.PIPELINE)["stages"]))


def of_stage(stage: str) -> StageSettings:
    """The settings of `stage`: what DVC tracks for it and nothing else, so that a change of what it reads reruns it.

    Raises:
        UserError: params.yaml is not valid, dvc.yaml has no such stage, or packages that the stage imports have other
            versions than environment.yaml says.
    """
    settings = StageSettings(stage, tracked(stage))
    environment.check(packages(stage))
    return settings
