"""Reads the layout of an image folder: classes, splits and file lists; opens no image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trials.data.config import DataConfig, DataError
from trials.data.content import Labels
from trials.data.findings import listed
from trials.data.folders import (
    IMAGE_EXTENSIONS,
    PLACE,
    RUN,
    UNLABELLED,
    Aside,
    Contents,
    folders_in,
    is_image,
    look_through,
    merged,
    reason_of_ending,
    splits_among,
)
from trials.data.survey import find_root

_COMMONEST = ", ".join(IMAGE_EXTENSIONS[:9])


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

    `splits` always has "train"; "val" and "test" only where the folder does. aside: the files that are not read, by
    the reason.
    """

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, Listing]
    aside: Mapping[str, list[str]] = field(default_factory=dict)


def find(config: DataConfig, announce: Callable[[str], None]) -> ImageFolder:
    """List PATH/train/CLASS/** with PATH/val and PATH/test where they are, or else PATH/CLASS/**.

    Images are the files with one of `IMAGE_EXTENSIONS`, also in folders within that of their class, sorted by folder
    and then by name as torchvision's ImageFolder has them. All else is `aside`. Splits may be called as people call
    them (`Training`, `valid`, `test_set`); a test split whose images have no classes is not read.
    Raises DataError for a missing folder, fewer than two classes, an empty class, splits whose classes differ, or a
    class folder that is a link out of PATH (such links are never followed).
    """
    root = find_root(config.folder, "--data folder:PATH")
    top, loose = folders_in(root)
    named = splits_among(top)
    inner = {split: folders_in(root, name) for split, name in named.items()}
    # A class may be called "train": it is a split only when it holds folders itself.
    if not inner.get("train", ([], {}))[0]:
        return _of_classes(root, top, loose, {name: inner[split][0] for split, name in named.items()}, announce)
    ignored = [name for name in top if name not in named.values()]
    if ignored:
        read = ", ".join(named.values())
        announce(f"{root}: only {read} {'is' if len(named) == 1 else 'are'} read; ignored: {', '.join(ignored)}")
    classes = tuple(inner["train"][0])
    aside = [loose, *(_outside(root, name, PLACE) for name in ignored)]
    if "test" in named and not set(inner["test"][0]) & set(classes):
        aside.append(_outside(root, named.pop("test"), UNLABELLED))
        announce(f"{root}: the test images are in no folders of the classes: they are not read")
    for split, name in named.items():
        _agree(root, named["train"], classes, name, inner[split][0])
        aside.append(inner[split][1])
    splits = {}
    for split, name in named.items():
        inside = {each: look_through(root, f"{name}/{each}") for each in classes}
        splits[split], beside = _list_split(root, name, classes, inside)
        aside.append(beside)
    return ImageFolder(root, classes, splits, merged(aside))


def _of_classes(
    root: Path, top: list[str], loose: Aside, split_folders: Mapping[str, list[str]], announce: Callable[[str], None]
) -> ImageFolder:
    """A folder whose own folders are the classes. split_folders: what those hold that are called as splits are."""
    train = next((name for name in split_folders if splits_among([name]) == {"train": name}), None)
    if train is not None and set(top) <= set(split_folders):
        raise DataError(f"{root / train} has no class folders: expected {train}/CLASS/*.jpg")
    stray = [name for name, folders in split_folders.items() if name != train and folders]
    if stray:
        raise DataError(f"{root} has {stray[0]}/CLASS but no train/CLASS: training images are needed")
    if split_folders:
        announce(f"{root}: {', '.join(split_folders)} hold no folders: read as classes, as {top[0]} is")
    inside = {name: look_through(root, name) for name in top}
    runs = [name for name, found in inside.items() if not found.files and set(found.aside) == {RUN}]
    classes = tuple(name for name in top if name not in runs)
    listing, aside = _list_split(root, "", classes, inside)
    asides = [loose, aside, *(inside[name].aside for name in runs)]
    return ImageFolder(root, classes, {"train": listing}, merged(asides))


def _agree(root: Path, train: str, classes: tuple[str, ...], name: str, found: list[str]) -> None:
    missing = [each for each in classes if each not in found]
    strange = [each for each in found if each not in classes]
    if missing or strange:
        one, lacking, other = (missing[0], name, train) if missing else (strange[0], train, name)
        raise DataError(f"{root / lacking} lacks class {one!r}, which {root / other} has: make them agree")


def _outside(root: Path, folder: str, why: str) -> Aside:
    """All that a folder holds that is not read: `why` of its images."""
    return _sorted_out(look_through(root, folder), why)[1]


def _sorted_out(contents: Contents, why: str = "") -> tuple[list[str], Aside]:
    """The images that a folder holds, and what is aside; the images too where there is a reason `why`."""
    aside = merged([contents.aside])
    images = []
    for file in contents.files:
        if not is_image(file):
            aside[reason_of_ending(file)].append(file)
        elif why:
            aside[why].append(file)
        else:
            images.append(file)
    return images, aside


def _list_split(
    root: Path, folder: str, classes: tuple[str, ...], inside: Mapping[str, Contents]
) -> tuple[Listing, Aside]:
    if len(classes) < 2:
        only = f" (are they in {root / folder / classes[0]}?)" if classes and not folder else ""
        raise DataError(
            f"{root / folder} has {len(classes)} class folder(s): at least two are needed, each with its images: "
            f"CLASS/*.jpg{only}"
        )
    files: list[str] = []
    counts = []
    empty = []
    asides = []
    for name in classes:
        images, aside = _sorted_out(inside[name])
        if not images:
            empty.append(str(root / folder / name))
        files += images
        counts.append(len(images))
        asides.append(aside)
    if empty:
        holds, it = ("holds", "it") if len(empty) == 1 else ("hold", "them")
        raise DataError(f"{listed(empty, len(empty))} {holds} no images ({_COMMONEST}, …): add some or remove {it}")
    return Listing(tuple(files), np.repeat(np.arange(len(classes), dtype=np.int64), counts)), merged(asides)
