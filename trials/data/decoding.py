"""Decodes image files to uint8 arrays of one size and colour mode, in threads, through the cache."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trials.data.cache import Kept, Notes, cached
from trials.data.content import Images
from trials.data.folder import ImageFolder
from trials.data.unreadable import Unreadable, UnreadableImages

_LARGEST_NATIVE = 96  # pixels: larger images are resized unless a size is asked for
_RESIZED_SIDE = 64  # pixels
_SMALLEST_NATIVE = 8
_SAMPLE = 512  # images whose headers settle the native size and the colour mode
_CHUNK = 256  # images a task
_ANNOUNCE_EVERY_S = 3.0
_MOST_THREADS = 16
# Below this mean file size Python's own part of reading an image outweighs PIL's decoding, and threads only fight for
# the interpreter lock: 32x32 JPEGs took twice as long with two threads as with one; 96x96 ones (3.4 KB) gain.
_WORTH_THREADS_BYTES = 3000
_CACHE_VERSION = 2  # raise it when decoding changes, so that old entries are not used


Decoded = tuple[Images, list[Unreadable]]


@dataclass(frozen=True)
class ImageFormat:
    """The form every image of a folder is brought to: square `side` in pixels, PIL mode "L" or "RGB"."""

    side: int
    mode: str

    @property
    def channels(self) -> int:
        """1 for "L", 3 for "RGB"."""
        return 1 if self.mode == "L" else 3


def settle_format(folder: ImageFolder, image_size: int | None, announce: Callable[[str], None]) -> ImageFormat:
    """Choose size and mode from the headers of up to 512 images, spread evenly over the whole folder.

    Over the whole folder and not over the images chosen, so that the form does not change with the subset.
    The side is `image_size`; where that is None, the images' own when all are the same square of 8 to 96 pixels,
    else 64, which is announced. The mode is "L" when all are "L", else "RGB".
    An image that cannot be read is passed over: decoding names it. Raises DataError where none can be.
    """
    files = [name for listing in folder.splits.values() for name in listing.files]
    places = np.unique(np.linspace(0, len(files) - 1, num=min(_SAMPLE, len(files))).astype(np.int64))
    sizes, modes = set(), set()
    unreadable = []
    for place in places:
        path = folder.root / files[place]
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
                modes.add(image.mode)
        except Exception as error:  # PIL's decoders raise nearly anything on damaged files
            unreadable.append(Unreadable.of(int(place), path, error))
    if not sizes:
        raise UnreadableImages(unreadable)
    mode = "L" if modes == {"L"} else "RGB"
    if image_size is not None:
        return ImageFormat(image_size, mode)
    width, height = min(sizes)
    if len(sizes) == 1 and width == height and _SMALLEST_NATIVE <= width <= _LARGEST_NATIVE:
        return ImageFormat(width, mode)
    announce(
        f"images of {folder.root} are not all the same square of {_SMALLEST_NATIVE} to {_LARGEST_NATIVE} pixels: "
        f"their shorter side is resized to {_RESIZED_SIDE} and the centre is kept (image_size sets another size)"
    )
    return ImageFormat(_RESIZED_SIDE, mode)


def decode_files(
    root: Path, names: Sequence[str], form: ImageFormat, drop: bool, announce: Callable[[str], None]
) -> tuple[Kept, tuple[Unreadable, ...]]:
    """The images `names` (relative to `root`) in `form`, uint8 [N, C, side, side], from the cache where it has them.

    An image of another size has its shorter side resized (antialiased) and its centre kept; one of another mode
    is converted; orientation tags are not applied, as in torchvision's ImageFolder.
    The cache knows files by path, size and time of change, so that an edited image is decoded again.
    Files that cannot be read are left out with `drop`, and returned beside the images; there are none without.
    Raises UnreadableImages without; with `drop`, only where none can be read.
    """
    key, size_bytes = _survey(root, names, form)
    threads = thread_count() if size_bytes >= _WORTH_THREADS_BYTES * len(names) else 1
    paths = [root / name for name in names]
    kept = cached(key, lambda notes: _decoded_chunks(paths, form, drop, threads, notes, announce))
    unreadable = tuple(Unreadable(*one) for one in kept.notes["unreadable"])
    if unreadable and not drop:  # kept by a load that left them out
        raise UnreadableImages(unreadable)
    return kept, unreadable


def _survey(root: Path, names: Sequence[str], form: ImageFormat) -> tuple[str, int]:
    """The cache key of these files in this form, and their size in bytes together."""
    digest = hashlib.sha256(json.dumps([_CACHE_VERSION, str(root), form.side, form.mode]).encode())
    base, size_bytes = str(root), 0
    for name in names:
        try:
            status = os.stat(f"{base}/{name}")  # noqa: PTH116  a Path for each of a million files takes seconds
        except OSError:  # a broken link, which is answered when it is decoded
            digest.update(f"{name}\0missing\0".encode(errors="surrogateescape"))
            continue
        size_bytes += status.st_size
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32], size_bytes


def _decoded_chunks(
    paths: Sequence[Path], form: ImageFormat, drop: bool, threads: int, notes: Notes, announce: Callable[[str], None]
) -> Iterator[Images]:
    """Chunks [n, C, side, side] in the order of `paths`; PIL lets go of the interpreter lock while it decodes.

    What cannot be read is noted. All of it is looked for before it is refused, so that it can be mended at once.
    """
    done, last = 0, time.monotonic()
    unreadable: list[Unreadable] = []
    starts = range(0, len(paths), _CHUNK)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for chunk, bad in _in_order(pool, lambda start: _decode_chunk(paths, start, form), starts, 2 * threads):
            unreadable += bad
            if len(chunk) and (drop or not unreadable):
                yield chunk
            done += len(chunk) + len(bad)
            if time.monotonic() - last >= _ANNOUNCE_EVERY_S and done < len(paths):
                last = time.monotonic()
                announce(f"decoding images: {done:,} of {len(paths):,}")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # after an error the rest is not decoded in vain
    if unreadable and not (drop and len(unreadable) < len(paths)):
        raise UnreadableImages(unreadable)
    notes["unreadable"] = [astuple(one) for one in unreadable]


def _in_order(
    pool: ThreadPoolExecutor, decode: Callable[[int], Decoded], starts: Iterable[int], ahead: int
) -> Iterator[Decoded]:
    """As `pool.map`, but no more than `ahead` results wait to be taken: a slow disk must not fill the memory."""
    pending: deque[Future[Decoded]] = deque()
    for start in starts:
        pending.append(pool.submit(decode, start))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def thread_count() -> int:
    if hasattr(os, "sched_getaffinity"):  # the cores this process may use, not all there are
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)


def _decode_chunk(paths: Sequence[Path], start: int, form: ImageFormat) -> Decoded:
    part = paths[start : start + _CHUNK]
    out = np.empty((len(part), form.channels, form.side, form.side), dtype=np.uint8)
    unreadable: list[Unreadable] = []
    for place, path in enumerate(part):
        try:
            out[place - len(unreadable)] = decode_image(path, form)
        except Exception as error:  # PIL's decoders raise nearly anything on damaged files
            unreadable.append(Unreadable.of(start + place, path, error))
    return out[: len(part) - len(unreadable)], unreadable


def decode_image(path: Path, form: ImageFormat) -> Images:
    """One image file as uint8 [C, side, side]. Raises whatever PIL does for a file it cannot read."""
    with Image.open(path) as opened:
        # Large JPEGs are decoded at a fraction of their size, at least twice the side asked for: several times
        # faster, and the antialiased resize below still has pixels to average.
        opened.draft(None, (2 * form.side, 2 * form.side))
        image: Image.Image = opened
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"mode {image.mode} has more than 8 bits a pixel: convert it to 8-bit grey or RGB")
        if image.mode in ("P", "PA") and "transparency" in image.info:
            image = image.convert("RGBA")  # PIL warns when such a palette goes straight to RGB
        image = image.convert(form.mode)
        side = min(image.size)
        if image.size != (form.side, form.side):
            left, top = (image.width - side) / 2, (image.height - side) / 2
            # Crop and resize in one step: the same as resizing the shorter side and cropping the centre.
            box = (left, top, left + side, top + side)
            image = image.resize((form.side, form.side), Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if form.mode == "L" else pixels.transpose(2, 0, 1)
