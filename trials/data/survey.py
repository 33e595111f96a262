"""What files a data set has, and what they hold: the state by which the cache knows them, headers, and contents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from trials.data.config import LARGEST_STRIDE, DataError
from trials.data.decoding import check_mode, in_threads
from trials.data.problems import MISSING, SIZE, UNREADABLE, BadEntry, Problem, reason_of

_MOST_PIXELS = 80_000_000  # below PIL's own limit, which warns first and raises at twice that
_CHUNK = 64  # images a task

# torchvision.datasets.folder.IMG_EXTENSIONS, written out so that listing a folder does not import torch;
# a test holds the two together.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: its size in pixels, and PIL's mode."""

    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class Picture:
    """An image file that can be decoded: its size in pixels, the digest of its bytes, and PIL's mode."""

    height: int
    width: int
    digest: str
    mode: str


def find_root(folder: str, form: str) -> Path:
    """The resolved folder; DataError where there is none. form: "coco:FOLDER" or the like, for the message."""
    try:
        root = Path(folder).expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"folder {folder!r} does not exist: {form} needs one that does") from error
    if not root.is_dir():
        raise DataError(f"{folder!r} is a file: {form} needs a folder")
    return root


def files_key(decides: object, root: Path, names: Iterable[str]) -> tuple[str, int]:
    """A cache key of what was made by `decides` (JSON) of the files `names` of `root`, and their bytes together.

    It changes with a file's path, size or time of change, so that an edited file is read again.
    """
    digest = hashlib.sha256(json.dumps([decides, str(root)]).encode())
    base, size_bytes = str(root), 0
    for name in names:
        try:
            status = os.stat(f"{base}/{name}")  # noqa: PTH116  a Path for each of a million files takes seconds
        except OSError:  # a broken link: said when it is read
            digest.update(f"{name}\0missing\0".encode(errors="surrogateescape"))
            continue
        size_bytes += status.st_size
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32], size_bytes


def walk(root: Path) -> Iterator[str]:
    """All files of a folder by name, relative to it, in order; hidden folders are passed over."""

    def unlisted(error: OSError) -> None:
        raise DataError(f"cannot list {error.filename}: {error.strerror}") from error

    start = len(str(root)) + 1
    for folder, folders, files in os.walk(root, followlinks=True, onerror=unlisted):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (f"{folder}/{name}"[start:] for name in sorted(files))


def contained(root: Path, file: str) -> Path:
    """The file of `root` (resolved); BadEntry when it is missing, or a link that leads out of `root`."""
    try:
        path = (root / file).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise BadEntry("the file is missing", MISSING) from error
    if not path.is_relative_to(root):
        raise BadEntry(f"it is a link out of {root}: such links are not followed, copy it there", MISSING)
    if not path.is_file():
        raise BadEntry("it is a folder and not an image", MISSING)
    return path


def read_headers(root: Path, names: Iterable[str]) -> list[Header | Problem]:
    """What the headers of files say, or why they cannot be read."""
    headers: list[Header | Problem] = []
    for name in names:
        path = root / name
        try:
            with Image.open(path) as image:
                headers.append(Header(*image.size, image.mode))
        except Exception as error:  # PIL's decoders raise nearly anything on damaged files
            headers.append(unreadable(name, error, path))
    return headers


def unreadable(name: str, error: Exception, path: Path) -> Problem:
    """The problem of an image file `name` that cannot be read."""
    return Problem(name, "", reason_of(error, path), UNREADABLE)


def inspect_images(root: Path, files: Sequence[str], announce: Callable[[str], None]) -> dict[str, Picture | BadEntry]:
    """What is to be known of each file of `root`, or why it cannot be used; every file is decoded once, in threads."""
    names = list(dict.fromkeys(files))

    def inspected(start: int, end: int) -> list[Picture | BadEntry]:
        return [_inspected(root, name) for name in names[start:end]]

    parts = in_threads(inspected, len(names), _CHUNK, announce, "checking images")
    return dict(zip(names, (one for part in parts for one in part), strict=True))


def _inspected(root: Path, file: str) -> Picture | BadEntry:
    try:
        return _inspect(contained(root, file))
    except BadEntry as bad:
        return bad


def _inspect(path: Path) -> Picture:
    try:
        raw = path.read_bytes()
        with Image.open(BytesIO(raw)) as image:
            width, height = image.size
            mode = image.mode
            if width * height <= _MOST_PIXELS:
                image.draft(None, (width // 8, height // 8))  # JPEGs at an eighth: all of the stream is read still
                image.load()
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        raise BadEntry(f"the image cannot be decoded ({reason_of(error, path)})", UNREADABLE) from error
    if width * height > _MOST_PIXELS:
        raise BadEntry(f"the image has {width}x{height} pixels: at most {_MOST_PIXELS:,} are read", SIZE)
    try:
        check_mode(mode)
    except ValueError as error:
        raise BadEntry(str(error), UNREADABLE) from error
    if min(width, height) < LARGEST_STRIDE:
        raise BadEntry(
            f"the image has {width}x{height} pixels: smaller than {LARGEST_STRIDE}, the largest stride of the networks",
            SIZE,
        )
    return Picture(height, width, hashlib.sha256(raw).hexdigest()[:32], mode)
