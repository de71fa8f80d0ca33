"""The second phase of training: the whole network, from the trunk's ImageNet weights and the head of the first phase.

Training the head alone first and everything afterwards keeps what the trunk knows (Kumar et al., "Fine-tuning can
distort pretrained features and underperform out-of-distribution", ICLR 2022). The network is built and compiled
once and reset between folds. After every epoch all of its state is on disk, and what is random follows from the seed,
the fold and the epoch: an interrupted run goes on from the last epoch and ends as if nothing had happened.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from skinlesions.core import paths
from skinlesions.core.classes import CLASSES
from skinlesions.core.config import FineTune
from skinlesions.core.errors import UserError
from skinlesions.data import balancing, splits
from skinlesions.models import augmentation, networks
from skinlesions.training.batches import Batches, ImageStore, MixUp
from skinlesions.training.checkpoint import State, assign, values_of
from skinlesions.training.cross_validation import Data, Fold
from skinlesions.training.first_phase import BalancedCrossEntropy, epoch_row, loss_limit, predict

# The norm to which the gradient of a step is clipped: the rare classes weigh up to twelve times the mean.
GRADIENT_NORM = 1.0

# Of the running statistics of batch normalisations that are trained. Keras' 0.99 and more is for far longer trainings:
# here they would still be half ImageNet's at the end.
MOMENTUM = 0.9

# What a trunk's layer is called from which training begins, if it is all of it.
ALL = "all"

# Units of work that are timed for the estimate of the time, after one that compiles; images of one when predicting.
TIMED = 3
PREDICTED_AT_ONCE = 64


@keras.saving.register_keras_serializable("skinlesions")
class Optimizer(keras.optimizers.AdamW):
    """AdamW, by which training goes on from its own weights if it averages them: the averages are for scoring only."""

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        """Leave the weights alone, which Keras replaces by their averages at the end of every `fit`."""


class FineTuner:
    """Fine-tunes one model, fold after fold, in one network that is built and compiled once."""

    def __init__(
        self,
        description: networks.Description,
        settings: FineTune,
        images: np.ndarray,
        data: Data,
        plan: balancing.Plan,
        *,
        seed: int,
    ) -> None:
        """Build and compile the network.

        Args:
            images: uint8 [N, S, S, 3], what the network reads.
            data: labels and folds of the same images.
            plan: what is done against class imbalance.

        Raises:
            UserError: the trunk has no layer `from_layer`, or its weights are absent or do not fit.
        """
        self.description, self.settings, self.images, self.data = description, settings, images, data
        self.plan, self.seed = plan, seed
        self.folds = int(data.fold.max()) + 1
        seen = [len(self._seen(fold)) for fold in range(self.folds)]
        self.batch_size = min(settings.batch_size, *seen)
        self.steps = min(seen) // self.batch_size  # the same in every fold, and so the plan of the learning rate
        self._build()
        self._compile(self._offset(0))

    # --- the network ---

    def _build(self) -> None:
        """The network; in front of it, for training only, augmentation and the source of the images."""
        keras.utils.set_random_seed(self.seed)
        with _policy(self.settings.precision):
            trunk = networks.trunk(self.description)
            networks.load_weights(trunk, paths.backbone_weights(self.description.backbone))
            choose_trained(trunk, self.settings.from_layer, self.settings.batch_norm)
            self.network = networks.classifier(self.description, trunk)
            augment = augmentation.layers(self.settings.augmentation)
            if self._images_stay_on_the_device():
                self.inputs = np.arange(len(self.images), dtype="int32")
                source = keras.Input((), dtype="int32", name="rows")
                pixels = ImageStore(self.images)(source)
            else:
                self.inputs = self.images
                source = pixels = keras.Input(self.images.shape[1:], dtype="uint8", name="pixels")
            shown = augment(pixels)
            if self.settings.mixup:
                shares = keras.Input((), dtype="float32", name="shares")
                source, shown = (source, shares), MixUp()(shown, shares)
            self.trained = keras.Model(source, self.network(shown))
        self.fresh = values_of(self.network.variables)
        self.limit = loss_limit(self.trained)

    def _images_stay_on_the_device(self) -> bool:
        """Whether there is an accelerator, with room for all images."""
        return device() != "cpu" and self.images.nbytes <= self.settings.device_memory_gigabytes * 1e9

    def _compile(self, offset: np.ndarray) -> None:
        """Give the network in training its optimizer and its loss, with the log priors `offset` [7]."""
        settings = self.settings
        warmup = round(settings.warmup_epochs * self.steps)
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else settings.learning_rate,
            decay_steps=max(1, settings.epochs * self.steps - warmup),
            warmup_target=settings.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
        optimizer = Optimizer(
            schedule,
            weight_decay=settings.weight_decay,
            global_clipnorm=GRADIENT_NORM,
            use_ema=settings.weight_average > 0,
            ema_momentum=settings.weight_average,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.offset = offset
        self.trained.compile(
            optimizer=optimizer,
            loss=BalancedCrossEntropy(offset, self.plan.gamma),
            jit_compile="auto" if settings.xla is None else settings.xla,
        )
        self.trained.optimizer.build(self.trained.trainable_variables)
        self.fresh_optimizer = values_of(self.trained.optimizer.variables)

    def _reset(self, fold: int) -> None:
        """The network as it was built, ready for `fold`."""
        if not np.array_equal(self.offset, self._offset(fold)):
            self._compile(self._offset(fold))
        assign(self.network.variables, self.fresh)
        assign(self.trained.optimizer.variables, self.fresh_optimizer)

    # --- the data of a fold ---

    def _roles(self, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows for training, validation and test."""
        return splits.roles(self.data.fold, fold, self.folds)

    def _seen(self, fold: int) -> np.ndarray:
        """The rows that an epoch shows, some perhaps several times."""
        training = self._roles(fold)[0]
        return training[balancing.sample(self.plan, self.data.labels[training], self.seed + fold)]

    def _counts(self, fold: int) -> np.ndarray:
        """How many training images are of each class."""
        return balancing.counts(self.data.labels[self._roles(fold)[0]])

    def _offset(self, fold: int) -> np.ndarray:
        """The log priors that the loss adds."""
        return balancing.logit_offset(self.plan, self._counts(fold))

    def _batches(self, fold: int, rows: np.ndarray, draws: np.random.Generator) -> Batches:
        """The images `rows` in this order, as the training of `fold` sees them."""
        labels = self.data.labels[rows]
        smoothing = self.settings.label_smoothing
        targets = (1 - smoothing) * np.eye(len(CLASSES), dtype="float32")[labels] + smoothing / len(CLASSES)
        sample_weights = balancing.class_weights(self.plan, self._counts(fold))[labels].astype("float32")
        shares = draws.beta(self.settings.mixup, self.settings.mixup, len(rows)) if self.settings.mixup else None
        shares = None if shares is None else shares.astype("float32")
        return Batches(self.inputs, rows, targets.astype("float32"), sample_weights, self.batch_size, shares)

    # --- the time it takes ---

    def check_time(self, folds: int) -> None:
        """Say how long `folds` folds take on this device, going by a few steps.

        Raises:
            UserError: longer than `max_hours`.
        """
        settings, (training, validation, _) = self.settings, self._roles(0)
        draws = np.random.default_rng(self.seed)
        step = _seconds(lambda count: self._fit(self._batches(0, np.resize(training, count * self.batch_size), draws)))
        shown = np.resize(validation, PREDICTED_AT_ONCE)
        image = _seconds(lambda count: predict(self.network, self.images[np.tile(shown, count)])) / len(shown)
        scored = len(validation) * (settings.epochs + 1 + 2 * settings.views)
        hours = folds * (settings.epochs * self.steps * step + scored * image) / 3600
        what = f"fine-tuning {self.description.name} on {folds} folds for up to {settings.epochs} epochs"
        speed = f"about {_duration(hours)} on this {device()}, {self.batch_size / step:,.0f} images/s"
        print(f"{what} takes {speed}", file=sys.stderr, flush=True)
        if hours > settings.max_hours:
            raise UserError(
                f"{what} would take {speed}, more than fine_tune.max_hours ({settings.max_hours:g}) allows. Keep the "
                "frozen features (`skinlesions params cpu`), use a GPU, lower "
                "fine_tune.epochs, or raise fine_tune.max_hours"
            )

    # --- a fold ---

    def fold(self, number: int, train_first: Callable[[], Fold], partial: Path | None, name: str) -> Fold:
        """Fine-tune the network of fold `number`, and leave in it the weights of its best epoch.

        Args:
            train_first: trains the head; not called if an earlier run got further.
            partial: a folder for the state after every epoch; None: an interruption loses the fold.
            name: what the progress lines call it.

        Returns:
            In the history the rows of the first phase and, with phase 2, those of the second; its epoch 0 is the
            network before any step of it.
        """
        self._reset(number)
        state = None if partial is None else State.read(partial)
        if state is None:
            first = train_first()
            networks.copy_head(first.network, self.network)
            state = State(rows=first.history.to_dict("records"))
            self._score(number, state, None, name)
        else:
            assign(self.network.variables, state.network)
            assign(self.trained.optimizer.variables, state.optimizer)
            print(
                f"{name}: goes on after epoch {state.epoch}, which an earlier run finished", file=sys.stderr, flush=True
            )
        while not self._is_over(state):
            loss = self._train_epoch(number, state.epoch + 1)
            state.epoch += 1
            self._score(number, state, loss, name)
            if partial is not None:
                state.network = values_of(self.network.variables)
                state.optimizer = values_of(self.trained.optimizer.variables)
                state.write(partial)
        assign(self.network.variables, state.best)
        _, validation, test = self._roles(number)
        logits = [predict(self.network, self.images[part], self.settings.views) for part in (validation, test)]
        return Fold(self.network, state.history(), *logits)

    def _train_epoch(self, fold: int, epoch: int) -> float:
        """One pass over the training images, in an order of its own; the mean loss."""
        random = np.random.SeedSequence([self.seed, fold, epoch])
        draws = np.random.default_rng(random)
        order = draws.permutation(self._seen(fold))[: self.steps * self.batch_size]
        # What augmentation and dropout draw follows from the epoch too, not from what was drawn before.
        seeds = [variable for variable in self.trained.variables if "seed_generator" in variable.path]
        for variable, seed in zip(seeds, random.generate_state(len(seeds)), strict=True):
            variable.assign(np.array([seed, 0]).astype(variable.dtype))
        return self._fit(self._batches(fold, order, draws))

    def _fit(self, batches: Batches) -> float:
        """One pass over `batches`; the mean loss."""
        return float(self.trained.fit(batches, epochs=1, shuffle=False, verbose=0).history["loss"][0])

    def _is_over(self, state: State) -> bool:
        """Whether `state` is of the last epoch: all are done, none got better for long, or there is no way back."""
        waited = state.epoch - state.best_epoch
        last = state.rows[-1]["val_balanced_accuracy"]
        return state.epoch >= self.settings.epochs or waited >= self.settings.patience or np.isnan(last)

    def _score(self, fold: int, state: State, loss: float | None, name: str) -> None:
        """Score the validation images; note it, print it, and keep the weights if they are the best so far."""
        validation = self._roles(fold)[1]
        if averaged := self.settings.weight_average > 0 and state.epoch > 0:
            weights, optimizer = self.trained.trainable_variables, self.trained.optimizer
            own = values_of(weights)
            assign(weights, values_of(optimizer._model_variables_moving_average))
        logits, labels = predict(self.network, self.images[validation]), self.data.labels[validation]
        label = f"{name}, fine-tuning epoch {state.epoch}"
        row = epoch_row(label, self.trained, labels, logits, loss, self.limit)
        state.rows.append({"phase": 2, "epoch": state.epoch, **row})
        if state.epoch == 0 and row["diverged"]:
            raise UserError(
                f"{name}: the network gives numbers that are not finite before any fine-tuning; set "
                "fine_tune.precision to float32, or check the weights of the backbone"
            )
        if state.best_epoch == state.epoch:
            state.best = values_of(self.network.variables)
        if averaged:
            assign(weights, own)


def device() -> str:
    """What Keras computes on: cpu, gpu or tpu."""
    return keras.distribution.list_devices()[0].partition(":")[0].lower()


def choose_trained(trunk: keras.Model, from_layer: str, batch_norm: str) -> None:
    """Freeze the layers of `trunk` before `from_layer` and, if `batch_norm` is `frozen`, all batch normalisations.

    A batch normalisation that is not trainable keeps its statistics as well. (Calling the trunk with training=False
    does not: a network around it that is fitted passes training=True on.)

    Raises:
        UserError: there is no such layer.
    """
    names = [layer.name for layer in trunk.layers]
    if from_layer not in (ALL, *names):
        raise UserError(
            f"fine_tune.from_layer: the trunk has no layer {from_layer!r}; set it to {ALL} or one of {', '.join(names)}"
        )
    first = 0 if from_layer == ALL else names.index(from_layer)
    for position, layer in enumerate(trunk.layers):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and not (normalises and batch_norm == "frozen")
        if normalises:
            layer.momentum = MOMENTUM


@contextmanager
def _policy(precision: str) -> Iterator[None]:
    """Layers made in this block compute in Keras' dtype policy `precision`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _seconds(work: Callable[[int], object]) -> float:
    """How long one unit of `work` takes, once it is warm."""
    work(1)
    begun = time.monotonic()
    work(TIMED)
    return (time.monotonic() - begun) / TIMED


def _duration(hours: float) -> str:
    """`hours` for a reader: minutes, hours or days."""
    if hours < 1.5:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
