"""What files a data set has, and what they hold: the state by which the cache knows them, headers, and contents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from trials.data.config import LARGEST_STRIDE, DataError
from trials.data.decoding import again, check_depth, in_threads, peak_of
from trials.data.folders import is_image, look_through
from trials.data.orientation import AS_IT_LIES, orientation_of, turned_size
from trials.data.problems import MISSING, SIZE, UNREADABLE, BadEntry, Problem, reason_of

_MOST_PIXELS = 80_000_000  # below PIL's own limit, which warns first and raises at twice that
_CHUNK = 64  # images a task


@dataclass(frozen=True)
class Header:
    """What an image file says of itself: its size in pixels, and PIL's mode."""

    width: int
    height: int
    mode: str


@dataclass(frozen=True)
class Picture:
    """An image file that can be decoded: its size in pixels as it is to be seen, the digest of its bytes, PIL's mode,
    its EXIF orientation, and the largest value of one of 16 bits a pixel (None of any other)."""

    height: int
    width: int
    digest: str
    mode: str
    orientation: int = AS_IT_LIES
    peak: int | None = None

    @property
    def lying(self) -> tuple[int, int]:
        """Height and width of the pixels as they lie in the file."""
        return turned_size(self.height, self.width, self.orientation)

    def is_annotated_lying(self, said: tuple[float, float] | None) -> bool:
        """Whether annotations that say their image has that size (height, width; None: nothing is said) are of the
        pixels as they lie in the file and not as they are to be seen. Where it does not tell, they are.

        Raises BadEntry where the image has another size.
        """
        if said is None or said == self.lying:
            return True
        if said != (self.height, self.width):
            raise BadEntry(f"the file has {self.width}x{self.height} pixels", SIZE)
        return False


def find_root(folder: str, form: str) -> Path:
    """The resolved folder; DataError where there is none. form: "coco:FOLDER" or the like, for the message."""
    try:
        root = Path(folder).expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"folder {folder!r} does not exist: {form} needs one that does") from error
    if not root.is_dir():
        raise DataError(f"{folder!r} is a file: {form} needs a folder")
    return root


class FileStates(dict[str, tuple[int, bytes]]):
    """Size in bytes of the files of a folder, by name, and what a key has of their state.

    Each is asked for once: to ask for those of a million files takes seconds.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._base = str(root)

    def __missing__(self, name: str) -> tuple[int, bytes]:
        try:
            status = os.stat(f"{self._base}/{name}")  # noqa: PTH116  a Path for each of them takes as long again
        except OSError:  # a broken link: said when it is read
            state = (0, f"{name}\0missing\0".encode(errors="surrogateescape"))
        else:
            text = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0"
            state = (status.st_size, text.encode(errors="surrogateescape"))
        self[name] = state
        return state


def files_key(decides: object, root: Path, names: Iterable[str], states: FileStates | None = None) -> tuple[str, int]:
    """A cache key of what was made by `decides` (JSON) of the files `names` of `root`, and their bytes together.

    It changes with a file's path, size or time of change, so that an edited file is read again.
    states: of this folder, where they are asked for more than once.
    """
    states = FileStates(root) if states is None else states
    there = [states[name] for name in names]
    digest = hashlib.sha256(json.dumps([decides, str(root)]).encode())
    digest.update(b"".join(line for _, line in there))
    return digest.hexdigest()[:32], sum(size for size, _ in there)


def walk(root: Path) -> tuple[str, ...]:
    """The files of a folder that may be read, by name, relative to it, in order; see `trials.data.folders`."""
    return look_through(root).files


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
            headers.append(again(partial(_read_header, path)))
        except Exception as error:  # PIL's decoders raise nearly anything on damaged files
            headers.append(unreadable(name, error, path))
    return headers


def _read_header(path: Path) -> Header:
    with Image.open(path) as image:
        return Header(*image.size, image.mode)


def unreadable(name: str, error: Exception, path: Path) -> Problem:
    """The problem of an image file `name` that cannot be read."""
    return Problem(name, "", reason_of(error, path), UNREADABLE)


def inspect_images(
    root: Path, files: Sequence[str], announce: Callable[[str], None], maps: Collection[str] = ()
) -> dict[str, Picture | BadEntry]:
    """What is to be known of each file of `root`, or why it cannot be used; every file is decoded once, in threads.

    maps: those of the files whose values are labels, and have no scale.
    """
    names = list(dict.fromkeys(files))

    def inspected(start: int, end: int) -> list[Picture | BadEntry]:
        return [_inspected(root, name, name in maps) for name in names[start:end]]

    parts = in_threads(inspected, len(names), _CHUNK, announce, "checking images")
    return dict(zip(names, (one for part in parts for one in part), strict=True))


def still_bad(root: Path, files: Iterable[str]) -> bool:
    """Whether none of these can be read now: what could not be read once may have been mended since, or have been
    out of reach, and neither shows in a file's state."""
    return not any(_is_readable(root, file) for file in files)


def _is_readable(root: Path, file: str) -> bool:
    if is_image(file):
        return not isinstance(_inspected(root, file), BadEntry)
    try:
        return bool((root / file).read_bytes())
    except OSError:
        return False


def _inspected(root: Path, file: str, is_map: bool = False) -> Picture | BadEntry:
    try:
        return _inspect(contained(root, file), is_map)
    except BadEntry as bad:
        return bad


def _inspect(path: Path, is_map: bool = False) -> Picture:
    peak = None
    try:
        raw = again(path.read_bytes)
        with Image.open(BytesIO(raw)) as image:
            width, height = image.size
            mode = image.mode
            orientation = AS_IT_LIES
            if not is_map:
                check_depth(image)
            if width * height <= _MOST_PIXELS:
                image.draft(None, (width // 8, height // 8))  # JPEGs at an eighth: all of the stream is read still
                image.load()
                orientation = orientation_of(image)
                peak = None if is_map else peak_of(image)
    except Exception as error:  # PIL's decoders raise nearly anything on damaged files
        raise BadEntry(f"the image cannot be decoded ({reason_of(error, path)})", UNREADABLE) from error
    if width * height > _MOST_PIXELS:
        raise BadEntry(f"the image has {width}x{height} pixels: at most {_MOST_PIXELS:,} are read", SIZE)
    if min(width, height) < LARGEST_STRIDE:
        raise BadEntry(
            f"the image has {width}x{height} pixels: smaller than {LARGEST_STRIDE}, the largest stride of the networks",
            SIZE,
        )
    seen = turned_size(height, width, orientation)
    return Picture(*seen, hashlib.sha256(raw).hexdigest()[:32], mode, orientation, peak)
