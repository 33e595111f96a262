"""The files of an image folder as pixels of one form, through the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from trials.data.content import Images
from trials.data.decoding import ImageFormat, decode_image, in_threads, is_deep
from trials.data.disk_cache import EntryWriter, cached
from trials.data.pixels import Chunk, Notes, Pixels, cached_pixels
from trials.data.problems import DataRefused, Problem
from trials.data.readers.folder import ImageFolder
from trials.data.survey import FileStates, Header, files_key, read_headers, unreadable

_LARGEST_NATIVE = 96  # pixels: larger images are resized unless a size is asked for
_RESIZED_SIDE = 64  # pixels
_SMALLEST_NATIVE = 8
_FEW = 512  # images whose headers are read each time; those of more are read once for all processes
_SAMPLE = 16  # of more images, how many are looked at first: they often tell already what all together would
_CHUNK, _HEADERS = 256, 4096  # images a task
# Below this mean file size Python's own part of reading an image outweighs PIL's decoding, and threads only fight for
# the interpreter lock: 32x32 JPEGs took twice as long with two threads as with one; 96x96 ones (3.4 KB) gain.
_WORTH_THREADS_BYTES = 3000
_CACHE_VERSION = 5  # raise it when decoding changes, so that old entries are not used


class _Headers:
    """What the headers seen so far say of all images together."""

    def __init__(self) -> None:
        self.sizes: set[tuple[int, int]] = set()
        self.grey = True
        self.unreadable: list[Problem] = []

    def take(self, headers: Sequence[Header | Problem]) -> None:
        for header in headers:
            if isinstance(header, Problem):
                self.unreadable.append(header)
            elif len(self.sizes) < 2:
                self.sizes.add((header.width, header.height))
        modes = [header.mode for header in headers if isinstance(header, Header)]
        self.grey = self.grey and all(mode == "L" or is_deep(mode) for mode in modes)

    def native(self) -> int | None:
        """The side of the images, where all are the same small square; None where not."""
        if len(self.sizes) != 1:
            return None
        [(width, height)] = self.sizes
        return width if width == height and _SMALLEST_NATIVE <= width <= _LARGEST_NATIVE else None

    def are_decided(self, image_size: int | None) -> bool:
        """Whether no further header can change the form."""
        return not self.grey and bool(self.sizes) and (image_size is not None or self.native() is None)


def choose_format(
    folder: ImageFolder, image_size: int | None, announce: Callable[[str], None], states: FileStates | None = None
) -> ImageFormat:
    """Choose size and mode from the headers of the whole folder; they are read, and kept, until both are decided.

    Over the whole folder and not over the images chosen, so that the form does not change with the subset.
    The side is `image_size`; where that is None, the images' own when all are the same square of 8 to 96 pixels,
    else 64, which is announced. The mode is "L" when all are grey, of 8 or 16 bits, else "RGB".
    An image that cannot be read is passed over: decoding names it. Raises DataRefused where none can be.
    """
    files = [name for listing in folder.splits.values() for name in listing.files]
    looked_at = _SAMPLE if len(files) > _FEW else len(files)
    places = np.unique(np.linspace(0, len(files) - 1, num=looked_at).astype(np.int64))
    seen = _Headers()
    seen.take(read_headers(folder.root, [files[place] for place in places]))
    if len(files) > _FEW and not seen.are_decided(image_size):
        seen = _all_headers(folder.root, files, image_size, announce, states)
    if not seen.sizes:
        raise DataRefused(str(folder.root), seen.unreadable)
    mode = "L" if seen.grey else "RGB"
    if image_size is not None:
        return ImageFormat(image_size, mode)
    native = seen.native()
    if native is not None:
        return ImageFormat(native, mode)
    announce(
        f"images of {folder.root} are not all the same square of {_SMALLEST_NATIVE} to {_LARGEST_NATIVE} pixels: "
        f"their shorter side is resized to {_RESIZED_SIDE} and the centre is kept (image_size sets another size)"
    )
    return ImageFormat(_RESIZED_SIDE, mode)


def _all_headers(
    root: Path, files: Sequence[str], image_size: int | None, announce: Callable[[str], None], states: FileStates | None
) -> _Headers:
    """What all headers say, read once for all processes."""

    def write(entry: EntryWriter) -> None:
        seen = _Headers()

        def read(start: int, end: int) -> list[Header | Problem]:
            return read_headers(root, files[start:end])

        for headers in in_threads(read, len(files), _HEADERS, announce, "reading headers of images", 1):
            seen.take(headers)
            if seen.are_decided(image_size):
                break
        entry.notes |= {"grey": seen.grey, "sizes": sorted(seen.sizes)}
        entry.notes["unreadable"] = [astuple(problem) for problem in seen.unreadable]

    def holds(notes: Mapping[str, Any]) -> bool:
        failed = [problem[0] for problem in notes["unreadable"]]
        return all(isinstance(header, Problem) for header in read_headers(root, failed))

    key, _ = files_key([_CACHE_VERSION, "headers", image_size is None], root, files, states)
    notes = cached(f"headers-{key}", write, lambda entry: holds(entry.notes)).notes
    seen = _Headers()
    seen.grey, seen.sizes = bool(notes["grey"]), {(width, height) for width, height in notes["sizes"]}
    seen.unreadable = [Problem(*problem) for problem in notes["unreadable"]]
    return seen


def decode_files(
    root: Path,
    names: Sequence[str],
    form: ImageFormat,
    drop: bool,
    announce: Callable[[str], None],
    states: FileStates | None = None,
) -> tuple[Pixels, dict[int, Problem], list[int]]:
    """The images `names` (relative to `root`) in `form`, uint8 [N, C, side, side], from the cache where it has them.

    Files that cannot be read are left out with `drop`, and returned beside the images by their places in `names`; they
    are tried again with each load. The last are the places of those that were turned by their EXIF orientation; the
    `notes` of the images have under "deep" place and largest value of each that had 16 bits a pixel.
    Raises DataRefused without `drop`; with it, only where none can be read.
    """
    key, size_bytes = files_key([_CACHE_VERSION, form.side, form.mode], root, names, states)
    threads = None if size_bytes >= _WORTH_THREADS_BYTES * len(names) else 1

    def decoded(start: int, end: int) -> tuple[Images, dict[int, Problem], list[int], list[tuple[int, int]]]:
        out = np.empty((end - start, form.channels, form.side, form.side), dtype=np.uint8)
        bad: dict[int, Problem] = {}
        turned: list[int] = []
        deep: list[tuple[int, int]] = []
        for place in range(start, end):
            path = root / names[place]
            try:
                out[place - start - len(bad)], is_turned, peak = decode_image(path, form)
            except Exception as error:  # PIL's decoders raise nearly anything on damaged files
                bad[place] = unreadable(names[place], error, path)
            else:
                turned += [place] if is_turned else []
                deep += [] if peak is None else [(place, peak)]
        return out[: len(out) - len(bad)], bad, turned, deep

    def chunks(notes: Notes) -> Iterator[Chunk]:
        """All that cannot be read is looked for before it is refused, so that it can be mended at once."""
        found: dict[int, Problem] = {}
        notes["turned"], notes["deep"] = [], []
        for images, bad, turned, deep in in_threads(decoded, len(names), _CHUNK, announce, "decoding images", threads):
            found |= bad
            notes["turned"] += turned
            notes["deep"] += deep
            if len(images) and (drop or not found):
                yield images, None
        if found and not (drop and len(found) < len(names)):
            raise DataRefused(str(root), list(found.values()))
        notes["unreadable"] = [[place, *astuple(problem)] for place, problem in found.items()]

    def holds(notes: Mapping[str, Any]) -> bool:
        return all(place in decoded(place, place + 1)[1] for place, *_ in notes["unreadable"])

    pixels = cached_pixels(key, chunks, holds)
    left_out = {place: Problem(*problem) for place, *problem in pixels.notes["unreadable"]}
    if left_out and not drop:  # kept by a load that left them out
        raise DataRefused(str(root), list(left_out.values()))
    return pixels, left_out, pixels.notes["turned"]
