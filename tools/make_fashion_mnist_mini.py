#!/usr/bin/env python3
"""Make trials/data/embedded/fashion_mnist_mini.npz from the four original Fashion-MNIST files.

Takes the first 1,000 training and 200 test images of every class, in file order, and keeps the order of the
files. The result is the same byte for byte each time (fixed dates in the archive; with zlib itself: a Python
built on another deflate, such as zlib-ng, packs the same arrays into other bytes).
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that the script runs in a checkout that is not installed

from trials.data.config import DataError  # noqa: E402
from trials.data.readers.idx import find_idx, read_images_and_labels  # noqa: E402

PER_CLASS = {"train": 1000, "test": 200}
CLASSES = 10
LARGEST = 6_000_000  # bytes: the file travels in the wheel


def first_of_each_class(labels: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Sorted positions of the first `count` members of each class in labels [N]; DataError when one has fewer."""
    chosen = []
    for number in range(CLASSES):
        members = np.flatnonzero(labels == number)
        if len(members) < count:
            raise DataError(f"class {number} has {len(members)} images: {count} are needed")
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen))


def make(source: Path, target: Path) -> int:
    """Write the archive to `target` from the IDX files in `source`; returns its size in bytes."""
    paths = find_idx(source)
    if paths is None:
        raise DataError(f"{source} lacks one of the four Fashion-MNIST files (train-images-idx3-ubyte.gz, ...)")
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, count in PER_CLASS.items():
        images, labels = read_images_and_labels(paths[split, "images"], paths[split, "labels"])
        if images.shape[1:] != (28, 28):
            raise DataError(f"{paths[split, 'images']} holds images of {images.shape[1:]}, not 28x28")
        chosen = first_of_each_class(labels, count)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images[chosen], labels[chosen]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not np.savez_compressed: it has no say in the level, and its dates are its own affair.
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # "Unix" on every system
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    size = target.stat().st_size
    if size > LARGEST:
        raise DataError(f"{target} takes {size} bytes: at most {LARGEST} may travel in the wheel")
    return size


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the embedded fashion-mnist-mini dataset.")
    parser.add_argument(
        "--source",
        type=Path,
        default=Path("/usr/share/datasets/fashion-mnist"),
        help="folder with the four IDX files, gzipped or plain (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        type=Path,
        default=ROOT / "trials/data/embedded/fashion_mnist_mini.npz",
        help="the archive to write (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        size = make(arguments.source, arguments.target)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.target}: {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
