"""What lies in a user's folder: files that may be read, and all others by the reason why they are not.

Nothing is passed over without a word: each file below a folder is either in `Contents.files` or under a reason.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from trials.data.config import DataError
from trials.data.disk_cache import cache_root

# What torchvision.datasets.folder.IMG_EXTENSIONS has, written out so that listing a folder does not import torch (a
# test holds the two together), and further ones that Pillow reads. An ending says nothing of the content: it is read
# whatever it is.
IMAGE_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
    ".jfif", ".jpe", ".mpo", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc", ".gif", ".avif", ".avifs", ".apng",
    ".pbm", ".pnm", ".dib", ".tga", ".pcx", ".ico", ".sgi", ".ras", ".qoi", ".psd", ".dds", ".xbm", ".xpm", ".msp",
)  # fmt: skip

HIDDEN = "hidden"
DROPPING = "left there by macOS, Windows or another program"
LINK = "a link that leads out of the folder, in a circle or nowhere"
RUN = "of a run of fusion-nas"
SPECIAL = "neither file nor folder"
PLACE = "an image outside the folders that are read"
UNLABELLED = "a test image without the folder of its class"
UNNAMED = "an image that no annotation names"

SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_SET = re.compile(r"[ _-]?set$")

_RECORD = "study.db"  # trials.record.file.FILE_NAME, which stands above this room: what makes a folder a run
# Programs that look at folders leave their own there, images among them: thumbnails and copies.
_DROPPINGS = frozenset((
    ".ds_store", "__macosx", ".appledouble", ".trashes", ".fseventsd", ".spotlight-v100", "icon\r",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
    "@eadir", ".ipynb_checkpoints",
))  # fmt: skip

Aside = dict[str, list[str]]  # files that are not read, by the reason


@dataclass(frozen=True)
class Contents:
    """files: what may be read, relative to the data set's folder with forward slashes, by folder and then by name.
    aside: the others, likewise. links: of `files`, those that are links or were reached through one, by the file
    that they lead to, relative too."""

    files: tuple[str, ...]
    aside: Mapping[str, list[str]]
    links: Mapping[str, str] = field(default_factory=dict)


def is_dropping(name: str) -> bool:
    """Whether a program has left a file or folder of that name, such as `.DS_Store` or `._cat.jpg`."""
    return name.startswith("._") or name.lower() in _DROPPINGS


def is_image(name: str) -> bool:
    """Whether a file's ending is one of those that are read."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def split_of(name: str) -> str | None:
    """The split that people call so, such as `Validation` or `test_set`; None for any other name."""
    return _SPLIT_NAMES.get(_SET.sub("", name.lower()))


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """The name of each split among these; where two are called alike, that with its own name, else the first."""
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name not in SPLITS, name)):
        split = split_of(name)
        if split is not None:
            found.setdefault(split, name)
    return {split: found[split] for split in SPLITS if split in found}


def reason_of_ending(name: str) -> str:
    """Why a file is not read that is no image by its name."""
    ending = PurePosixPath(name).suffix.lower()
    return f"ending {ending}" if ending.isprintable() and ending else "without an ending"


def look_through(root: Path, folder: str = "") -> Contents:
    """All that lies in `folder` (relative to `root`, which is resolved; empty is all of it).

    Links to folders within `root` are followed, each folder is looked through once: a folder that contains itself by a
    link does not go on for ever. Raises DataError for a folder that cannot be listed.
    """
    return _Walk(root, folder).contents()


def folders_in(root: Path, folder: str = "") -> tuple[list[str], Aside]:
    """The sorted names of the folders directly in `folder`, and the files that are not within one of these.

    Hidden folders, droppings and runs are no folders here: what they hold is aside.
    Raises DataError for a folder that is a link out of `root`, and one that cannot be listed.
    """
    names: list[str] = []
    aside: Aside = defaultdict(list)
    for entry in _listed(root, folder):
        file = f"{folder}/{entry.name}" if folder else entry.name
        if not _is_folder(entry):
            aside[_why_no_file(entry) or (PLACE if is_image(entry.name) else reason_of_ending(entry.name))].append(file)
        elif (why := _why_not(root, file, entry.name)) is not None:
            aside[why] += _all_below(root, file)
        elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise DataError(f"{entry.path} is a link out of {root}: such links are not followed; copy it there")
        elif entry.is_symlink() and (root / folder).is_relative_to(Path(entry.path).resolve()):
            aside[LINK].append(file)  # it contains itself
        else:
            names.append(entry.name)
    return names, aside


def merged(parts: Iterable[Mapping[str, list[str]]]) -> Aside:
    """All of them together."""
    together: Aside = defaultdict(list)
    for part in parts:
        for why, files in part.items():
            together[why] += files
    return together


def unread(contents: Contents, used: Iterable[str], why_images: str) -> Aside:
    """The files of `contents` that are not in `used`, by reason: `why_images` for images, else by their endings.

    used: relative too; may name files by another way to them, through a link.
    """
    known = {contents.links.get(file, file) for file in used} | set(used)
    ways = {parent.as_posix() for file in known for parent in PurePosixPath(file).parents}
    aside = merged([contents.aside])
    aside[LINK] = [file for file in aside[LINK] if file not in ways]  # a link that was gone through
    for file in contents.files:
        if file not in known and contents.links.get(file) not in known:
            aside[why_images if is_image(file) else reason_of_ending(file)].append(file)
    return {why: files for why, files in aside.items() if files}


class _Walk:
    """Looks through a folder: real folders first, then those that only links lead to."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self._files: list[tuple[str, str]] = []
        self._aside: Aside = defaultdict(list)
        self._links: dict[str, str] = {}
        self._deferred: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        way = PurePosixPath(folder)
        for above in way.parents if folder else ():
            self._is_new(root / above)
        if self._is_new(root / folder):
            self._visit(folder, real=(root / folder).resolve())
        else:
            self._aside[LINK].append(folder)
        while self._deferred:
            self._follow(self._deferred.pop(0))

    def contents(self) -> Contents:
        files = tuple(f"{folder}/{name}" if folder else name for folder, name in sorted(self._files))
        return Contents(files, {why: sorted(names) for why, names in self._aside.items()}, self._links)

    def _is_new(self, folder: Path) -> bool:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        new = identity not in self._seen
        self._seen.add(identity)
        return new

    def _follow(self, link: str) -> None:
        try:
            target = (self._root / link).resolve(strict=True)
            followed = target.is_relative_to(self._root) and self._is_new(target)
        except (OSError, RuntimeError):
            followed = False
        if followed:
            self._visit(link, target)
        else:
            self._aside[LINK].append(link)

    def _visit(self, top: str, real: Path) -> None:
        """real: where `top` leads, links resolved."""
        inside = real.relative_to(self._root).as_posix().removeprefix(".")
        through_link = inside != top
        pending = [top]
        while pending:
            folder = pending.pop()
            for entry in _listed(self._root, folder):
                file = f"{folder}/{entry.name}" if folder else entry.name
                if _is_plain(entry):
                    self._files.append((folder, entry.name))
                    if through_link:
                        self._links |= self._lead(file)
                elif _is_folder(entry):
                    why = _why_not(self._root, file, entry.name)
                    if why is not None:
                        self._aside[why] += _all_below(self._root, file)
                    elif entry.is_symlink():
                        self._deferred.append(file)
                    elif self._is_new(Path(entry.path)):
                        pending.append(file)
                elif (why := _why_no_file(entry)) is not None:
                    self._aside[why].append(file)
                else:
                    self._files.append((folder, entry.name))
                    if through_link or entry.is_symlink():
                        self._links |= self._lead(file)

    def _lead(self, file: str) -> dict[str, str]:
        with suppress(OSError, RuntimeError, ValueError):
            return {file: (self._root / file).resolve().relative_to(self._root).as_posix()}
        return {}


def _listed(root: Path, folder: str) -> list[os.DirEntry[str]]:
    path = root / folder
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot list {path}: {error.strerror or error}") from error


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """Whether there is nothing to be said of it: a file that may be read, as nearly all are."""
    name = entry.name
    return entry.is_file(follow_symlinks=False) and name[0] != "." and name.lower() not in _DROPPINGS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _why_not(root: Path, file: str, name: str) -> str | None:
    """The reason why a folder is not looked through."""
    if is_dropping(name):
        return DROPPING
    if name.startswith("."):
        return HIDDEN
    path = root / file
    return RUN if (path / _RECORD).is_file() or path == cache_root() else None


def _why_no_file(entry: os.DirEntry[str]) -> str | None:
    """The reason why what is no folder is not a file that may be read."""
    if is_dropping(entry.name):
        return DROPPING
    if entry.name.startswith("."):
        return HIDDEN
    try:
        if entry.is_file():
            return None
    except OSError:
        pass
    if entry.is_symlink() and not Path(entry.path).exists():
        # By its name an image: it is answered when it is read, and not by a silently smaller class.
        return None if is_image(entry.name) else LINK
    return SPECIAL


def _all_below(root: Path, folder: str) -> list[str]:
    """Every file in a folder that is not looked through; a link as itself; the folder itself where it has none."""
    path = root / folder
    if path.is_symlink():
        return [folder]
    start = len(str(root)) + 1
    return [f"{each}/{name}"[start:] for each, name in _files_below(path)] or [folder]


def _files_below(path: Path) -> Iterator[tuple[str, str]]:
    for each, folders, files in os.walk(path):
        for name in [*files, *(folder for folder in folders if Path(each, folder).is_symlink())]:
            yield each, name
