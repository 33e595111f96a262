"""Reads folders of images with a map of classes each, of the same name: the common form of segmentation data.

A map is an 8-bit grey or palette image whose values are classes; 255 is left out of loss and metric.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trials.data.config import DataError, Targets
from trials.data.items import AnnotatedImage, Reading
from trials.data.problems import CATEGORY, DUPLICATE, MASK, MISSING, SIZE, BadEntry, ProblemList
from trials.data.readers.entries import as_name
from trials.data.survey import IMAGE_EXTENSIONS, SPLITS, Picture, inspect_images

IGNORED = 255  # the value of pixels that belong to no class
_MODES = ("L", "P", "1")
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp")


def read(root: Path, _: Targets, problems: ProblemList, announce: Callable[[str], None]) -> Reading:
    """The pairs of ROOT/images/NAME and ROOT/masks/NAME.png, or of ROOT/train/images and so on for val and test.

    ROOT/classes.txt names the classes, one a line, from value 0 on; without it they are "class 0" to the highest value
    in the training maps, and maps of 0 and 255 alone are one class on a background.
    What is bad goes to `problems` and is left out. Raises DataError for a folder that has not this layout.
    """
    folders = {split: f"{split}/" for split in SPLITS if (root / split / "images").is_dir()} or {"train": ""}
    if "train" not in folders:
        raise DataError(f"{root} has {next(iter(folders))}/images but no train/images: training images are needed")
    pairs = {split: _pairs(root, prefix, problems) for split, prefix in folders.items()}
    files = [file for part in pairs.values() for pair in part.items() for file in pair]
    pictures = inspect_images(root, files, announce)
    images: dict[str, list[AnnotatedImage]] = {}
    values: dict[str, frozenset[int]] = {}  # by the map's file
    for split, part in pairs.items():
        images[split] = []
        for file, map_file in part.items():
            blamed = file
            try:
                picture = _usable(pictures[file])
                blamed = map_file
                values[map_file] = _values(root / map_file, picture, _usable(pictures[map_file]))
            except BadEntry as bad:
                problems.note(blamed, "", bad.what, bad.kind)
                continue
            found = AnnotatedImage(file, picture.height, picture.width, picture.digest, map_file=map_file)
            images[split].append(found)
    trained = frozenset[int]().union(*(values[image.map_file] for image in images["train"]))
    foreground = trained == {0, IGNORED}
    classes = _classes(root, trained - {IGNORED}, foreground)
    if foreground:
        announce(
            f"{root}: the maps hold 0 and 255 alone: 255 is taken for class {classes[1]!r}, not for ignored pixels"
        )
    for split, usable in images.items():
        images[split] = [image for image in usable if _known(image, values[image.map_file], classes, problems)]
    return Reading(classes, images, foreground)


def _pairs(root: Path, prefix: str, problems: ProblemList) -> dict[str, str]:
    """Images with their maps, both relative to `root`, by their names without the ending."""
    images = _by_stem(root, f"{prefix}images", IMAGE_EXTENSIONS, problems)
    maps = _by_stem(root, f"{prefix}masks", _LOSSLESS, problems)
    if not images:
        raise DataError(
            f"{root / prefix / 'images'} holds no images: masks:FOLDER needs images/NAME and masks/NAME.png"
        )
    for stem in sorted(images.keys() - maps.keys()):
        problems.note(images.pop(stem), "", f"it has no map {prefix}masks/{stem}.png", MISSING)
    for stem in sorted(maps.keys() - images.keys()):
        problems.note(maps[stem], "", f"it has no image {prefix}images/{stem}", MISSING)
    return {images[stem]: maps[stem] for stem in sorted(images)}


def _by_stem(root: Path, folder: str, endings: tuple[str, ...], problems: ProblemList) -> dict[str, str]:
    found: dict[str, str] = {}
    if not (root / folder).is_dir():
        raise DataError(f"{root} has no folder {folder}: masks:FOLDER needs images/NAME and masks/NAME.png")
    for path in sorted((root / folder).iterdir()):
        file = f"{folder}/{path.name}"
        if path.name.startswith(".") or path.suffix.lower() not in IMAGE_EXTENSIONS:
            continue
        if path.suffix.lower() not in endings:
            problems.note(file, "", f"a map must be lossless ({', '.join(endings)}): JPEG blurs classes", MASK)
        elif path.stem in found:
            problems.note(file, "", f"{found[path.stem]} has the same name", DUPLICATE)
        else:
            found[path.stem] = file
    return found


def _usable(seen: Picture | BadEntry) -> Picture:
    if isinstance(seen, BadEntry):
        raise seen
    return seen


def _values(path: Path, picture: Picture, seen: Picture) -> frozenset[int]:
    """The values that occur in a map; BadEntry when it does not fit its image."""
    if seen.mode not in _MODES:
        raise BadEntry(f"the map has mode {seen.mode}: it must be 8-bit grey or palette, a value for each class", MASK)
    if (seen.height, seen.width) != (picture.height, picture.width):
        raise BadEntry(
            f"the map has {seen.width}x{seen.height} pixels, its image {picture.width}x{picture.height}", SIZE
        )
    return frozenset(np.flatnonzero(np.bincount(load_map(path).ravel(), minlength=256)).tolist())


def load_map(path: Path) -> NDArray[np.uint8]:
    """The values of a map, uint8 [H, W]: palette indices and not colours."""
    with Image.open(path) as image:
        return np.asarray(image).astype(np.uint8)


def _classes(root: Path, values: frozenset[int], foreground: bool) -> tuple[str, ...]:
    path = root / "classes.txt"
    if not path.is_file():
        if foreground:
            return ("background", "foreground")
        return tuple(f"class {number}" for number in range(max(values, default=0) + 1))
    try:
        names = [as_name(line, f"line {line_number}") for line_number, line in enumerate(_lines(path), start=1)]
    except BadEntry as bad:
        raise DataError(f"{path}: {bad.what}") from bad
    if len(set(names)) < len(names) or not 2 <= len(names) < IGNORED:
        raise DataError(f"{path} has {len(names)} lines, {len(set(names))} different: 2 to 254 classes, one a line")
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").strip().splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; it must name the classes, one a line") from error


def _known(image: AnnotatedImage, values: frozenset[int], classes: tuple[str, ...], problems: ProblemList) -> bool:
    strange = sorted(value for value in values if len(classes) <= value < IGNORED)
    if strange:
        said = f"the map holds value {strange[0]}: there are {len(classes)} classes, 0 to {len(classes) - 1}"
        problems.note(image.map_file, "", f"{said} (and {IGNORED} for ignored pixels)", CATEGORY)
    return not strange
