"""What readers of scenes yield: items, files with their targets, and those of a split as arrays.

All in the pixels of the original images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trials.data.orientation import AS_IT_LIES

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Annotation:
    """One object.

    box: left, top, right, bottom in pixels; pixel i covers i to i + 1. label: index into the categories.
    area: of the mask where there is one, else of the box, in pixels. crowd: a region of many objects, or one too
    hard to tell (VOC's `difficult`): neither to be found nor a false alarm.
    counts: COCO's compressed run lengths of the mask, at the image's size; None where only a box is known.
    """

    box: tuple[float, float, float, float]
    label: int
    area: float
    crowd: bool
    counts: bytes | None = None


@dataclass(frozen=True)
class AnnotatedImage:
    """One image: its file, relative to the data set's folder with forward slashes, its size in pixels, the digest of
    its bytes, its objects, and the file of its map of classes where the data set has such files. All is as it is to be
    seen, but for a map that lies as its image does in the file: it is yet to be turned by `map_turn`, an EXIF
    orientation."""

    file: str
    height: int
    width: int
    digest: str
    objects: tuple[Annotation, ...] = ()
    map_file: str = ""
    map_turn: int = AS_IT_LIES


@dataclass(frozen=True, eq=False)
class SceneTable:
    """N images with M objects; those of image i are at `first[i]` to `first[i + 1]`.

    sizes: [N, 2], height and width. boxes: [M, 4], labels [M], areas [M], crowd [M], as in `Annotation`.
    counts: the masks' run lengths, M of them, or None. map_files: N of them, or None. turns: [N], how maps are yet to
    be turned, as in `AnnotatedImage`; None where none is.
    """

    files: tuple[str, ...]
    digests: tuple[str, ...]
    sizes: Integers
    first: Integers
    boxes: Floats
    labels: Integers
    areas: Floats
    crowd: Flags
    counts: tuple[bytes, ...] | None = None
    map_files: tuple[str, ...] | None = None
    turns: Integers | None = None

    def __len__(self) -> int:
        return len(self.files)

    def objects_of(self, positions: Integers) -> Integers:
        """The places of the objects of the images at `positions`, image after image."""
        spans = [np.arange(self.first[place], self.first[place + 1]) for place in positions]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)

    def take(self, positions: Integers) -> SceneTable:
        """The images at `positions` with their objects, in that order."""
        objects = self.objects_of(positions)
        lengths = np.diff(self.first)[positions]
        return SceneTable(
            files=tuple(self.files[place] for place in positions),
            digests=tuple(self.digests[place] for place in positions),
            sizes=self.sizes[positions],
            first=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            boxes=self.boxes[objects],
            labels=self.labels[objects],
            areas=self.areas[objects],
            crowd=self.crowd[objects],
            counts=None if self.counts is None else tuple(self.counts[place] for place in objects),
            map_files=None if self.map_files is None else tuple(self.map_files[place] for place in positions),
            turns=None if self.turns is None else self.turns[positions],
        )


def tabulate(images: Sequence[AnnotatedImage]) -> SceneTable:
    """The table of these images. Where one object has `counts`, all must."""
    objects = [each for image in images for each in image.objects]
    return SceneTable(
        files=tuple(image.file for image in images),
        digests=tuple(image.digest for image in images),
        sizes=np.array([(image.height, image.width) for image in images], dtype=np.int64).reshape(-1, 2),
        first=np.cumsum([0, *(len(image.objects) for image in images)], dtype=np.int64),
        boxes=np.array([each.box for each in objects], dtype=np.float64).reshape(-1, 4),
        labels=np.array([each.label for each in objects], dtype=np.int64),
        areas=np.array([each.area for each in objects], dtype=np.float64),
        crowd=np.array([each.crowd for each in objects], dtype=np.bool_),
        counts=tuple(each.counts or b"" for each in objects) if any(each.counts for each in objects) else None,
        map_files=tuple(image.map_file for image in images) if any(image.map_file for image in images) else None,
        turns=np.array([image.map_turn for image in images], dtype=np.int64),
    )


@dataclass
class Noted:
    """What a reader noted beside problems, as files or entries by name; it fills this as it reads.

    used: the files that it opened or that annotations name, images of the splits left out or not: all others of the
    folder are said not to be read. left_out: good images that go with a bad annotation of theirs. turned: images whose
    EXIF orientation was applied. deep: the largest values of images of 16 bits a pixel. areas: annotations whose area
    was not that of their object. remarks: whole sentences.
    """

    used: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    deep: dict[str, int] = field(default_factory=dict)
    areas: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def image(self, file: str, orientation: int, peak: int | None) -> None:
        """Of an image that can be used: what is done to it before it is seen."""
        if orientation != AS_IT_LIES:
            self.turned.append(file)
        if peak is not None:
            self.deep[file] = peak


@dataclass(frozen=True)
class Reading:
    """What a reader found: the categories that labels index, and the good images of each split: always "train",
    "val" and "test" only where the data set has them. foreground: 255 in a map means class 1, not an ignored pixel."""

    categories: tuple[str, ...]
    splits: dict[str, list[AnnotatedImage]]
    foreground: bool = False
    noted: Noted = field(default_factory=Noted)
