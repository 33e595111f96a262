"""Reader of IDX files, the format of MNIST and its kin, plain or gzipped; free of torch."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trials.data.config import DataError

IDX_NAMES = {  # the four files of an MNIST-like dataset, without ".gz"
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
_UNSIGNED_BYTE = 0x08

IdxPaths = dict[tuple[str, str], Path]


def find_idx(folder: Path) -> IdxPaths | None:
    """The four files in `folder`, by (split, kind), gzipped or plain; None unless all four are there."""
    found = {}
    for key, name in IDX_NAMES.items():
        paths = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        if not paths:
            return None
        found[key] = paths[0]
    return found


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes with that many dimensions; raises DataError naming the file."""
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}; get the file again") from error
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != magic:
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes with {dimensions} dimension(s): "
            f"it begins with {data[:4].hex()}, not {magic.hex()}"
        )
    shape = tuple(int(size) for size in np.frombuffer(data, dtype=">u4", count=dimensions, offset=4))
    if len(data) - start != math.prod(shape):
        raise DataError(
            f"{path} is damaged: its header says {'x'.join(map(str, shape))} = {math.prod(shape)} bytes, "
            f"but {len(data) - start} follow; get the file again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape).copy()  # a view would be read-only


def read_images_and_labels(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [N, H, W] and labels [N] of two IDX files that belong together; raises DataError."""
    pixels, numbers = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(numbers):
        raise DataError(f"{images} has {len(pixels)} images but {labels} has {len(numbers)} labels")
    if pixels.size == 0 or pixels.shape[1] != pixels.shape[2]:
        size = "x".join(map(str, pixels.shape))
        raise DataError(f"{images} holds {size} pixels: expected square images, at least one; get the file again")
    return pixels, numbers
