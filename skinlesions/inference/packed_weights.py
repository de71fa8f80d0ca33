"""The weights of a network in one small file: a zip file of .npy arrays (.npz), without pickle, the same bytes always.

Large kernels are kept as float16. Small ones, scales, statistics and biases, together about two percent of the numbers,
stay float32: rounding them would move the logits four times as far. Arrays are named by their place in the network and
by what they are, `017.kernel`, and each is held against the network by name, shape and type before it is used.
"""

import io
import zipfile
import zlib

import keras
import numpy as np

from skinlesions.core.errors import UserError

# Kernels of so many numbers or fewer stay float32.
SMALL = 4096

HALF, FULL = np.dtype("<f2"), np.dtype("<f4")

# What the header of an array takes in the file beside its numbers, at most.
HEADER_BYTES = 1024

# A time is part of a zip file; this is the first one that it can say.
TIME = (1980, 1, 1, 0, 0, 0)


def size(network: keras.Model) -> int:
    """How many bytes the numbers in the file take before they are compressed, which leaves about seven eighths."""
    return sum(int(np.prod(variable.shape)) * _kind(variable).itemsize for variable in network.weights)


def packed(network: keras.Model) -> bytes:
    """The weights of `network` as a file.

    Raises:
        UserError: a number is not finite, or too large for float16.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for place, (variable, values) in enumerate(zip(network.weights, network.get_weights(), strict=True)):
            kind = _kind(variable)
            with np.errstate(over="ignore"):
                stored = np.ascontiguousarray(values, dtype=kind)
            if not np.isfinite(stored).all():
                raise UserError(
                    f"{network.name}: its weights {variable.path} have a number that is not finite or exceeds what "
                    f"{kind.name} holds ({np.finfo(kind).max:g}); train the model again, or publish another one"
                )
            content = io.BytesIO()
            np.lib.format.write_array(content, _halves(stored), version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(_member(place, variable), TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content.getvalue())
    return buffer.getvalue()


def unpacked(content: bytes, network: keras.Model) -> list[np.ndarray]:
    """The weights in the file `content`, float32, as network.set_weights takes them.

    Raises:
        ValueError: what is wrong with the file, as the end of a sentence.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            wanted = [_member(place, variable) for place, variable in enumerate(network.weights)]
            if [member.filename for member in members] != wanted:
                raise ValueError(f"has not the {len(wanted)} arrays of the network {network.name}")
            return [
                _array(archive, member, variable) for member, variable in zip(members, network.weights, strict=True)
            ]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"is not a whole .npz file ({error})") from None


def _kind(variable: keras.Variable) -> np.dtype:
    """The type in the file of a weight of the network."""
    return HALF if len(variable.shape) > 1 and np.prod(variable.shape) > SMALL else FULL


def _member(place: int, variable: keras.Variable) -> str:
    """The name in the zip file of the weight at `place` in the network."""
    return f"{place:03}.{variable.name}.npy"


def _halves(stored: np.ndarray) -> np.ndarray:
    """An array as it is written: of float16 [...] the low and the high bytes, uint8 [2, ...].

    The high bytes, of sign and exponent, are alike, and alone are compressed to three quarters.
    """
    if stored.dtype != HALF:
        return stored
    return np.ascontiguousarray(np.moveaxis(stored[..., None].view("uint8"), -1, 0))


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, variable: keras.Variable) -> np.ndarray:
    """One weight, float32, once it is sure to be what the network takes; its size is known before it is read."""
    name, kind, shape = member.filename.removesuffix(".npy"), _kind(variable), tuple(variable.shape)
    length = int(np.prod(shape)) * kind.itemsize
    if not length <= member.file_size <= length + HEADER_BYTES:
        raise ValueError(f"has {member.file_size:,} bytes for {name}; expected {length:,} and a header")
    wanted = ((2, *shape), np.dtype("uint8")) if kind == HALF else (shape, kind)
    stream = io.BytesIO(archive.read(member))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"has {name} in another version of the format .npy")
    found_shape, by_column, found_kind = np.lib.format.read_array_header_1_0(stream)
    if by_column or (found_shape, found_kind) != wanted:
        raise ValueError(f"has {name} as {found_kind} {list(found_shape)}; expected {wanted[1]} {list(wanted[0])}")
    numbers = stream.read()
    if len(numbers) != length:
        raise ValueError(f"has {len(numbers):,} bytes of numbers for {name}; expected {length:,}")
    array = np.frombuffer(numbers, wanted[1]).reshape(wanted[0])
    if kind == HALF:
        array = np.ascontiguousarray(np.moveaxis(array, 0, -1)).view(HALF)[..., 0]
    if not np.isfinite(array).all():
        raise ValueError(f"has numbers in {name} that are not finite")
    return array.astype("float32")
