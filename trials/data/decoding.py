"""Decodes image files to uint8 arrays, in threads and in order."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from trials.data.content import Images
from trials.data.orientation import AS_IT_LIES, orientation_of, turned, turned_size

T = TypeVar("T")

_ANNOUNCE_EVERY_S = 3.0
_MOST_THREADS = 16
_DRAFTED = ("JPEG", "MPO")
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
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)


def decode_image(path: Path, form: ImageFormat) -> tuple[Images, bool]:
    """One image file as uint8 [C, side, side], and whether it was turned as its EXIF orientation says.

    Its shorter side is resized (antialiased), its centre kept. Raises whatever PIL does for a file it cannot read.
    """
    image, orientation = _opened(path, (form.side, form.side), form.mode)
    side = min(image.size)
    if image.size != (form.side, form.side):
        left, top = (image.width - side) / 2, (image.height - side) / 2
        # Crop and resize in one step: the same as resizing the shorter side and cropping the centre.
        box = (left, top, left + side, top + side)
        image = image.resize((form.side, form.side), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(turned(image, orientation), dtype=np.uint8)
    return pixels[None] if form.mode == "L" else pixels.transpose(2, 0, 1), orientation != AS_IT_LIES


def decode_fitted(path: Path, width: int, height: int) -> Images:
    """One image file as uint8 [3, height, width], all of it, turned as its EXIF orientation says and resized
    antialiased. Raises as `decode_image` does."""
    image, orientation = _opened(path, (width, height), "RGB")
    lying = turned_size(height, width, orientation)[::-1]
    image = turned(image.resize(lying, Image.Resampling.BILINEAR), orientation)
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)


def check_mode(mode: str) -> None:
    """Raise ValueError for more than 8 bits a pixel: PIL would clip them silently."""
    if mode.startswith(("I", "F")):
        raise ValueError(f"mode {mode} has more than 8 bits a pixel: convert it to 8-bit grey or RGB")


def again(read: Callable[[], T]) -> T:
    """What `read` returns; a second time where the system, and not the file, failed it: networks and disks do."""
    try:
        return read()
    except OSError as error:
        if error.errno is None or error.errno in _LASTING:
            raise
        return read()


def _opened(path: Path, size: tuple[int, int], mode: str) -> tuple[Image.Image, int]:
    """The image as it lies, decoded at no less than twice `size` (width, height, as it is seen), in `mode`; its
    orientation."""
    return again(lambda: _open(path, size, mode))


def _open(path: Path, size: tuple[int, int], mode: str) -> tuple[Image.Image, int]:
    with Image.open(path) as opened:
        if opened.format in _DRAFTED:
            # Large JPEGs are decoded at a fraction of their size, at least twice the side asked for: several times
            # faster, and the antialiased resize afterwards still has pixels to average.
            lying = turned_size(size[1], size[0], orientation_of(opened))
            opened.draft(None, (2 * lying[1], 2 * lying[0]))
        image: Image.Image = opened
        check_mode(image.mode)
        opened.load()
        orientation = orientation_of(opened)  # after loading: PIL turns TIFFs itself, and PNGs may say it last
        if image.mode in ("P", "PA") and "transparency" in image.info:
            image = image.convert("RGBA")  # PIL warns when such a palette goes straight to RGB
        image = image.convert(mode)
        return image, orientation
