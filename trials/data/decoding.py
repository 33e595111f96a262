"""Decodes image files to uint8 arrays, in threads and in order.

16-bit grey is brought to 8 bits, 65,535 to 255: PIL's own conversion clips it. Depths whose scale no file tells
(floats, 32 bits) are refused. `nas.export.standalone` does the same with an image that is given to an exported network.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from trials.cores import cores
from trials.data.content import Images
from trials.data.orientation import AS_IT_LIES, is_mapped_wrongly, orientation_of, turned, turned_size

T = TypeVar("T")

_ANNOUNCE_EVERY_S = 3.0
_MOST_THREADS = 16
_DRAFTED = ("JPEG", "MPO")
_WHOLE_16_BITS = ("PNG", "PPM")  # formats of which PIL's mode "I" is 16-bit grey, and not 32 bits or signed ones
_PER_LEVEL = 257  # 16-bit values a level of 8 bits: 65,535 / 255
_LASTING = (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class ImageFormat:
    """The form every image of a folder is brought to: square `side` in pixels, PIL mode "L" or "RGB"."""

    side: int
    mode: str

    @property
    def channels(self) -> int:
        """1 for "L", 3 for "RGB"."""
        return 1 if self.mode == "L" else 3


def in_threads(
    work: Callable[[int, int], T],
    count: int,
    chunk: int,
    announce: Callable[[str], None],
    doing: str,
    threads: int | None = None,
) -> Iterator[T]:
    """`work(start, end)` of every `chunk` of `count` files, in order; PIL lets go of the interpreter lock meanwhile.

    No more than two results a thread wait to be taken: a slow disk must not fill the memory. After an error the rest is
    not worked on in vain. How far it is, is announced now and then, as `doing`.
    threads: those of the cores this process may use when None.
    """
    threads = threads or thread_count()
    pending: deque[tuple[int, Future[T]]] = deque()
    last = time.monotonic()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for start in range(0, count, chunk):
            end = min(start + chunk, count)
            pending.append((end, pool.submit(work, start, end)))
            while pending and (len(pending) > 2 * threads or end == count):
                done, result = pending.popleft()
                yield result.result()
                if time.monotonic() - last >= _ANNOUNCE_EVERY_S and done < count:
                    last = time.monotonic()
                    announce(f"{doing}: {done:,} of {count:,}")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def thread_count() -> int:
    """The cores this process may use, and not all there are; 16 at most."""
    return min(cores(), _MOST_THREADS)


class Decoded(NamedTuple):
    """An image as uint8 [C, side, side]; whether it was turned as its EXIF orientation says; the largest value of an
    image of 16 bits a pixel, which are brought to 8, and None of any other."""

    pixels: Images
    is_turned: bool
    peak: int | None


def decode_image(path: Path, form: ImageFormat) -> Decoded:
    """One image file, square at the side of `form`.

    Its shorter side is resized (antialiased), its centre kept. Raises whatever PIL does for a file it cannot read.
    """
    image, orientation, peak = _opened(path, (form.side, form.side), form.mode)
    side = min(image.size)
    if image.size != (form.side, form.side):
        left, top = (image.width - side) / 2, (image.height - side) / 2
        # Crop and resize in one step: the same as resizing the shorter side and cropping the centre.
        box = (left, top, left + side, top + side)
        image = image.resize((form.side, form.side), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(turned(image, orientation), dtype=np.uint8)
    pixels = pixels[None] if form.mode == "L" else pixels.transpose(2, 0, 1)
    return Decoded(pixels, orientation != AS_IT_LIES, peak)


def decode_fitted(path: Path, width: int, height: int) -> Images:
    """One image file as uint8 [3, height, width], all of it, turned as its EXIF orientation says and resized
    antialiased. Raises as `decode_image` does."""
    image, orientation, _ = _opened(path, (width, height), "RGB")
    lying = turned_size(height, width, orientation)[::-1]
    image = turned(image.resize(lying, Image.Resampling.BILINEAR), orientation)
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)


def is_deep(mode: str) -> bool:
    """Whether images of this PIL mode are grey of more than 8 bits a pixel."""
    return mode.startswith("I")


def check_depth(image: Image.Image) -> None:
    """Raise ValueError for more than 8 bits a pixel where it is not known what is white; in 16-bit grey 65,535 is."""
    if image.mode.startswith("F") or (image.mode == "I" and image.format not in _WHOLE_16_BITS):
        raise ValueError(
            f"mode {image.mode} has more than 8 bits a pixel and no scale of its own: convert it to grey of 8 or 16 "
            "bits, or RGB"
        )


def peak_of(image: Image.Image) -> int | None:
    """The largest value of an image of 16 bits a pixel; None of any other."""
    if not is_deep(image.mode):
        return None
    _, largest = image.convert("I").getextrema()  # PIL has none of 16 bits in the other order
    assert isinstance(largest, (int, float))
    return int(largest)


def _at_8_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image as "L", value / 257 rounded; any other as it is."""
    if not is_deep(image.mode):
        return image
    return image.convert("I").point(lambda value: value * (1 / _PER_LEVEL) + 0.5).convert("L")


def again(read: Callable[[], T]) -> T:
    """What `read` returns; a second time where the system, and not the file, failed it: networks and disks do."""
    try:
        return read()
    except OSError as error:
        if error.errno is None or error.errno in _LASTING:
            raise
        return read()


def _opened(path: Path, size: tuple[int, int], mode: str) -> tuple[Image.Image, int, int | None]:
    """The image as it lies, decoded at no less than twice `size` (width, height, as it is seen), in `mode`; its
    orientation; its `peak_of`."""
    return again(lambda: _open(path, size, mode))


def _open(path: Path, size: tuple[int, int], mode: str) -> tuple[Image.Image, int, int | None]:
    with Image.open(path) as opened:
        if opened.format in _DRAFTED:
            # Large JPEGs are decoded at a fraction of their size, at least twice the side asked for: several times
            # faster, and the antialiased resize afterwards still has pixels to average.
            lying = turned_size(size[1], size[0], orientation_of(opened))
            opened.draft(None, (2 * lying[1], 2 * lying[0]))
        image: Image.Image = opened
        check_depth(opened)
        if is_mapped_wrongly(opened):
            opened.filename = ""
        opened.load()
        orientation = orientation_of(opened)  # after loading: PIL turns TIFFs itself, and PNGs may say it last
        if image.mode in ("P", "PA") and "transparency" in image.info:
            image = image.convert("RGBA")  # PIL warns when such a palette goes straight to RGB
        peak = peak_of(image)
        image = _at_8_bits(image).convert(mode)
        return image, orientation, peak
