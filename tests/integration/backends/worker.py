"""What the tests of this folder do with Keras: `worker.py TASK ...`, in the folder of a project, on one backend."""

import importlib
import os
import pkgutil
import signal
import sys
from pathlib import Path

import keras
import numpy as np

import skinlesions
from skinlesions.core import config, environment, files, notebooks, paths
from skinlesions.models import networks, pretrained
from skinlesions.stages import notebook as runner
from skinlesions.training import first_phase

BACKEND = keras.backend.backend()


def make_weights() -> None:
    """Write tiny.weights.h5: random weights, with statistics of their own in every batch normalisation.

    Those as after initialisation, mean 0 and variance 1, would hide a backend that ignored them.
    """
    settings = config.load().backbones["tiny"]
    keras.utils.set_random_seed(0)
    trunk = pretrained.plain(settings)
    images = np.random.default_rng(0).uniform(-1, 1, (64, *trunk.input_shape[1:])).astype("float32")
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    trunk([images], training=True)
    trunk.save_weights(settings.weights)


class DieAfter:
    """Stands for stderr, and kills this process, by SIGKILL, at a moment after a line of the log."""

    def __init__(self, line: str, moment: str) -> None:
        """Watch for `line`.

        Args:
            moment: `batch`, the end of the next step of training; or `write`, the middle of writing the next file
                of data/partial, of which half is left.
        """
        self.line, self.armed, self.stream = line, False, sys.stderr
        sys.stderr = self
        if moment == "batch":
            ended = keras.callbacks.CallbackList.on_train_batch_end

            def on_train_batch_end(*arguments: object, **named: object) -> None:
                ended(*arguments, **named)
                if self.armed:
                    self.die()

            keras.callbacks.CallbackList.on_train_batch_end = on_train_batch_end
        else:
            sys.addaudithook(self.watch_renames)

    def write(self, text: str) -> None:
        """Write `text`, and look for the line in it."""
        self.stream.write(text)
        self.armed = self.armed or self.line in text

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def watch_renames(self, event: str, arguments: tuple[object, ...]) -> None:
        """Die where a temporary file is complete and about to take its place, and leave half of it."""
        if self.armed and event == "os.rename" and "partial" in Path(arguments[1]).parts:
            os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
            self.die()

    def die(self) -> None:
        """As by kill -9."""
        self.stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def train(model: str, *death: str) -> None:
    """Run notebook 03 for `model`, in this process, as far as the predictions; or to a `death`, see DieAfter."""
    if death:
        DieAfter(*death)
    variables = {"model": model}
    source = notebooks.read(paths.NOTEBOOKS / "03_train.ipynb")
    runner.check_parameters(variables, runner.declared(source), "notebook 03")
    for cell in source.cells:
        if cell.cell_type != "code" or runner.PARAMETERS_TAG in cell.metadata.get("tags", []):
            continue
        exec(cell.source, variables)
        if "predictions.write(" in cell.source:
            break


def score(*models: str) -> None:
    """Write logits_BACKEND/MODEL.npy, float32 [N, 7]: all images through the first fold's network of each model."""
    pixels = files.read_array(paths.PREPARED_IMAGES)
    for name in models:
        description = networks.read(name)
        inputs = networks.network_inputs(description, pixels)
        logits = first_phase.predict(networks.load(description, fold=0), inputs, description.views)
        files.write_array(paths.ROOT / f"logits_{BACKEND}" / f"{name}.npy", logits)


def import_everything() -> None:
    """Import all modules of the project, and write down which backends of Keras that brought in."""
    for module in pkgutil.walk_packages(skinlesions.__path__, "skinlesions."):
        importlib.import_module(module.name)
    loaded = [name for name in ("tensorflow", "jax", "torch") if name in sys.modules]
    files.write_json(paths.ROOT / f"imported_{BACKEND}.json", {"keras": BACKEND, "loaded": loaded})


def everything(*models: str) -> None:
    """From the weights file to trained models and their logits."""
    import_everything()
    for stage in ("weights", "features"):
        sys.argv = [stage, "tiny"]
        importlib.import_module(f"skinlesions.stages.{stage}").main()
    for name in models:
        train(name)
    score(*models)


TASKS = {"make-weights": make_weights, "everything": everything, "score": score, "train": train}
os.environ["MPLBACKEND"] = "agg"
environment.renew(config.all_packages())  # of this backend
TASKS[sys.argv[1]](*sys.argv[2:])
