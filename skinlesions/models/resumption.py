"""The key of unfinished work: all that its result depends on. Under another key nothing of it is used again."""

import sys
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from skinlesions.core import files, imports


def key(module: str, inputs: Iterable[Path], **settings: object) -> dict[str, object]:
    """What the result of `module` depends on, as JSON can hold it.

    Args:
        module: the name of the module that computes it; every file that it imports, directly or not, counts.
        inputs: the files that it reads.
        settings: what else decides: anything that JSON can hold.
    """
    file = imports.module_file(module)
    if file is None:
        raise ValueError(f"{module} is no module of this project")
    backend = keras.backend.backend()
    return {
        "code": files.fingerprint(*imports.closure([file])),
        "inputs": files.fingerprint(*inputs),
        "versions": {
            "keras": keras.__version__,
            "numpy": np.__version__,
            backend: sys.modules[backend].__version__,
        },
        "settings": settings,
    }
