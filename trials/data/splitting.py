"""Which images go where: the cuts of validation and test, and nested training subsets.

Images with a class each are dealt class by class, in the order of the listing; scenes, which have no class, by a hash
of their content. The first could be dealt by content too, but every run of before would then be one of other data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trials.data.config import DataError
from trials.data.findings import listed

Indices = NDArray[np.int64]

_CUT, _SUBSET, _TEST = 0, 1, 2  # separate random streams: another val_fraction does not re-deal the subset's order


def cut_validation(labels: Indices, classes: Sequence[str], val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split the positions of `labels` [N] into (train, val), each sorted; per class, `val_fraction` goes to val.

    Every class leaves at least one image on either side. Each class draws from its own stream, so that adding a
    class does not re-deal the others. Raises DataError for a class of fewer than two images.
    """
    return _cut(labels, classes, val_fraction, 2, [seed, _CUT], "a validation split")


def cut_test(
    labels: Indices, classes: Sequence[str], test_fraction: float, seed: int, validated: bool
) -> tuple[Indices, Indices]:
    """The same for (train, test), before anything else is cut; `validated`: there is a validation split already, else
    every class leaves an image for that too."""
    needed = "a test split, which finalists are judged on (--finalists none cuts none)"
    return _cut(labels, classes, test_fraction, 2 if validated else 3, [seed, _TEST], needed)


def _cut(
    labels: Indices, classes: Sequence[str], fraction: float, least: int, stream: list[int], what: str
) -> tuple[Indices, Indices]:
    """(kept, held out): of a class of N images at most N + 1 - `least` are held out."""
    sizes = np.bincount(labels, minlength=len(classes))
    small = [f"class {name!r} has {sizes[number]}" for number, name in enumerate(classes) if sizes[number] < least]
    if small:
        raise DataError(f"{listed(small, len(small))} training image(s): at least {least} are needed to cut {what}")
    kept, held_out = [], []
    for number in range(len(classes)):
        mine = np.flatnonzero(labels == number)
        mine = np.random.default_rng([*stream, number]).permutation(mine)
        count = min(max(round(len(mine) * fraction), 1), len(mine) + 1 - least)
        held_out.append(mine[:count])
        kept.append(mine[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held_out))


def choose_subset(labels: Indices, classes: Sequence[str], train_images: int | None, seed: int) -> Indices:
    """Sorted positions of a stratified subset of `labels` [N] with `train_images` members (None: all).

    Shares follow the class sizes (Sainte-Laguë, after one image for each class): equal classes differ by one
    image at most, and a smaller subset lies within every larger one of the same seed, so that fidelities nest.
    Raises DataError when more images are asked for than there are, or fewer than one a class.
    """
    if train_images is None:
        return np.arange(len(labels), dtype=np.int64)
    if train_images < len(classes):
        raise DataError(f"train_images is {train_images}: at least one a class is needed, {len(classes)} in all")
    if train_images > len(labels):
        raise DataError(f"train_images is {train_images}, but the training split has {len(labels)} images")
    priority = np.empty(len(labels), dtype=np.float64)
    for number in range(len(classes)):
        mine = np.flatnonzero(labels == number)
        mine = np.random.default_rng([seed, _SUBSET, number]).permutation(mine)
        priority[mine] = (np.arange(len(mine)) + 0.5) / max(len(mine), 1)
        priority[mine[:1]] = -1.0  # one image of every class comes before all else
    chosen = np.lexsort((labels, priority))[:train_images]  # ties go to the lower class: deterministic
    return np.sort(chosen).astype(np.int64)


def cut_by_content(
    digests: Sequence[str], fraction: float, seed: int, split: Literal["val", "test"] = "val"
) -> tuple[Indices, Indices]:
    """Positions of the training images and of those of `split`, each sorted; copies of one image stay on one side.

    The order that a split is taken from is a hash of (seed, digest): neither the files' names nor further images
    re-deal it. Raises DataError when there are not two different images.
    """
    order = sorted(set(digests), key=lambda digest: _rank(seed, split, digest))
    if len(order) < 2:
        named = {"val": "validation", "test": "test"}[split]
        raise DataError(f"there are not two different training images: a {named} split cannot be cut")
    held_out = set(order[: min(max(round(len(order) * fraction), 1), len(order) - 1)])
    is_out = np.array([digest in held_out for digest in digests])
    return np.flatnonzero(~is_out), np.flatnonzero(is_out)


def subset_by_content(digests: Sequence[str], count: int | None, seed: int) -> Indices:
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
