"""The one schema of params.yaml, read by skinlesions.core.config: its blocks, and what they ask of each other."""

from typing import Self

from pydantic import Field, model_validator

from skinlesions.core.backbones import AnyBackbone, Embedding
from skinlesions.core.blocks import (
    Balance,
    Block,
    Compare,
    Data,
    Explain,
    Explore,
    Features,
    FineTuning,
    Head,
    Leakage,
    Model,
    Name,
    Prepare,
    Publish,
    Split,
    Statistics,
    Train,
)

# Rows that the comparison adds to the models.
RESERVED_NAMES = ("ensemble", "stacked", "always_nv")


class Params(Block):
    """All of params.yaml, every block complete."""

    data: Data
    prepare: Prepare
    explore: Explore
    split: Split
    features: Features
    backbones: dict[Name, AnyBackbone] = Field(min_length=1)
    statistics: Statistics
    balance: Balance
    head: Head
    fine_tune: FineTuning
    train: Train
    models: dict[Name, Model] = Field(min_length=1)
    compare: Compare
    explain: Explain
    leakage: Leakage
    publish: Publish

    @model_validator(mode="after")
    def _names_refer_to_each_other(self) -> Self:
        references = {
            "balance.backbone": self.balance.backbone,
            "split.duplicates.backbone": self.split.duplicates.backbone,
            "leakage.backbone": self.leakage.backbone,
        }
        references |= {f"models.{name}.inputs": model.backbone for name, model in self.models.items() if model.backbone}
        for key, name in references.items():
            if name not in self.backbones:
                raise ValueError(f"{key}: {name!r} is not under backbones ({', '.join(self.backbones)})")
        members = [] if self.compare.ensemble == "all" else self.compare.ensemble
        for key, names in (("explain.models", self.explain.models), ("compare.ensemble", members)):
            for name in names:
                if name not in self.models:
                    raise ValueError(f"{key}: {name!r} is not under models ({', '.join(self.models)})")
        if self.publish.model is not None and self.publish.model not in self.models:
            raise ValueError(f"publish.model: {self.publish.model!r} is not under models ({', '.join(self.models)})")
        published = [] if self.publish.model is None else [self.publish.model]
        for key, names in (("explain.models", self.explain.models), ("publish.model", published)):
            for name in names:
                if isinstance(self.backbones.get(self.models[name].backbone or ""), Embedding):
                    raise ValueError(f"{key}: {name!r} reads an embedding, without a network for images")
        if self.explain.model not in self.explain.models:
            raise ValueError(f"explain.model: {self.explain.model!r} is not among explain.models")
        if self.balance.strategy != "auto" and self.balance.strategy not in self.balance.strategies:
            raise ValueError(f"balance.strategy: {self.balance.strategy!r} is not among balance.strategies")
        return self

    @model_validator(mode="after")
    def _models_can_be_built(self) -> Self:
        for name, model in self.models.items():
            key = f"models.{name}"
            if name in RESERVED_NAMES:
                raise ValueError(f"{key}: the comparison adds a row of that name; call the model something else")
            if model.backbone is not None and model.augmentation != "none":
                raise ValueError(f"{key}.augmentation: frozen features cannot be augmented, set it to none")
            if model.backbone is not None:
                if model.fine_tune is not None and isinstance(self.backbones[model.backbone], Embedding):
                    raise ValueError(f"{key}.fine_tune: {model.backbone} is an embedding; take it out")
                continue
            if model.fine_tune is not None:
                raise ValueError(f"{key}.fine_tune: the baseline CNN has no backbone, take it out")
            if model.image_size is None:
                raise ValueError(f"{key}.image_size: the side in pixels that the baseline CNN reads is missing")
            if model.image_size > self.prepare.size:
                raise ValueError(
                    f"{key}.image_size: {model.image_size} is more than prepare.size ({self.prepare.size})"
                )
        for name, backbone in self.backbones.items():
            if not isinstance(backbone, Embedding) and backbone.crop > self.prepare.size:
                raise ValueError(
                    f"backbones.{name}.crop: {backbone.crop} is more than prepare.size "
                    f"({self.prepare.size}), of which it is the central part"
                )
        return self
