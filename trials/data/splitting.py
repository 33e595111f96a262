"""Which images go where: the stratified validation cut and nested training subsets, on labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trials.data.config import DataError
from trials.data.findings import listed

Indices = NDArray[np.int64]

_CUT, _SUBSET = 0, 1  # separate random streams: another val_fraction does not re-deal the subset's order


def cut_validation(labels: Indices, classes: Sequence[str], val_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split the positions of `labels` [N] into (train, val), each sorted; per class, `val_fraction` goes to val.

    Every class leaves at least one image on either side. Each class draws from its own stream, so that adding a
    class does not re-deal the others. Raises DataError for a class of fewer than two images.
    """
    sizes = np.bincount(labels, minlength=len(classes))
    small = [f"class {name!r} has {sizes[number]}" for number, name in enumerate(classes) if sizes[number] < 2]
    if small:
        raise DataError(
            f"{listed(small, len(small))} training image(s): at least 2 are needed to cut a validation split"
        )
    train, val = [], []
    for number in range(len(classes)):
        mine = np.flatnonzero(labels == number)
        mine = np.random.default_rng([seed, _CUT, number]).permutation(mine)
        held_out = min(max(round(len(mine) * val_fraction), 1), len(mine) - 1)
        val.append(mine[:held_out])
        train.append(mine[held_out:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))


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
