"""Reads folders of images with a map of classes each, of the same name: the common form of segmentation data.

A map is a palette image or one of 8 or 16 bits of grey whose values are classes, 254 at most; 255, and 65,535 of 16
bits, is left out of loss and metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trials.data.config import DataError, Targets
from trials.data.decoding import again, is_deep
from trials.data.findings import listed
from trials.data.folders import IMAGE_EXTENSIONS, is_image, look_through, splits_among
from trials.data.items import AnnotatedImage, Integers, Noted, Reading
from trials.data.orientation import AS_IT_LIES, is_mapped_wrongly, orientation_of, turned
from trials.data.problems import CATEGORY, DUPLICATE, MASK, MISSING, SIZE, UNREADABLE, BadEntry, ProblemList, reason_of
from trials.data.readers.entries import as_name, plain_text
from trials.data.survey import Picture, inspect_images

IGNORED = 255  # the value of pixels that belong to no class
_IGNORED_16_BITS = 65_535
_MODES = ("L", "P", "1")
_LOSSLESS = (
    ".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp", ".gif", ".apng", ".pbm", ".pnm", ".dib", ".tga", ".pcx",
)  # fmt: skip
_CLASSES = "classes.txt"
_GREY_LEVELS = 127  # a class number this high, with few classes in use, is a grey level


def read(root: Path, _: Targets, problems: ProblemList, announce: Callable[[str], None]) -> Reading:
    """The pairs of ROOT/images/NAME and ROOT/masks/NAME.png, or of ROOT/train/images and so on for val and test.

    NAME may lie in folders within these. ROOT/classes.txt names the classes, one a line, from value 0 on; without it
    they are "class 0" to the highest value in the training maps, and maps of 0 and 255 alone are one class on a
    background. What is bad goes to `problems` and is left out.
    Raises DataError for a folder that has not this layout.
    """
    folders = _folders(root, announce)
    pairs = {split: _pairs(root, prefix, problems) for split, prefix in folders.items()}
    files = [file for part in pairs.values() for pair in part.items() for file in pair]
    noted = Noted(used=files)
    maps = {map_file for part in pairs.values() for map_file in part.values()}
    pictures = inspect_images(root, files, announce, maps)
    images: dict[str, list[AnnotatedImage]] = {}
    counts: dict[str, Integers] = {}  # of the values of each map, by its file
    for split, part in pairs.items():
        images[split] = []
        for file, map_file in part.items():
            blamed = file
            try:
                picture = _usable(pictures[file])
                blamed = map_file
                turn = _map_turn(picture, _usable(pictures[map_file]))
                counts[map_file] = _values(root / map_file)
            except BadEntry as bad:
                problems.note(blamed, "", bad.what, bad.kind)
                noted.left_out += [file] if blamed == map_file else []
                continue
            noted.image(file, picture.orientation, picture.peak)
            images[split].append(
                AnnotatedImage(file, picture.height, picture.width, picture.digest, map_file=map_file, map_turn=turn)
            )
    trained = frozenset[int]().union(*(_there(counts[image.map_file]) for image in images["train"]))
    foreground = trained == {0, IGNORED}
    classes = _classes(root, trained - {IGNORED}, foreground)
    if (root / _CLASSES).is_file():
        noted.used.append(_CLASSES)
    if foreground:
        announce(
            f"{root}: the maps hold 0 and 255 alone: 255 is taken for class {classes[1]!r}, not for ignored pixels"
        )
    allowed = frozenset({0, IGNORED}) if foreground else frozenset([*range(len(classes)), IGNORED])
    for split, usable in images.items():
        known = [_known(image, _there(counts[image.map_file]), classes, allowed, problems) for image in usable]
        images[split] = [image for image, is_known in zip(usable, known, strict=True) if is_known]
        noted.left_out += [image.file for image, is_known in zip(usable, known, strict=True) if not is_known]
        noted.remarks += _blank(split, [counts[image.map_file] for image in images[split]], classes, foreground)
    noted.remarks += [] if foreground else _gaps(trained, classes)
    return Reading(classes, images, foreground, noted)


def _folders(root: Path, announce: Callable[[str], None]) -> dict[str, str]:
    """The prefix of each split's folders."""
    top = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    folders = {
        split: f"{name}/"
        for split, name in splits_among(name for name in top if (root / name / "images").is_dir()).items()
    } or {"train": ""}
    if "train" not in folders:
        there = next(iter(folders.values()))
        raise DataError(f"{root} has {there}images but no train/images: training images are needed")
    if "test" in folders and not (root / folders["test"] / "masks").is_dir():
        announce(f"{root}: the test images have no maps: they are not read")
        del folders["test"]
    return folders


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
    if not (root / folder).resolve().is_relative_to(root):
        raise DataError(f"{root / folder} is a link out of {root}: such links are not followed; copy it there")
    for file in look_through(root, folder).files:
        path = PurePosixPath(file)
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if not is_image(file):
            continue
        if path.suffix.lower() not in endings:
            problems.note(file, "", f"a map must be lossless ({', '.join(endings)}): JPEG blurs classes", MASK)
        elif stem in found:
            problems.note(file, "", f"{found[stem]} has the same name", DUPLICATE)
        else:
            found[stem] = file
    return found


def _usable(seen: Picture | BadEntry) -> Picture:
    if isinstance(seen, BadEntry):
        raise seen
    return seen


def _map_turn(picture: Picture, seen: Picture) -> int:
    """The EXIF orientation by which a map is yet to be turned, to fit its image as it is to be seen; maps are mostly
    made of the pixels as they lie. BadEntry when it fits neither."""
    if seen.mode not in _MODES and not is_deep(seen.mode):
        raise BadEntry(f"the map has mode {seen.mode}: it must be grey or palette, a value for each class", MASK)
    if seen.orientation == AS_IT_LIES and (seen.height, seen.width) == picture.lying:
        return picture.orientation
    if (seen.height, seen.width) != (picture.height, picture.width):
        raise BadEntry(
            f"the map has {seen.width}x{seen.height} pixels, its image {picture.width}x{picture.height}", SIZE
        )
    return AS_IT_LIES


def _values(path: Path) -> Integers:
    """How often each value occurs in a map, int64 [256]."""
    try:
        return np.bincount(load_map(path).ravel(), minlength=256)
    except BadEntry:
        raise
    except Exception as error:  # PIL's decoders raise nearly anything
        raise BadEntry(f"the map cannot be decoded ({reason_of(error, path)})", UNREADABLE) from error


def _there(counts: Integers) -> frozenset[int]:
    return frozenset(np.flatnonzero(counts).tolist())


def load_map(path: Path) -> NDArray[np.uint8]:
    """The values of a map, uint8 [H, W], as it is to be seen: palette indices and not colours, and 255 for 65,535 of 16
    bits. BadEntry for values that are no class: they would wrap."""
    return again(lambda: _load_map(path))


def _load_map(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        if is_mapped_wrongly(image):
            image.filename = ""
        image.load()
        values = np.asarray(turned(image, orientation_of(image)))
        if is_deep(image.mode):
            values = np.where(values == _IGNORED_16_BITS, IGNORED, values)
            strange = values[(values < 0) | (values > IGNORED)]
            if strange.size:
                raise BadEntry(
                    f"the map holds value {strange.min()}: classes are 0 to {IGNORED - 1}, and {IGNORED} or "
                    f"{_IGNORED_16_BITS} is for ignored pixels",
                    CATEGORY,
                )
        return values.astype(np.uint8)


def _blank(split: str, counts: Sequence[Integers], classes: tuple[str, ...], foreground: bool) -> list[str]:
    """What is to be said of maps that show one class throughout, or none."""
    shown = [_there(each) if foreground else _there(each) - {IGNORED} for each in counts]
    empty = sum(not values for values in shown)
    of = f"of {len(shown):,} {split} maps"
    said = [f"{empty:,} {of} hold no pixel that counts: they are 255 throughout"] if empty else []
    together = frozenset[int]().union(*shown)
    if len(together) == 1:
        [value] = together
        name = classes[1 if foreground and value == IGNORED else value]
        return [*said, f"all {split} maps show {name!r} alone: whatever says so everywhere is right in every pixel"]
    blank = sum(values == {0} for values in shown)
    if blank:
        said.append(f"{blank:,} {of} show {classes[0]!r} alone")
    return said


def _gaps(trained: frozenset[int], classes: tuple[str, ...]) -> list[str]:
    """What is to be said of classes that no training map shows: most are gaps between grey levels."""
    occurring = sorted(trained - {IGNORED})
    absent = len(classes) - len(occurring)
    if not absent or not occurring:
        return []
    values = listed([str(value) for value in occurring], len(occurring))
    said = f"{absent:,} of {len(classes):,} classes occur in no training map: the maps hold {values} alone"
    if occurring[-1] >= _GREY_LEVELS:
        last = f", and {IGNORED}, which is read as pixels to ignore" if IGNORED in trained else ""
        count = len(occurring) + (IGNORED in trained)
        return [f"{said}{last}; these look like grey levels of {count} classes: number them 0 to {count - 1}"]
    return [said]


def _classes(root: Path, values: frozenset[int], foreground: bool) -> tuple[str, ...]:
    path = root / _CLASSES
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
        return plain_text(path.read_bytes()).strip().splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; it must name the classes, one a line") from error


def _known(
    image: AnnotatedImage,
    values: frozenset[int],
    classes: tuple[str, ...],
    allowed: frozenset[int],
    problems: ProblemList,
) -> bool:
    strange = sorted(values - allowed)
    if strange:
        said = f"there are {len(classes)} classes, 0 to {len(classes) - 1} (and {IGNORED} for ignored pixels)"
        if allowed == {0, IGNORED}:
            said = "the training maps hold 0 and 255 alone"
        problems.note(image.map_file, "", f"the map holds value {strange[0]}: {said}", CATEGORY)
    return not strange
