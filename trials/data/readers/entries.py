"""Checks that every annotation format needs: numbers, names, boxes, and paths that stay in their folder."""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath

from trials.data.problems import MALFORMED, NO_AREA, OUTSIDE, BadEntry, quoted
from trials.data.survey import IMAGE_EXTENSIONS

Box = tuple[float, float, float, float]

_ROUNDING = 1.0  # pixels that a box may reach over the edge: annotation tools round; it is clipped
_DRIVE = re.compile("[A-Za-z]:")
_LONGEST_NAME = 100  # characters of a category's name


def as_integer(value: object, field: str) -> int:
    """An integer as it is; BadEntry for all else, for text that looks like one too."""
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


def image_name(value: object, field: str) -> str:
    """A relative path of an image file with forward slashes that does not leave its folder; BadEntry for all else."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BadEntry(f"{field} is {quoted(value)}: it must be the name of an image file", MALFORMED)
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or _DRIVE.match(value):
        raise BadEntry(f"{field} is {quoted(value)}: it must lie within the folder of images", MALFORMED)
    if path.suffix.lower() not in IMAGE_EXTENSIONS:
        raise BadEntry(f"{field} is {quoted(value)}: it must end with {', '.join(IMAGE_EXTENSIONS)}", MALFORMED)
    return path.as_posix()
