"""Masks as COCO writes them, polygons and run lengths, checked before COCO's C code sees them.

A mask is kept as its *compressed run lengths*: the alternating lengths of runs of 0 and 1 down the columns, five bits
a character (Microsoft COCO, `cocoapi/common/maskApi.c`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trials.data.orientation import AS_IT_LIES, turned_mask
from trials.data.problems import MASK, BadEntry, quoted

Mask = NDArray[np.uint8]

_ROUNDING = 2.0  # pixels that a polygon's corner may lie outside the image; it is moved to the edge
_FEWEST_NUMBERS = 6  # three corners; COCO's code would read four numbers as a box


def mask_counts(segmentation: object, height: int, width: int) -> bytes:
    """The compressed run lengths of a `segmentation`, a list of polygons or run lengths, for an image of that size.

    Raises BadEntry when it is neither, is of another size, or holds no pixel.
    """
    if isinstance(segmentation, list) and segmentation:
        polygons = [_polygon(part, height, width) for part in segmentation]
        api = _api()
        counts = cast(bytes, api.merge(api.frPyObjects(polygons, height, width))["counts"])
    elif isinstance(segmentation, dict):
        counts = _run_lengths(segmentation, height, width)
    else:
        raise BadEntry(f"segmentation is {quoted(segmentation)}: polygons or run lengths are needed", MASK)
    if not area(counts, height, width):
        raise BadEntry("segmentation holds no pixel", MASK)
    return counts


def area(counts: bytes, height: int, width: int) -> int:
    """How many pixels the mask holds."""
    return int(_api().area({"size": [height, width], "counts": counts}))


def decode(counts: bytes, height: int, width: int) -> Mask:
    """The mask, uint8 [height, width] of 0 and 1."""
    return cast(Mask, _api().decode({"size": [height, width], "counts": counts}))


def turned_counts(counts: bytes, height: int, width: int, orientation: int) -> bytes:
    """The run lengths of a mask of that size, which lies as its image does in the file, as it is to be seen."""
    if orientation == AS_IT_LIES:
        return counts
    mask = turned_mask(decode(counts, height, width), orientation)
    return cast(bytes, _api().encode(np.asfortranarray(mask))["counts"])


def _polygon(numbers: object, height: int, width: int) -> list[float]:
    """x, y, x, y, … within the image; COCO's code walks along every edge, so that a far corner would take for ever."""
    if not isinstance(numbers, list) or len(numbers) < _FEWEST_NUMBERS or len(numbers) % 2:
        raise BadEntry(f"polygon is {quoted(numbers)}: it must be a list x, y, x, y, … of at least 3 corners", MASK)
    settled = []
    for place, number in enumerate(numbers):
        limit = (width, height)[place % 2]
        if type(number) not in (int, float) or not -_ROUNDING <= number <= limit + _ROUNDING:  # NaN fails too
            raise BadEntry(f"polygon has a corner at {quoted(number)}: outside its image of {width}x{height}", MASK)
        settled.append(min(max(float(number), 0.0), float(limit)))
    return settled


def _run_lengths(given: dict[str, Any], height: int, width: int) -> bytes:
    size, counts = given.get("size"), given.get("counts")
    if size != [height, width]:
        raise BadEntry(f"run lengths are of size {quoted(size)}: the image has [{height}, {width}]", MASK)
    if isinstance(counts, str):
        lengths: Sequence[object] = _expand(counts)
    elif isinstance(counts, list):
        lengths = counts
    else:
        raise BadEntry(f"counts is {quoted(counts)}: it must be a list of run lengths or their compressed text", MASK)
    if not all(type(length) is int and length >= 0 for length in lengths):
        raise BadEntry(f"counts {quoted(counts)} hold a run length that is no whole number from 0", MASK)
    total = sum(cast(Sequence[int], lengths))
    if total != height * width:
        raise BadEntry(f"run lengths cover {total} pixels: the image has {height}x{width} = {height * width}", MASK)
    # Compressed again even if they came so: the bytes that are kept are those of the library and not of a stranger.
    written = _api().frPyObjects({"size": [height, width], "counts": list(lengths)}, height, width)
    return cast(bytes, written["counts"])


def _expand(text: str) -> list[int]:
    """The run lengths in COCO's compressed text (`rleFrString`): five bits a character, from the third on as
    differences to the one before the last. COCO's code does not notice a text that ends in mid-number."""
    lengths: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        while True:
            digit = ord(text[place]) - 48 if place < len(text) else -1
            if not 0 <= digit < 64 or shift > 60:
                raise BadEntry(f"counts {quoted(text)} are no compressed run lengths", MASK)
            value |= (digit & 31) << shift
            place, shift = place + 1, shift + 5
            if not digit & 32:
                break
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
    return lengths


def _api() -> Any:
    """The mask functions of COCO's own C code, imported only where masks are: boxes alone do without."""
    from faster_coco_eval.core import mask

    return mask
