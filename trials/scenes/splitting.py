"""Which images go where: the validation cut and nested subsets, by the content of the images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from trials.data.config import DataError
from trials.scenes.table import Integers


def cut_by_content(digests: Sequence[str], val_fraction: float, seed: int) -> tuple[Integers, Integers]:
    """Positions of the training and the validation images, each sorted; copies of one image stay on one side.

    The order that validation is taken from is a hash of (seed, digest): neither the files' names nor further images
    re-deal it. Raises DataError when there are not two different images.
    """
    order = sorted(set(digests), key=lambda digest: _rank(seed, "val", digest))
    if len(order) < 2:
        raise DataError("there are not two different training images: a validation split cannot be cut")
    held_out = set(order[: min(max(round(len(order) * val_fraction), 1), len(order) - 1)])
    is_val = np.array([digest in held_out for digest in digests])
    return np.flatnonzero(~is_val), np.flatnonzero(is_val)


def subset_by_content(digests: Sequence[str], count: int | None, seed: int) -> Integers:
    """Sorted positions of `count` images (None: all); a smaller subset lies within a larger one of the same seed.

    Raises DataError when more are asked for than there are.
    """
    if count is None:
        return np.arange(len(digests), dtype=np.int64)
    if count > len(digests):
        raise DataError(f"train_images is {count}, but the training split has {len(digests)} images")
    order = sorted(range(len(digests)), key=lambda place: (_rank(seed, "subset", digests[place]), place))
    return np.array(sorted(order[:count]), dtype=np.int64)


def _rank(seed: int, purpose: str, digest: str) -> bytes:
    return hashlib.sha256(f"{seed}/{purpose}/{digest}".encode()).digest()
