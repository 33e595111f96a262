"""What a user may ask of the data room, and the error it raises; free of torch."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from search_spaces.errors import UserError
from trials.data.readers import READERS, Reader, image_readers, scene_readers

MINI = "scenes-mini"
FOLDER_PREFIX = "folder:"
KNOWN_DATA: tuple[str, ...] = tuple(
    f"{name}:PATH" if reader.folder else name for name, reader in image_readers().items()
)
KNOWN_SCENES: tuple[str, ...] = tuple(
    f"{name}:FOLDER" if reader.folder else name for name, reader in scene_readers().items()
)
SMALLEST_IMAGE = 8  # pixels; below this a network that halves the image three times has nothing left
LARGEST_STRIDE = 32  # pixels: the coarsest map of a five-stage trunk halves the image five times

Targets = Literal["boxes", "semantic"]
Policy = Literal["refuse", "drop"]
EmptyPolicy = Literal["keep", "refuse", "drop"]


class DataError(UserError, ValueError):
    """Data that cannot be used. The message is one line: what was found, what was expected, how to mend it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text with names of files in it, as any terminal can print it: names may hold anything but NUL and a slash, also
    line breaks and bytes that are no text."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Named:
    name: str

    @property
    def form(self) -> str:
        """What names the reader, such as "cifar10" or "coco"."""
        return self.name.partition(":")[0]

    @property
    def folder(self) -> str:
        """The path in the name; empty for data that are no user's folder."""
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class DataConfig(_Named):
    """Which images to load and how to split them. Checked when it is made.

    name: one of `KNOWN_DATA`, where `folder:PATH` stands for an image folder.
    data_dir: where the published datasets are looked for and downloaded to; None means `$FUSION_NAS_DATA`,
        else `~/.cache/fusion-nas/data`. Not used by `fashion-mnist-mini` and `folder:PATH`.
    image_size: side of the square images, in pixels (>= 8); None means the dataset's own.
    train_images: size of a stratified subset of the training split, taken after the validation cut, at least
        one image a class; None means all. A smaller subset is contained in a larger one of the same seed.
    val_fraction: share of every class of the training part that becomes the validation split, in (0, 1).
        Not used by a folder that has a `val` of its own.
    test_fraction: share of every class of the training part that becomes the test split, before all else, in [0, 1).
        Only used by a folder that has none; 0 cuts none.
    split_seed: seed (>= 0) of the cuts and of the subset.
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
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        validate_name(self.name)
        if self.image_size is not None and self.image_size < SMALLEST_IMAGE:
            raise DataError(f"image_size is {self.image_size}: it must be at least {SMALLEST_IMAGE} pixels")
        _validate_split(self.train_images, self.val_fraction, self.test_fraction, self.split_seed, "one image a class")


@dataclass(frozen=True)
class SceneConfig(_Named):
    """Which scenes to load, with which targets, and what to do with bad entries. Checked when it is made.

    name: one of `KNOWN_SCENES`, where FOLDER stands for a folder of that form.
    targets: "boxes", or "semantic" (one map of classes an image).
        VOC folders have boxes only, `masks:FOLDER` is semantic only.
    image_size: side of the square images, in pixels, a multiple of 32; the longer side is fitted to it and the rest
        is padded. None means 128 for scenes-mini and 256 for folders.
    data_errors: "refuse" answers bad images and annotations with an error that lists them; "drop" leaves them out
        and counts them.
    empty_images: images without any object are kept by default: a detector must learn to find nothing.
    train_images: size of a subset of the training split; a smaller one lies within a larger one of the same seed.
    val_fraction: share of the training images that becomes the validation split where the folder has none, in (0, 1).
    test_fraction: likewise of the test split, cut before, in [0, 1); 0 cuts none.
    split_seed: seed (>= 0) of the cuts and of the subset.

    Raises DataError for an unknown name or a value out of range.
    """

    name: str = MINI
    targets: Targets = "boxes"
    image_size: int | None = None
    data_errors: Policy = "refuse"
    empty_images: EmptyPolicy = "keep"
    train_images: int | None = None
    val_fraction: float = 0.2
    split_seed: int = 0
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        validate_scenes_name(self.name)
        _one_of("targets", self.targets, READERS[self.form].targets, f" for {self.name}")
        _one_of("data_errors", self.data_errors, get_args(Policy))
        _one_of("empty_images", self.empty_images, get_args(EmptyPolicy))
        if self.image_size is not None and (self.image_size < LARGEST_STRIDE or self.image_size % LARGEST_STRIDE):
            raise DataError(
                f"image_size is {self.image_size}: it must be a multiple of {LARGEST_STRIDE} pixels, the largest "
                "stride of the networks"
            )
        _validate_split(self.train_images, self.val_fraction, self.test_fraction, self.split_seed, "1")

    @property
    def side(self) -> int:
        """Side of the square images, in pixels."""
        side = self.image_size or READERS[self.form].side
        assert side is not None  # every reader of scenes has one
        return side


def validate_name(name: str) -> None:
    """Raise DataError unless `name` is a known dataset or `folder:` followed by a path (not looked up here)."""
    _validate_name(name, image_readers(), KNOWN_DATA, "folder", "/data/flowers")


def validate_scenes_name(name: str) -> None:
    """Raise DataError unless `name` is scenes-mini or a form followed by a path (not looked up here)."""
    _validate_name(name, scene_readers(), KNOWN_SCENES, "coco", "/data/cells")


def _validate_name(name: str, readers: Mapping[str, Reader], known: tuple[str, ...], likeliest: str, eg: str) -> None:
    form, colon, folder = name.partition(":")
    reader = readers.get(form)
    if reader is not None and reader.folder == bool(colon):
        if reader.folder and not folder.strip():
            place = next(one for one in known if one.startswith(f"{form}:"))
            raise DataError(f"data {name!r} names no folder: write {place}, for instance {form}:{eg}")
        return
    if name and ("/" in name or "\\" in name or os.path.isdir(name)):  # noqa: PTH112  # Path raises for a name that is too long
        nearest = f"{likeliest}:{folder if len(form) > 1 and folder else name}"  # a bare path is the likeliest slip
    else:
        nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]
    raise DataError(f"unknown data {name!r}: it may be {', '.join(known)}; did you mean {nearest!r}?")


def _validate_split(
    train_images: int | None, val_fraction: float, test_fraction: float, split_seed: int, least: str
) -> None:
    if train_images is not None and train_images < 1:
        raise DataError(f"train_images is {train_images}: it must be at least {least}")
    if not 0.0 < val_fraction < 1.0:  # written so that NaN fails too
        raise DataError(f"val_fraction is {val_fraction}: it must lie between 0 and 1, both excluded")
    if not 0.0 <= test_fraction < 1.0:
        raise DataError(f"test_fraction is {test_fraction}: it must be at least 0 and below 1")
    if split_seed < 0:
        raise DataError(f"split_seed is {split_seed}: it must not be negative")


def _one_of(field: str, given: str, allowed: tuple[str, ...], of: str = "") -> None:
    if given not in allowed:
        raise DataError(f"{field} is {given!r}: it must be {' or '.join(map(repr, allowed))}{of}")
