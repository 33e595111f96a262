"""What a user may ask of the data room, and the one error it raises; free of torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import UserError

KNOWN_DATA: tuple[str, ...] = ("fashion-mnist-mini", "fashion-mnist", "cifar10", "cifar100", "folder:PATH")
FOLDER_PREFIX = "folder:"
SMALLEST_IMAGE = 8  # pixels; below this a network that halves the image three times has nothing left


class DataError(UserError, ValueError):
    """Data that cannot be used. The message is one line: what was found, what was expected, how to mend it."""


@dataclass(frozen=True)
class DataConfig:
    """Which images to load and how to split them. Checked when it is made.

    name: one of `KNOWN_DATA`, where `folder:PATH` stands for an image folder.
    data_dir: where the published datasets are looked for and downloaded to; None means `$FUSION_NAS_DATA`,
        else `~/.cache/fusion-nas/data`. Not used by `fashion-mnist-mini` and `folder:PATH`.
    image_size: side of the square images, in pixels (>= 8); None means the dataset's own.
    train_images: size of a stratified subset of the training split, taken after the validation cut, at least
        one image a class; None means all. A smaller subset is contained in a larger one of the same seed.
    val_fraction: share of every class of the training part that becomes the validation split, in (0, 1).
        Not used by a folder that has a `val` of its own.
    split_seed: seed (>= 0) of the validation cut and of the subset.
    drop_unreadable: leave out image files that cannot be decoded, and count them, instead of refusing the folder.

    Raises DataError for an unknown name or a value out of range.
    """

    name: str = "fashion-mnist-mini"
    data_dir: str | None = None
    image_size: int | None = None
    train_images: int | None = None
    val_fraction: float = 0.2
    split_seed: int = 0
    drop_unreadable: bool = False

    def __post_init__(self) -> None:
        validate_name(self.name)
        if not 0.0 < self.val_fraction < 1.0:  # written so that NaN fails too
            raise DataError(f"val_fraction is {self.val_fraction}: it must lie between 0 and 1, both excluded")
        if self.image_size is not None and self.image_size < SMALLEST_IMAGE:
            raise DataError(f"image_size is {self.image_size}: it must be at least {SMALLEST_IMAGE} pixels")
        if self.train_images is not None and self.train_images < 1:
            raise DataError(f"train_images is {self.train_images}: it must be at least one image a class")
        if self.split_seed < 0:
            raise DataError(f"split_seed is {self.split_seed}: it must not be negative")


def validate_name(name: str) -> None:
    """Raise DataError unless `name` is a known dataset or `folder:` followed by a path (not looked up here)."""
    if name.startswith(FOLDER_PREFIX):
        if not name.removeprefix(FOLDER_PREFIX).strip():
            raise DataError(f"data {name!r} names no folder: write folder:PATH, for instance folder:/data/flowers")
        return
    names = [known for known in KNOWN_DATA if not known.startswith(FOLDER_PREFIX)]
    if name in names:
        return
    if name and ("/" in name or "\\" in name or Path(name).is_dir()):
        nearest = f"{FOLDER_PREFIX}{name}"  # a bare path is the likeliest slip
    else:
        nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.0)[0]
    raise DataError(f"unknown data {name!r}: it may be {', '.join(KNOWN_DATA)}; did you mean {nearest!r}?")
