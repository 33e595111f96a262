"""What a user may ask of the scenes: images with boxes, instance masks or a class for every pixel; free of torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from trials.data.config import DataError

MINI = "scenes-mini"
FOLDER_FORMS: tuple[str, ...] = ("coco", "voc", "masks")
KNOWN_SCENES: tuple[str, ...] = (MINI, *(f"{form}:FOLDER" for form in FOLDER_FORMS))
LARGEST_STRIDE = 32  # pixels: the coarsest map of a five-stage trunk halves the image five times

Targets = Literal["boxes", "instances", "semantic"]
Policy = Literal["refuse", "drop"]
EmptyPolicy = Literal["keep", "refuse", "drop"]

_TARGETS_OF = {MINI: get_args(Targets), "coco": get_args(Targets), "voc": ("boxes",), "masks": ("semantic",)}
_DEFAULT_SIDE = {MINI: 128}  # pixels; 256 for folders


@dataclass(frozen=True)
class SceneConfig:
    """Which scenes to load, with which targets, and what to do with bad entries. Checked when it is made.

    name: one of `KNOWN_SCENES`, where FOLDER stands for a folder of that form.
    targets: "boxes"; "instances" (boxes and a mask for each object); "semantic" (one map of classes an image).
        VOC folders have boxes only, `masks:FOLDER` is semantic only.
    image_size: side of the square images, in pixels, a multiple of 32; the longer side is fitted to it and the rest
        is padded. None means 128 for scenes-mini and 256 for folders.
    data_errors: "refuse" answers bad images and annotations with an error that lists them; "drop" leaves them out
        and counts them.
    empty_images: images without any object are kept by default: a detector must learn to find nothing.
    train_images: size of a subset of the training split; a smaller one lies within a larger one of the same seed.
    val_fraction: share of the training images that becomes the validation split where the folder has none, in (0, 1).
    split_seed: seed (>= 0) of that cut and of the subset.

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

    def __post_init__(self) -> None:
        validate_scenes_name(self.name)
        _one_of("targets", self.targets, _TARGETS_OF[self.form], f" for {self.name}")
        _one_of("data_errors", self.data_errors, get_args(Policy))
        _one_of("empty_images", self.empty_images, get_args(EmptyPolicy))
        if self.image_size is not None and (self.image_size < LARGEST_STRIDE or self.image_size % LARGEST_STRIDE):
            raise DataError(
                f"image_size is {self.image_size}: it must be a multiple of {LARGEST_STRIDE} pixels, the largest "
                "stride of the networks"
            )
        if self.train_images is not None and self.train_images < 1:
            raise DataError(f"train_images is {self.train_images}: it must be at least 1")
        if not 0.0 < self.val_fraction < 1.0:  # written so that NaN fails too
            raise DataError(f"val_fraction is {self.val_fraction}: it must lie between 0 and 1, both excluded")
        if self.split_seed < 0:
            raise DataError(f"split_seed is {self.split_seed}: it must not be negative")

    @property
    def form(self) -> str:
        """ "scenes-mini", "coco", "voc" or "masks"."""
        return self.name.partition(":")[0]

    @property
    def folder(self) -> str:
        """The path in the name; empty for scenes-mini."""
        return self.name.partition(":")[2]

    @property
    def side(self) -> int:
        """Side of the square images, in pixels."""
        return self.image_size or _DEFAULT_SIDE.get(self.form, 256)


def validate_scenes_name(name: str) -> None:
    """Raise DataError unless `name` is scenes-mini or a form followed by a path (not looked up here)."""
    form, colon, folder = name.partition(":")
    if name == MINI:
        return
    if form in FOLDER_FORMS and colon:
        if not folder.strip():
            raise DataError(f"data {name!r} names no folder: write {form}:FOLDER, for instance {form}:/data/cells")
        return
    if name and ("/" in name or "\\" in name or Path(name).is_dir()):
        nearest = f"coco:{folder or name}"  # a bare path is the likeliest slip
    else:
        nearest = difflib.get_close_matches(name.lower(), KNOWN_SCENES, n=1, cutoff=0.0)[0]
    raise DataError(f"unknown data {name!r}: it may be {', '.join(KNOWN_SCENES)}; did you mean {nearest!r}?")


def _one_of(field: str, given: str, allowed: tuple[str, ...], of: str = "") -> None:
    if given not in allowed:
        raise DataError(f"{field} is {given!r}: it must be {' or '.join(map(repr, allowed))}{of}")
