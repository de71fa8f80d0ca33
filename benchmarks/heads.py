"""Training a head on all folds: the stage `train` against scikit-learn's logistic regression on the same folds."""

import warnings

import keras
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from benchmarks.measurement import IMAGES, index, seconds, verdict
from skinlesions.core import config, paths
from skinlesions.core.classes import class_indices, read_index
from skinlesions.data import balancing, splits
from skinlesions.evaluation import strategies
from skinlesions.training import cross_validation, first_phase

NAMES = ("mobilenet_v2", "resnet50", "efficientnet_b4")
# Features of these three, for when the stage `features` has not run.
WIDTHS = {"mobilenet_v2": 1280, "resnet50": 1024, "efficientnet_b4": 1792}
TARGET = 60


def made_up_features(labels: np.ndarray, width: int) -> np.ndarray:
    """Features with about as much of the class in them as those of a frozen backbone, float32 [N, width]."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(labels.max() + 1, width)).astype("float32")
    return 0.08 * centres[labels] + generator.normal(size=(len(labels), width)).astype("float32")


def logistic_regression(inputs: np.ndarray, labels: np.ndarray, fold: np.ndarray, inverse_strength: float) -> None:
    """The yardstick of notebook 02, trained once per fold on the images that the head is trained on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        strategies.logistic_regression(inputs, labels, fold, inverse_strength, train_on_validation=False)


def measure(quick: bool) -> dict[str, pd.DataFrame]:
    """Seconds for all folds of one model, with the published settings."""
    settings = config.load()
    first_phase.make_deterministic(settings.train.seed, settings.train.deterministic)
    real = not quick and all((paths.FEATURES / f"{name}.npy").exists() for name in NAMES)
    rows_of = read_index() if real else index(600 if quick else IMAGES)
    labels = class_indices(rows_of["dx"]).to_numpy()
    fold = splits.make_folds(rows_of, settings.split.folds, settings.split.seed)["fold"].to_numpy()
    numbers = {
        name: getattr(settings.balance, name)
        for name in ("nv_share_dropped", "effective_number_beta", "focal_gamma", "logit_adjustment_tau")
    }
    # The published plan where there is one; else the strategy with nothing to shorten an epoch.
    plan = (
        balancing.read(paths.BALANCE_PLAN)
        if real and paths.BALANCE_PLAN.exists()
        else balancing.Plan("balanced_weights", **numbers)
    )
    rows = []
    for name in NAMES:
        inputs = (
            first_phase.load_inputs(paths.FEATURES / f"{name}.npy") if real else made_up_features(labels, WIDTHS[name])
        )
        head = settings.models[name].head
        chosen = head.model_copy(update={"epochs": 3 if quick else head.epochs})
        data = cross_validation.Data(inputs, labels, fold)
        results: list[cross_validation.Result] = []

        def train(
            data: cross_validation.Data = data,
            chosen: config.Head = chosen,
            name: str = name,
            results: list[cross_validation.Result] = results,
        ) -> None:
            results.append(
                cross_validation.cross_validate(
                    first_phase.builder(chosen), data, chosen, plan, seed=settings.train.seed, name=name
                )
            )

        ours = seconds(train)
        yardstick = seconds(
            lambda inputs=inputs: logistic_regression(inputs, labels, fold, settings.balance.logistic_regression_c)
        )
        keras.backend.clear_session()
        rows.append(
            (
                name,
                f"{inputs.shape[1]:,}",
                f"{len(results[0].history):,}",
                f"{ours:.1f}",
                verdict(ours, TARGET, at_least=False),
                f"{yardstick:.1f}",
                f"{ours / yardstick:.2f}",
            )
        )
    source = "frozen features of the published run" if real else "made-up features of the real number and width"
    columns = [
        *("model", "features", "epochs, all folds", "`cross_validation.cross_validate`, seconds", "target"),
        *(f"logistic regression (scikit-learn, at most {strategies.ITERATIONS} iterations), seconds", "ratio"),
    ]
    return {f"{len(labels):,} images, {source}, plan `{plan.strategy}`": pd.DataFrame(rows, columns=columns)}
