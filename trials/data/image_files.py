"""The files of an image folder as pixels of one form, through the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from trials.data.content import Images
from trials.data.decoding import ImageFormat, decode_image, in_threads
from trials.data.pixels import Chunk, Notes, Pixels, cached_pixels
from trials.data.problems import DataRefused, Problem
from trials.data.readers.folder import ImageFolder
from trials.data.survey import Header, files_key, read_headers, unreadable

_LARGEST_NATIVE = 96  # pixels: larger images are resized unless a size is asked for
_RESIZED_SIDE = 64  # pixels
_SMALLEST_NATIVE = 8
_SAMPLE = 512  # images whose headers decide the native size and the colour mode
_CHUNK = 256  # images a task
# Below this mean file size Python's own part of reading an image outweighs PIL's decoding, and threads only fight for
# the interpreter lock: 32x32 JPEGs took twice as long with two threads as with one; 96x96 ones (3.4 KB) gain.
_WORTH_THREADS_BYTES = 3000
_CACHE_VERSION = 3  # raise it when decoding changes, so that old entries are not used


def choose_format(folder: ImageFolder, image_size: int | None, announce: Callable[[str], None]) -> ImageFormat:
    """Choose size and mode from the headers of up to 512 images, spread evenly over the whole folder.

    Over the whole folder and not over the images chosen, so that the form does not change with the subset.
    The side is `image_size`; where that is None, the images' own when all are the same square of 8 to 96 pixels,
    else 64, which is announced. The mode is "L" when all are "L", else "RGB".
    An image that cannot be read is passed over: decoding names it. Raises DataRefused where none can be.
    """
    files = [name for listing in folder.splits.values() for name in listing.files]
    places = np.unique(np.linspace(0, len(files) - 1, num=min(_SAMPLE, len(files))).astype(np.int64))
    found = read_headers(folder.root, [files[place] for place in places])
    headers = [header for header in found if isinstance(header, Header)]
    if not headers:
        raise DataRefused(str(folder.root), [problem for problem in found if isinstance(problem, Problem)])
    mode = "L" if {header.mode for header in headers} == {"L"} else "RGB"
    if image_size is not None:
        return ImageFormat(image_size, mode)
    sizes = {(header.width, header.height) for header in headers}
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
) -> tuple[Pixels, dict[int, Problem]]:
    """The images `names` (relative to `root`) in `form`, uint8 [N, C, side, side], from the cache where it has them.

    Files that cannot be read are left out with `drop`, and returned beside the images by their places in `names`.
    Raises DataRefused without; with `drop`, only where none can be read.
    """
    key, size_bytes = files_key([_CACHE_VERSION, form.side, form.mode], root, names)
    threads = None if size_bytes >= _WORTH_THREADS_BYTES * len(names) else 1

    def decoded(start: int, end: int) -> tuple[Images, dict[int, Problem]]:
        out = np.empty((end - start, form.channels, form.side, form.side), dtype=np.uint8)
        bad: dict[int, Problem] = {}
        for place in range(start, end):
            path = root / names[place]
            try:
                out[place - start - len(bad)] = decode_image(path, form)
            except Exception as error:  # PIL's decoders raise nearly anything on damaged files
                bad[place] = unreadable(names[place], error, path)
        return out[: len(out) - len(bad)], bad

    def chunks(notes: Notes) -> Iterator[Chunk]:
        """All that cannot be read is looked for before it is refused, so that it can be mended at once."""
        found: dict[int, Problem] = {}
        for images, bad in in_threads(decoded, len(names), _CHUNK, announce, "decoding images", threads):
            found |= bad
            if len(images) and (drop or not found):
                yield images, None
        if found and not (drop and len(found) < len(names)):
            raise DataRefused(str(root), list(found.values()))
        notes["unreadable"] = [[place, *astuple(problem)] for place, problem in found.items()]

    pixels = cached_pixels(key, chunks)
    left_out = {place: Problem(*problem) for place, *problem in pixels.notes["unreadable"]}
    if left_out and not drop:  # kept by a load that left them out
        raise DataRefused(str(root), list(left_out.values()))
    return pixels, left_out
