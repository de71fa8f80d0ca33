"""The schema of params.yaml, and the only code that reads it.

Unknown keys are refused, and every key is required but those that may be null, so that params.yaml says everything
about a run.
`python -m skinlesions.core.config apply PRESET` writes a preset of presets/ into params.yaml.
"""

import argparse
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from skinlesions.core import paths
from skinlesions.core.errors import UserError, run_main

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Augmentation = Literal["none", "dihedral", "standard", "original"]
Strategy = Literal[
    "none",
    "balanced_weights",
    "effective_number_weights",
    "undersample_nv",
    "oversample",
    "logit_adjustment",
    "focal_loss",
]


# The networks of models/backbones.py, and the smallest side in pixels of an image that each takes. Known here as
# well, so that a fault is found before anything is downloaded or computed.
ARCHITECTURES = {
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_b4": 32,
    "efficientnet_v2_b0": 32,
    "inception_resnet_v2": 75,
    "inception_resnet_v2_5_10_5": 75,
    "inception_v3": 75,
    "mobilenet_v2": 32,
    "resnet50": 32,
    "vgg16": 32,
    "xception": 71,
}


class Block(BaseModel):
    """A block of params.yaml: no unknown keys, values of exactly the declared type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class External(Block):
    """The files of an external test set, in the folder of HAM10000, the repository, or anywhere as absolute paths."""

    images: str = Field(min_length=1)
    ground_truth: str = Field(min_length=1)


class Data(Block):
    """Where the images come from."""

    source: Literal["ham10000", "sample"]
    folder: str | None = None
    external: External | None = None
    sample_images: int = Field(ge=100, le=20_000)
    sample_seed: Seed

    @model_validator(mode="after")
    def _no_real_images_for_models_of_the_sample(self) -> "Data":
        if self.source == "sample" and self.external is not None:
            raise ValueError("external: models of the synthetic sample have no external set; set it to null")
        return self


class Prepare(Block):
    """How images become one array."""

    size: int = Field(ge=32, le=1024)
    fit: Literal["crop", "pad", "stretch"]


class Explore(Block):
    """Notebook 01."""

    mosaic_columns: int = Field(ge=1, le=20)
    seed: Seed


class Duplicates(Block):
    """The search for photographs of one lesion under two identifiers."""

    backbone: Name
    neighbours: int = Field(ge=0, le=100)
    min_similarity: float = Field(ge=-1, le=1)
    min_inliers: int = Field(ge=3)
    min_correlation: float = Field(ge=0, le=1)


class Split(Block):
    """The lesion-grouped folds."""

    folds: int = Field(ge=3, le=20)
    seed: Seed
    duplicates: Duplicates


class Backbone(Block):
    """A frozen network, the weights in it, and what it sees of an image."""

    architecture: str
    weights: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    origin: str | None = None
    cut_at: str | None = None
    crop: int = Field(ge=1, le=1024)
    image_size: int = Field(ge=32, le=1024)
    pooling: Literal["average", "flatten"]

    @model_validator(mode="after")
    def _architecture_takes_the_size(self) -> "Backbone":
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {self.architecture!r}; known: {', '.join(ARCHITECTURES)}")
        smallest = ARCHITECTURES[self.architecture]
        if self.image_size < smallest:
            raise ValueError(
                f"image_size: {self.image_size} is less than the {smallest} that {self.architecture} takes"
            )
        return self


class Features(Block):
    """The pass of all images through the frozen backbones."""

    batch_size: int = Field(ge=1)


class Head(Block):
    """What the heads of notebooks 02 and 03 have in common."""

    hidden_units: int = Field(ge=1)
    dropout: Fraction
    l2: float = Field(ge=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)


class Balance(Head):
    """Notebook 02: the balancing strategies and the head that compares them."""

    backbone: Name
    strategy: Strategy | Literal["auto"]
    strategies: list[Strategy] = Field(min_length=1)
    nv_share_dropped: Fraction
    effective_number_beta: Fraction
    focal_gamma: float = Field(ge=0)
    logit_adjustment_tau: float = Field(gt=0)
    patience: int = Field(ge=1)
    reduce_patience: int = Field(ge=1)
    logistic_regression_c: float = Field(gt=0)
    confidence: float = Field(gt=0, lt=1)
    resamples: int = Field(ge=10)
    seed: Seed


class Model(Head):
    """One model of the comparison."""

    inputs: Annotated[str, StringConstraints(pattern=r"^(features/[a-z][a-z0-9_]*\.npy|prepared/images\.npy)$")]
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    augmentation: Augmentation
    fine_tune_from: Annotated[str, StringConstraints(min_length=1)]
    fine_tune_learning_rate: float = Field(gt=0)

    @property
    def backbone(self) -> str | None:
        """The backbone whose features the head reads; None for a network trained from scratch."""
        return Path(self.inputs).stem if self.inputs.startswith("features/") else None


class FineTune(Block):
    """The second phase of the models that have one."""

    epochs: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    warmup_epochs: float = Field(ge=0)
    weight_decay: float = Field(ge=0)
    label_smoothing: Fraction
    batch_norm: Literal["frozen", "trained"]
    augmentation: Augmentation
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"]
    xla: bool | None = None
    device_memory_gigabytes: float = Field(ge=0)

    @model_validator(mode="after")
    def _warmup_ends(self) -> "FineTune":
        if self.warmup_epochs > self.epochs > 0:
            raise ValueError(f"warmup_epochs: {self.warmup_epochs:g} is more than the {self.epochs} epochs")
        return self


class Train(Block):
    """What the training of every model has in common."""

    seed: Seed
    patience: int = Field(ge=1)
    reduce_patience: int = Field(ge=1)
    deterministic: bool
    views: Literal[1, 8]
    max_hours: float = Field(gt=0)
    fine_tune: FineTune


class Compare(Block):
    """Notebook 04."""

    confidence: float = Field(gt=0, lt=1)
    interval_method: Literal["percentile", "bca"]
    resamples: int = Field(ge=10)
    test_resamples: int = Field(ge=10)
    seed: Seed
    calibrated_by: Literal["as_trained", "temperature", "vector", "prior_corrected", "prior_corrected_temperature"]
    ensemble: Literal["all"] | list[Name]


class Explain(Block):
    """Notebook 05."""

    model: Name
    models: list[Name] = Field(min_length=1)
    images: int = Field(ge=3)
    blocks: int = Field(ge=1)
    confidence: float = Field(gt=0, lt=1)
    seed: Seed


class Leakage(Block):
    """Notebook 06."""

    backbone: Name
    logistic_regression_c: float = Field(gt=0)
    repeats: int = Field(ge=1)
    hidden_units: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    confidence: float = Field(gt=0, lt=1)
    resamples: int = Field(ge=10)
    seed: Seed


class Params(Block):
    """All of params.yaml."""

    data: Data
    prepare: Prepare
    explore: Explore
    split: Split
    backbones: dict[Name, Backbone] = Field(min_length=1)
    features: Features
    balance: Balance
    models: dict[Name, Model] = Field(min_length=1)
    train: Train
    compare: Compare
    explain: Explain
    leakage: Leakage

    def backbone(self, name: str) -> Backbone:
        """The settings of the backbone `name`.

        Raises:
            UserError: params.yaml has none of that name.
        """
        if name not in self.backbones:
            raise UserError(f"params.yaml has no backbone {name!r}; it has {', '.join(self.backbones)}")
        return self.backbones[name]

    @model_validator(mode="after")
    def _names_refer_to_each_other(self) -> "Params":
        known = ", ".join(self.backbones)
        if self.balance.backbone not in self.backbones:
            raise ValueError(f"balance.backbone: {self.balance.backbone!r} is not under backbones ({known})")
        if (name := self.split.duplicates.backbone) not in self.backbones:
            raise ValueError(f"split.duplicates.backbone: {name!r} is not under backbones ({known})")
        if self.leakage.backbone not in self.backbones:
            raise ValueError(f"leakage.backbone: {self.leakage.backbone!r} is not under backbones ({known})")
        for name, model in self.models.items():
            if model.backbone is not None and model.backbone not in self.backbones:
                raise ValueError(f"models.{name}.inputs: {model.backbone!r} is not under backbones ({known})")
            if model.backbone is not None and model.augmentation != "none":
                raise ValueError(f"models.{name}.augmentation: frozen features cannot be augmented, set it to none")
            if model.backbone is None and model.fine_tune_from != "none":
                raise ValueError(f"models.{name}.fine_tune_from: the baseline CNN has no backbone, set it to none")
            if model.backbone is None and model.image_size is None:
                raise ValueError(f"models.{name}.image_size: the side in pixels that the baseline CNN reads is missing")
            if model.backbone is None and model.image_size > self.prepare.size:
                raise ValueError(
                    f"models.{name}.image_size: {model.image_size} is more than prepare.size ({self.prepare.size})"
                )
        for name, backbone in self.backbones.items():
            if backbone.crop > self.prepare.size:
                raise ValueError(
                    f"backbones.{name}.crop: {backbone.crop} is more than prepare.size "
                    f"({self.prepare.size}), of which it is the central part"
                )
        for name in self.explain.models:
            if name not in self.models:
                raise ValueError(f"explain.models: {name!r} is not under models ({', '.join(self.models)})")
        if self.explain.model not in self.explain.models:
            raise ValueError(f"explain.model: {self.explain.model!r} is not among explain.models")
        for name in [] if self.compare.ensemble == "all" else self.compare.ensemble:
            if name not in self.models:
                raise ValueError(f"compare.ensemble: {name!r} is not under models ({', '.join(self.models)})")
        if self.balance.strategy != "auto" and self.balance.strategy not in self.balance.strategies:
            raise ValueError(f"balance.strategy: {self.balance.strategy!r} is not among balance.strategies")
        return self


def validate(values: Any, source: str = "params.yaml") -> Params:
    """The checked parameters.

    Raises:
        UserError: a key is unknown or missing, or a value is not allowed; one line per fault.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        faults = [
            f"  {'.'.join(str(part) for part in fault['loc']) or 'whole file'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise UserError(
            f"{source} has {len(faults)} fault(s):\n" + "\n".join(faults) + "\n"
            "Mend these keys; the comments in params.yaml say what each accepts."
        ) from None


def read_yaml(path: Path) -> Any:
    """The value in the YAML file `path`.

    Raises:
        UserError: the file is absent or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{paths.relative(path)} does not exist") from None
    except yaml.YAMLError as error:
        raise UserError(f"{paths.relative(path)} is not valid YAML: {error}") from None


def load(path: Path = paths.PARAMS) -> Params:
    """The checked parameters in `path`."""
    return validate(read_yaml(path), paths.relative(path))


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


def apply_preset(preset: Path, target: Path = paths.PARAMS) -> None:
    """Write `preset` into `target`, keeping its comments, after checking the result.

    Raises:
        UserError: the preset cannot be read, or the merged parameters are not valid.
    """
    from ruamel.yaml import YAML  # only here: it keeps comments, and is slower to import

    from skinlesions.core.files import replacing

    changes = read_yaml(preset)
    if not isinstance(changes, dict):
        raise UserError(f"{paths.relative(preset)} is not a map of parameters; see presets/sample.yaml")
    yaml_document = YAML()
    yaml_document.width = 120
    # As params.yaml is written, so that lines that the preset does not touch stay as they are.
    yaml_document.indent(mapping=2, sequence=4, offset=2)
    yaml_document.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml_document.load(target.read_text(encoding="utf-8"))
    merged(document, changes)
    validate(_plain(document), f"params.yaml with {paths.relative(preset)}")
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


def main() -> None:
    """Command line: check params.yaml, or write a preset into it."""
    parser = argparse.ArgumentParser(description="Check params.yaml, or write a preset into it.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="check params.yaml and say what is wrong with it")
    apply = commands.add_parser("apply", help="write a preset into params.yaml")
    apply.add_argument("preset", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "apply":
        apply_preset(arguments.preset)
    load()


if __name__ == "__main__":
    run_main(main)
