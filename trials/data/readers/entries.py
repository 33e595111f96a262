"""Checks that every annotation format needs: numbers, names, boxes, and paths that stay in their folder."""

from __future__ import annotations

import codecs
import math
import re
from pathlib import PurePosixPath

from trials.data.folders import IMAGE_EXTENSIONS, is_image
from trials.data.problems import MALFORMED, NO_AREA, OUTSIDE, BadEntry, quoted

Box = tuple[float, float, float, float]

_ROUNDING = 1.0  # pixels that a box may reach over the edge: annotation tools round; it is clipped
_AREA_SLACK = 1.2  # of the box's area: an object may have so much more, for boxes are rounded
_LARGER_THAN_UNSET = 4.0  # pixels: smaller boxes may have an area of 1
_DRIVE = re.compile("[A-Za-z]:")
_LONGEST_NAME = 100  # characters of a category's name


def as_integer(value: object, field: str) -> int:
    """An integer, also one written as 8.0; BadEntry for all else, for text that looks like one too."""
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:  # a bool is an int
        raise BadEntry(f"{field} is {quoted(value)}: it must be an integer", MALFORMED)
    return value


def as_number(value: object, field: str) -> float:
    """A finite number; BadEntry for all else."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadEntry(f"{field} is {quoted(value)}: it must be a finite number", MALFORMED)
    return number


def as_name(value: object, field: str) -> str:
    """A name of 1 to 100 printable characters, without the space around it."""
    name = value.strip() if isinstance(value, str) else ""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadEntry(f"{field} is {quoted(value)}: it must be a name of 1 to {_LONGEST_NAME} characters", MALFORMED)
    return name


def said_size(width: object, height: object) -> tuple[float, float] | None:
    """Height and width as numbers or text say them, such as `64`, `64.0` or `"64"`; None where one is not told: some
    tools leave it away or write 0. BadEntry for what is no number."""
    sides = [_side(side, field) for side, field in ((height, "height"), (width, "width"))]
    return None if 0 in sides else (sides[0], sides[1])


def _side(value: object, field: str) -> float:
    try:
        if value is None or isinstance(value, str):
            return as_number(float(value.strip() or 0) if value else 0, field)
    except ValueError as error:
        raise BadEntry(f"{field} is {quoted(value)}: it must be a finite number", MALFORMED) from error
    return as_number(value, field)


def is_believable(area: float, box: Box) -> bool:
    """Whether an object in that box may have that area in pixels: some tools write 0 or 1.0 into all of them."""
    size = (box[2] - box[0]) * (box[3] - box[1])
    unset = area == 0 or (area == 1 and size >= _LARGER_THAN_UNSET)
    return not unset and area <= size * _AREA_SLACK + _LARGER_THAN_UNSET


def clipped_box(box: Box, height: int, width: int) -> Box:
    """The box clipped to the image; BadEntry when it has no area or reaches more than a pixel over the edge."""
    left, top, right, bottom = box
    text = f"box [{left:g}, {top:g}, {right:g}, {bottom:g}] (left, top, right, bottom)"
    if right <= left or bottom <= top:
        raise BadEntry(f"{text} has no area", NO_AREA)
    if max(-left, -top, right - width, bottom - height) > _ROUNDING:
        raise BadEntry(f"{text} reaches outside its image of {width}x{height} pixels", OUTSIDE)
    clipped = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise BadEntry(f"{text} lies outside its image of {width}x{height} pixels", OUTSIDE)
    return clipped


def relative_name(value: object, field: str) -> str:
    """A relative path with forward slashes that does not leave its folder; BadEntry for all else."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadEntry(f"{field} is {quoted(value)}: it must be the name of an image file", MALFORMED)
    path = PurePosixPath(value.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(value):
        raise BadEntry(f"{field} is {quoted(value)}: it must lie within the folder of images", MALFORMED)
    return path.as_posix()


def check_ending(name: str, field: str) -> None:
    """BadEntry unless it is that of an image."""
    if not is_image(name):
        endings = ", ".join(IMAGE_EXTENSIONS[:9])
        raise BadEntry(f"{field} is {quoted(name)}: it must end with {endings} or another that is read", MALFORMED)


def plain_text(raw: bytes) -> str:
    """The text of a file as tools write it: UTF-8 or, with its mark at the start, UTF-16. ValueError for all else."""
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if marked else "utf-8").removeprefix("\ufeff")
