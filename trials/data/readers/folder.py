"""Reads the layout of an image folder: classes, splits and file lists; opens no image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trials.data.config import DataConfig, DataError
from trials.data.content import Labels
from trials.data.findings import listed
from trials.data.survey import IMAGE_EXTENSIONS, SPLITS, find_root


@dataclass(frozen=True, eq=False)
class Listing:
    """Image files, as paths relative to the folder's root with forward slashes, and their labels, int64 [N]."""

    files: tuple[str, ...]
    labels: Labels

    def take(self, positions: Labels) -> Listing:
        """The files and labels at `positions`, in that order."""
        return Listing(tuple(self.files[place] for place in positions), self.labels[positions])


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """An image folder as found: its resolved root, sorted classes, and one listing for each split it has.

    `splits` always has "train"; "val" and "test" only where the folder does.
    """

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, Listing]


def find(config: DataConfig, announce: Callable[[str], None]) -> ImageFolder:
    """List PATH/train/CLASS/* with PATH/val and PATH/test where they are, or else PATH/CLASS/*.

    Images are the files with one of `IMAGE_EXTENSIONS`, sorted by name; names that begin with a dot are passed
    over. Raises DataError for a missing folder, fewer than two classes, an empty class, splits whose classes
    differ, or a class folder that is a link out of PATH (such links are never followed).
    """
    root = find_root(config.folder, "--data folder:PATH")
    top = _folders_in(root, root)
    # A class may be called "train": it is a split only when it holds folders itself.
    if "train" not in top or not _folders_in(root / "train", root):
        if "train" in top and set(top) <= set(SPLITS):
            raise DataError(f"{root / 'train'} has no class folders: expected train/CLASS/*.jpg")
        stray = [name for name in ("val", "test") if name in top and _folders_in(root / name, root)]
        if stray:
            raise DataError(f"{root} has {stray[0]}/CLASS but no train/CLASS: training images are needed")
        return ImageFolder(root, tuple(top), {"train": _list_split(root, root, tuple(top))})
    ignored = [name for name in top if name not in SPLITS]
    if ignored:
        announce(f"{root}: only train, val and test are read; ignored: {', '.join(ignored)}")
    found = {split: _folders_in(root / split, root) for split in SPLITS if split in top}
    classes = tuple(found["train"])
    for split, names in found.items():
        missing = [name for name in classes if name not in names]
        strange = [name for name in names if name not in classes]
        if missing or strange:
            one, lacking = (missing[0], split) if missing else (strange[0], "train")
            other = "train" if missing else split
            raise DataError(f"{root / lacking} lacks class {one!r}, which {root / other} has: make them agree")
    return ImageFolder(root, classes, {split: _list_split(root, root / split, classes) for split in found})


def _folders_in(folder: Path, root: Path) -> list[str]:
    """Sorted names of the sub-folders, hidden ones left out; DataError for one that resolves outside `root`."""
    names = []
    with _scan(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX")) or not entry.is_dir():
                continue
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                raise DataError(f"{entry.path} is a link out of {root}: such links are not followed; copy it there")
            names.append(entry.name)
    return sorted(names)


def _list_split(root: Path, folder: Path, classes: tuple[str, ...]) -> Listing:
    if len(classes) < 2:
        raise DataError(
            f"{folder} has {len(classes)} class folder(s): at least two are needed, each with its images: CLASS/*.jpg"
        )
    files: list[str] = []
    counts = []
    empty = []
    prefix = folder.relative_to(root).as_posix().removeprefix(".")
    for name in classes:
        with _scan(folder / name) as entries:
            images = sorted(entry.name for entry in entries if _is_image(entry))
        if not images:
            empty.append(str(folder / name))
        start = f"{prefix}/{name}" if prefix else name
        files.extend(f"{start}/{image}" for image in images)
        counts.append(len(images))
    if empty:
        holds, it = ("holds", "it") if len(empty) == 1 else ("hold", "them")
        kinds = ", ".join(IMAGE_EXTENSIONS)
        raise DataError(f"{listed(empty, len(empty))} {holds} no images ({kinds}): add some or remove {it}")
    return Listing(tuple(files), np.repeat(np.arange(len(classes), dtype=np.int64), counts))


def _is_image(entry: os.DirEntry[str]) -> bool:
    # A broken link counts: it is answered when it is read, and not by a silently smaller class.
    return entry.name.lower().endswith(IMAGE_EXTENSIONS) and not entry.name.startswith(".") and not entry.is_dir()


def _scan(folder: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    try:
        return os.scandir(folder)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from error
