"""The state of an unfinished fold, through the disk."""

import numpy as np

from skinlesions.training import checkpoint


def test_a_state_survives_the_disk_and_a_kill_between_its_two_files(tmp_path):
    def row(epoch: int, score: float) -> dict[str, float]:
        return {"phase": 2, "epoch": epoch, "loss": None, "val_balanced_accuracy": score}

    random = np.random.default_rng(0)
    arrays = [random.normal(size=(3, 2)).astype("float32"), np.array([7], "int64")]
    state = checkpoint.State([row(0, 0.2), row(1, 0.5)], 1, arrays, arrays[::-1], [arrays[0] + 1])
    state.write(tmp_path)
    again = checkpoint.State.read(tmp_path)
    assert again.epoch == again.best_epoch == 1 and again.rows[0]["loss"] is None
    for ours, theirs in ((state.network, again.network), (state.optimizer, again.optimizer), (state.best, again.best)):
        assert [array.dtype for array in ours] == [array.dtype for array in theirs]
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    checkpoint._write_arrays(tmp_path / "best_2.npz", {"best": [arrays[0] + 2]})  # and then it was killed
    np.testing.assert_array_equal(checkpoint.State.read(tmp_path).best[0], arrays[0] + 1)
    state.rows.append(row(2, 0.6))
    state.epoch, state.best = 2, [arrays[0] + 3]
    state.write(tmp_path)
    np.testing.assert_array_equal(checkpoint.State.read(tmp_path).best[0], arrays[0] + 3)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["best_2.npz", "state.npz"]


def test_an_epoch_without_numbers_is_never_the_best():
    rows = [{"phase": 2, "epoch": epoch, "val_balanced_accuracy": value} for epoch, value in enumerate((0.5, np.nan))]
    for order in (rows, rows[::-1]):
        assert checkpoint.State(order).best_epoch == 0
