"""The blocks of params.yaml, typed and complete; skinlesions.core.schema puts them together."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Confidence = Annotated[float, Field(gt=0, lt=1)]
Resamples = Annotated[int, Field(ge=10, le=1_000_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
FileName = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^/\\]+$")]

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
Calibration = Literal["as_trained", "temperature", "vector", "prior_corrected", "prior_corrected_temperature"]
IntervalMethod = Literal["percentile", "bca"]

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
    """A block of params.yaml: no unknown keys, values of exactly the declared type, all numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# --- data -------------------------------------------------------------------------------------------------------


class External(Block):
    """An external test set.

    Attributes:
        images: a zip file or folder, in the folder of HAM10000, the repository, or anywhere as an absolute path.
        ground_truth: the table of its diagnoses, likewise.
        mapping: what diagnoses that are none of the seven by name are: one of the seven, or None: out of scope.
        part: which images of the ISIC 2018 challenge, Task 3, are meant where a folder of the ISIC Archive has more.
    """

    images: str = Field(min_length=1)
    ground_truth: str = Field(min_length=1)
    mapping: dict[str, Literal["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"] | None] = Field(default_factory=dict)
    part: Literal["isic2018_validation", "isic2018_test"] | None = None

    @model_validator(mode="after")
    def _no_diagnosis_twice(self) -> Self:
        keys = [key.lower() for key in self.mapping]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"mapping: {twice[0]!r} stands there twice, in other capitals")
        return self


class Data(Block):
    """Where the images come from."""

    source: Literal["ham10000", "sample"]
    folder: str | None = None
    external: External | None = None
    sample_images: int = Field(default=350, ge=100, le=20_000)
    sample_seed: Seed = 2018

    @model_validator(mode="after")
    def _no_real_images_for_models_of_the_sample(self) -> Self:
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


# --- backbones --------------------------------------------------------------------------------------------------


class Features(Block):
    """The pass of all images through the frozen backbones, and what these share unless they say otherwise."""

    batch_size: int = Field(ge=1, le=4096)
    crop: int | None = None
    image_size: int | None = None
    pooling: str | None = None
    origin: str | None = None


class Backbone(Block):
    """A frozen network, the weights in it, and what it sees of an image."""

    architecture: str
    weights: FileName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    origin: str | None = None
    cut_at: str | None = None
    crop: int = Field(ge=1, le=1024)
    image_size: int = Field(ge=32, le=1024)
    pooling: Literal["average", "flatten"]

    @model_validator(mode="after")
    def _architecture_takes_the_size(self) -> Self:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {self.architecture!r}; known: {', '.join(ARCHITECTURES)}")
        smallest = ARCHITECTURES[self.architecture]
        if self.image_size < smallest:
            raise ValueError(
                f"image_size: {self.image_size} is less than the {smallest} that {self.architecture} takes"
            )
        return self


# --- models -----------------------------------------------------------------------------------------------------


class Head(Block):
    """A head, or the baseline CNN, and how it is trained.

    Attributes:
        l2: weight decay on the dense layer before the logits.
        patience: epochs without a better validation balanced accuracy before a fold stops.
        reduce_patience: epochs without one before the learning rate is halved.
    """

    hidden_units: int = Field(ge=1, le=65_536)
    dropout: Fraction
    l2: float = Field(ge=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    reduce_patience: int = Field(ge=1)


class FineTuning(Block):
    """What the fine-tuning of every model shares unless the model says otherwise.

    Attributes:
        epochs: at most; the learning rate is planned for all of them. 0: the trunk stays frozen.
        patience: epochs without a better validation balanced accuracy before a fold stops.
        batch_size: images per step.
        learning_rate: at its highest; it rises linearly for `warmup_epochs` and falls to zero as a cosine.
        weight_decay: of AdamW, on kernels only.
        label_smoothing: the share of the label that is spread over all classes.
        mixup: alpha of Zhang et al. 2018: images are mixed in pairs, by shares of Beta(alpha, alpha); 0: they are not.
        weight_average: the share that an exponential moving average of the weights keeps at every step; those averages
            are scored and kept. 0: the weights themselves.
        batch_norm: `frozen` keeps the statistics and scales of the batch normalisations, `trained` does not.
        precision: Keras' name of a policy.
        xla: whether steps are compiled by XLA; None leaves it to Keras.
        device_memory_gigabytes: images that take no more than this stay in the memory of an accelerator.
        max_hours: a run that would take longer is refused.
        views: over how many symmetries of the square the final logits are averaged.
    """

    epochs: int = Field(ge=0)
    patience: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    warmup_epochs: float = Field(ge=0)
    weight_decay: float = Field(ge=0)
    label_smoothing: Fraction
    mixup: float = Field(ge=0, default=0.0)
    weight_average: float = Field(ge=0, lt=1, default=0.0)
    batch_norm: Literal["frozen", "trained"]
    augmentation: Augmentation
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"]
    xla: bool | None = None
    device_memory_gigabytes: float = Field(ge=0)
    max_hours: float = Field(gt=0)
    views: Literal[1, 8]

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_epochs > self.epochs > 0:
            raise ValueError(f"warmup_epochs: {self.warmup_epochs:g} is more than the {self.epochs} epochs")
        return self


class FineTune(FineTuning):
    """How the trunk of one model is trained on, from the head just fitted.

    Attributes:
        from_layer: the first layer of the trunk that is trained; `all`: every layer.
    """

    from_layer: str = Field(min_length=1)


class Model(Block):
    """One model of the comparison.

    Attributes:
        inputs: features/BACKBONE.npy: a head on the features of that backbone | prepared/images.npy: the baseline CNN.
        image_size: the side in pixels that the baseline CNN reads.
        augmentation: of the baseline CNN's training images.
        views: over how many symmetries of the square the baseline CNN's logits are averaged.
        head: `head` of params.yaml, changed by what the model says.
        fine_tune: `fine_tune` of params.yaml, changed by what the model says; None: the backbone stays frozen.
    """

    inputs: Annotated[str, StringConstraints(pattern=r"^(features/[a-z][a-z0-9_]*\.npy|prepared/images\.npy)$")]
    image_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    augmentation: Augmentation = "none"
    views: Literal[1, 8] = 8
    head: Head
    fine_tune: FineTune | None = None

    @property
    def backbone(self) -> str | None:
        """The backbone whose features the head reads; None for a network trained from scratch."""
        return Path(self.inputs).stem if self.inputs.startswith("features/") else None

    @property
    def fine_tuned(self) -> bool:
        """Whether the backbone is trained on."""
        return self.fine_tune is not None and self.fine_tune.epochs > 0


class Train(Block):
    """What the training of every model has in common.

    Attributes:
        device: `gpu`: a run without one is refused at its start; `any`: what there is.
    """

    seed: Seed
    deterministic: bool
    device: Literal["any", "gpu"] = "any"


# --- what is computed from them ---------------------------------------------------------------------------------


class Statistics(Block):
    """What every block with intervals shares unless it says otherwise."""

    confidence: Confidence
    resamples: Resamples


class Balance(Block):
    """Notebook 02: the balancing strategies and the head that compares them."""

    backbone: Name
    strategy: Strategy | Literal["auto"]
    strategies: list[Strategy] = Field(min_length=1)
    nv_share_dropped: Fraction
    effective_number_beta: Fraction
    focal_gamma: float = Field(ge=0)
    logit_adjustment_tau: float = Field(gt=0)
    logistic_regression_c: float = Field(gt=0)
    head: Head
    confidence: Confidence
    resamples: Resamples
    seed: Seed


def _each_once(names: list[str]) -> list[str]:
    """`names`, refused if one stands there twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]!r} stands there twice")
    return names


class Compare(Block):
    """Notebook 04."""

    confidence: Confidence
    interval_method: IntervalMethod
    resamples: Resamples
    test_resamples: Resamples
    seed: Seed
    calibrated_by: Calibration
    ensemble: Annotated[
        Annotated[Literal["all"], Tag("all")] | Annotated[list[Name], AfterValidator(_each_once), Tag("names")],
        Discriminator(lambda value: "all" if isinstance(value, str) else "names"),
    ]


class Explain(Block):
    """Notebook 05."""

    model: Name
    models: Annotated[list[Name], AfterValidator(_each_once)] = Field(min_length=1)
    images: int = Field(ge=3)
    blocks: int = Field(ge=1)
    confidence: Confidence
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
    confidence: Confidence
    resamples: Resamples
    seed: Seed


class Publish(Block):
    """What Git gets of the trained models.

    Attributes:
        model: the one whose weights are published in models/published; None: none.
    """

    model: Name | None = None
