"""The EXIF orientation of a photograph: how it is to be turned, applied alike to pixels, boxes and masks.

Cameras write pixels as the sensor lies, and say beside them how to turn them. Annotations are of the turned image in
most tools, and of the pixels as they lie in some: the size that they say tells which.
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AS_IT_LIES = 1
_TAG = 0x0112
_TRANSPOSING = (5, 6, 7, 8)  # height and width change places

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
_Image = TypeVar("_Image", bound=Image.Image)

_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """1 to 8, as EXIF numbers them; 1 where nothing, or nothing that can be read, is said."""
    try:
        value = image.getexif().get(_TAG, AS_IT_LIES)
    except Exception:  # EXIF is often damaged, while the pixels are whole
        return AS_IT_LIES
    return value if value in _METHODS else AS_IT_LIES


def is_mapped_wrongly(image: Image.Image) -> bool:
    """Whether PIL, as it loads the image, would map its file in the shape that it only gets by turning: uncompressed
    TIFFs that are to be turned by a quarter come out as stripes. Without a `filename` they are read."""
    return image.format == "TIFF" and orientation_of(image) in _TRANSPOSING


def turned(image: _Image, orientation: int) -> _Image:
    """The image as it is to be seen; itself where nothing is to be done."""
    method = _METHODS.get(orientation)
    return image if method is None else cast(_Image, image.transpose(method))


def turned_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Height and width as it is to be seen."""
    return (width, height) if orientation in _TRANSPOSING else (height, width)


def turned_mask(mask: Pixels, orientation: int) -> Pixels:
    """A mask [H, W] of pixels as they lie, as it is to be seen."""
    return mask if orientation not in _METHODS else np.asarray(turned(Image.fromarray(mask), orientation))


def turned_box(box: Box, height: int, width: int, orientation: int) -> Box:
    """A box (left, top, right, bottom) in an image that lies as [height, width], as it is to be seen."""
    left, top, right, bottom = box
    if orientation in (2, 3):
        left, right = width - right, width - left
    if orientation in (3, 4):
        top, bottom = height - bottom, height - top
    if orientation in (6, 7):
        top, bottom = height - bottom, height - top
    if orientation in (7, 8):
        left, right = width - right, width - left
    return (top, left, bottom, right) if orientation in _TRANSPOSING else (left, top, right, bottom)
