import io
import zipfile
from collections.abc import Callable

import keras
import numpy as np
import pytest

from skinlesions.core.errors import UserError
from skinlesions.inference import packed_weights


def network(width: int = 80) -> keras.Model:
    """A kernel that is large, one that is small, statistics and biases."""
    inputs = keras.Input((64,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width)(inputs))
    return keras.Model(inputs, keras.layers.Dense(7)(hidden))


@pytest.fixture
def made() -> keras.Model:
    """A network whose weights are of every size that float32 holds but for the large kernel."""
    own, generator = network(), np.random.default_rng(0)
    values = [generator.normal(size=value.shape) * 10.0 ** generator.integers(-9, 9) for value in own.get_weights()]
    own.set_weights([generator.normal(size=(64, 80)), *values[1:]])
    return own


def test_only_large_kernels_are_rounded_and_those_to_float16(made):
    weights = made.get_weights()
    assert [value.size > packed_weights.SMALL for value in weights] == [True] + [False] * 7
    restored = packed_weights.unpacked(packed_weights.packed(made), network())
    assert {value.dtype for value in restored} == {np.dtype("float32")}
    assert (restored[0] == weights[0].astype("float16")).all() and (restored[0] != weights[0]).any()
    assert all((found == own).all() for found, own in zip(restored[1:], weights[1:], strict=True))


def test_the_same_weights_give_the_same_bytes_and_a_file_that_numpy_reads(made):
    content = packed_weights.packed(made)
    other = network()
    other.set_weights(made.get_weights())
    assert packed_weights.packed(other) == content
    assert len(content) < 0.65 * sum(value.nbytes for value in made.get_weights())
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert arrays.files[:3] == ["000.kernel", "001.bias", "002.gamma"]


@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_what_float16_does_not_hold_is_refused(made, value):
    kernel, *others = made.get_weights()
    kernel[3, 4] = value
    made.set_weights([kernel, *others])
    with pytest.raises(UserError, match=r"kernel have a number .* float16 holds"):
        packed_weights.packed(made)


def changed(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The file `content` with what `change` does to its members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """`array` as a file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


BIAS = "001.bias.npy"
DAMAGES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "one is missing": (lambda members: members.pop(BIAS) and None, "has not the 8 arrays"),
    "one is called otherwise": (
        lambda members: members.update({"bias.npy": members.pop(BIAS)}),
        "has not the 8 arrays",
    ),
    "there is one more": (lambda members: members.update({"more.npy": b""}), "has not the 8 arrays"),
    "another shape": (lambda members: members.update({BIAS: npy(np.ones((8, 10), "float32"))}), r"\[8, 10\]; expected"),
    "another type": (lambda members: members.update({BIAS: npy(np.ones(80, "int32"))}), "as int32 .* float32"),
    "too long": (lambda members: members.update({BIAS: npy(np.ones(9000, "float32"))}), "001.bias; expected 320 and"),
    "too short": (lambda members: members.update({BIAS: npy(np.ones(80, "float32"))[:-4]}), "bytes of numbers"),
    "no array": (lambda members: members.update({BIAS: b"x" * 448}), "magic"),
    "no numbers": (lambda members: members.update({BIAS: npy(np.full(80, np.nan, "float32"))}), "bias .* not finite"),
    "an object": (lambda members: members.update({BIAS: npy(np.array([{}] * 80, object))}), "001.bias"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_anything_else_is_refused(made, damage):
    change, message = DAMAGES[damage]
    with pytest.raises(ValueError, match=message):
        packed_weights.unpacked(changed(packed_weights.packed(made), change), network())


def test_bytes_that_are_no_such_file_are_refused(made):
    content = packed_weights.packed(made)
    middle = len(content) // 2
    broken = content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 50]) + content[middle + 50 :]
    for wrong in (b"", b"text", content[:-30], broken):
        with pytest.raises(ValueError, match=r"is not a whole \.npz file"):
            packed_weights.unpacked(wrong, network())
    with pytest.raises(ValueError, match=r"000\.kernel"):
        packed_weights.unpacked(content, network(width=81))
