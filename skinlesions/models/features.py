"""Frozen features: every image through a backbone once, kept as float16.

An interrupted run leaves its finished rows under data/partial/, and the next run goes on from there.
"""

import shutil
from pathlib import Path

import keras
import numpy as np

from skinlesions.core import files
from skinlesions.core.errors import UserError
from skinlesions.core.progress import Progress
from skinlesions.data import images


def extract(
    extractor: keras.Model,
    pixels: Path,
    target: Path,
    *,
    crop: int,
    batch_size: int,
    partial: Path,
    key: dict[str, object],
) -> None:
    """Write the features of all images to `target`, a .npy file of float16 [N, D].

    Args:
        extractor: uint8 [n, size, size, 3] in, float32 [n, D] out.
        pixels: a .npy file of uint8 [N, H, W, 3].
        crop: the side of the central part of them that goes in, scaled to `size`.
        partial: a folder for the rows finished so far.
        key: what the features depend on (hashes, settings); rows of an earlier run with another key are discarded.

    Raises:
        UserError: a feature is not finite, or too large for float16.
    """
    size, width = extractor.input_shape[1], extractor.output_shape[-1]
    count = len(files.read_array(pixels, memory_map=True))
    files.keep_only_matching(partial, key)
    rows = partial / "rows.float16"
    rows.touch()
    bytes_per_batch = batch_size * width * np.dtype("float16").itemsize
    done = rows.stat().st_size // bytes_per_batch * batch_size
    with rows.open("r+b") as stream, Progress(extractor.name, count, "images", done) as progress:
        stream.truncate(done // batch_size * bytes_per_batch)  # a batch cut short by a kill is computed again
        stream.seek(0, 2)
        for start in range(done, count, batch_size):
            batch = images.network_inputs(files.read_rows(pixels, start, start + batch_size), crop, size)
            missing = batch_size - len(batch)
            if missing:  # one batch shape only: the network is not compiled again for the last one
                batch = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
            features = np.asarray(extractor.predict_on_batch(batch))[: batch_size - missing]
            with np.errstate(over="ignore"):
                halves = features.astype("float16")
            if not np.isfinite(halves).all():
                raise UserError(
                    f"{extractor.name}: a feature of rows {start} to {start + len(halves) - 1} is not a float16 "
                    "number; the weights do not fit this network, check their file and cut_at in params.yaml"
                )
            stream.write(halves.tobytes())
            stream.flush()
            progress.advance(len(halves))
    files.write_array(target, np.fromfile(rows, "float16").reshape(count, width))
    shutil.rmtree(partial)
