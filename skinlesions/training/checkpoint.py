"""The state of an unfinished fold of fine-tuning on disk: written after every epoch, whole or not at all."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from skinlesions.core import files


@dataclass
class State:
    """All that an unfinished fold needs to go on.

    Attributes:
        rows: of the history so far, both phases.
        epoch: how many epochs of the second phase are finished.
        network, optimizer: the values of their variables after that epoch.
        best: the values of the network's variables after the best epoch.
    """

    rows: list[dict[str, Any]]
    epoch: int = 0
    network: list[np.ndarray] = field(default_factory=list)
    optimizer: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the best validation balanced accuracy."""
        second = [row for row in self.rows if row["phase"] == 2 and not math.isnan(row["val_balanced_accuracy"])]
        return max(second, key=lambda row: (row["val_balanced_accuracy"], -row["epoch"]))["epoch"]

    def history(self) -> pd.DataFrame:
        """The rows as a table; in the second phase the best epoch is the chosen one."""
        best = self.best_epoch
        rows = [row if row["phase"] == 1 else {**row, "chosen": row["epoch"] == best} for row in self.rows]
        return pd.DataFrame(rows)

    def write(self, folder: Path) -> None:
        """Write the state into `folder`, whole or not at all.

        The best weights have a file of their own, named by their epoch, that is written when there are better ones;
        the file of the state, replaced in one step, says which it goes with.
        """
        best = folder / f"best_{self.best_epoch}.npz"
        if self.best_epoch == self.epoch or not best.exists():
            _write_arrays(best, {"best": self.best})
        known = {"rows": self.rows, "epoch": self.epoch}
        _write_arrays(folder / "state.npz", {"network": self.network, "optimizer": self.optimizer}, known)
        for other in folder.glob("best_*.npz"):
            if other != best:
                other.unlink()

    @classmethod
    def read(cls, folder: Path) -> "State | None":
        """The state in `folder`; None if there is none."""
        if not (folder / "state.npz").exists():
            return None
        arrays, known = _read_arrays(folder / "state.npz")
        state = cls(**known, **arrays)
        state.best = _read_arrays(folder / f"best_{state.best_epoch}.npz")[0]["best"]
        return state


def values_of(variables: list[keras.Variable]) -> list[np.ndarray]:
    """Copies of the values of `variables`."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    """Give `variables` these values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _write_arrays(path: Path, lists: dict[str, list[np.ndarray]], known: dict[str, object] | None = None) -> None:
    """Write lists of arrays, and what JSON can hold, to one .npz file."""
    arrays = {f"{name}.{position}": array for name, values in lists.items() for position, array in enumerate(values)}
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, known=json.dumps(known or {}), **arrays)


def _read_arrays(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, object]]:
    """What _write_arrays wrote."""
    lists: dict[str, list[np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:  # in the order in which they were written
            if key != "known":
                lists.setdefault(key.rpartition(".")[0], []).append(stored[key])
        return lists, json.loads(str(stored["known"]))
