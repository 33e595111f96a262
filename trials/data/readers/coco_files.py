"""Finds the annotation files and the folders of images of a COCO folder; opens none of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trials.data.config import DataError
from trials.data.folders import split_of

# instances_train2017, Train, annotations_val, test_annotations, …; not what holds captions, keypoints or panoptic maps
_NAMED = re.compile(
    r"(?:(?:instances|annotations|labels|coco)[_-])?([a-z]+(?:[_-]set)?)(?:[_-]?\d{4})?"
    r"(?:[._-](?:annotations|instances|labels|coco))*",
    re.IGNORECASE,
)
_EXPORTED = "_annotations.coco.json"  # what annotation services write into each split's own folder
_PROBED = 20  # images that are looked for before a folder is taken or left


@dataclass(frozen=True)
class AnnotationFile:
    """One annotation file: its path, its name for messages (relative to the data set), and the split it is of."""

    path: Path
    name: str
    split: str

    @property
    def image_folders(self) -> tuple[str, ...]:
        """Where its images may be, relative to the data set, the likeliest first."""
        stem = self.path.stem.removeprefix("instances_")
        beside = self.name.rpartition("/")[0]
        usual = (f"images/{stem}", stem, f"images/{self.split}", self.split, "images", beside or ".", ".")
        return tuple(dict.fromkeys([*usual, "data", "imgs", "JPEGImages"]))


def find_annotations(root: Path) -> dict[str, AnnotationFile]:
    """The annotation file of each split, "train" among them.

    ROOT/annotations/ or ROOT itself holds train.json or instances_train2017.json, and so for val and test; or the
    split's own folder holds _annotations.coco.json; or there is one JSON file alone, which is all of the data.
    Raises DataError when none is found, or two for one split.
    """
    files = [path for folder in (root / "annotations", root) for path in _json_files(folder)]
    files += [path for folder in _folders_of_splits(root) if (path := root / folder / _EXPORTED).is_file()]
    found: dict[str, AnnotationFile] = {}
    for path in files:
        name = path.relative_to(root).as_posix()
        named = _NAMED.fullmatch(path.stem)
        split = split_of(path.parent.name) if path.name == _EXPORTED else split_of(named[1]) if named else None
        if split is None:
            continue
        if split in found:
            raise DataError(f"{root} has both {found[split].name} and {name} for {split}: keep one of them there")
        found[split] = AnnotationFile(path, name, split)
    if "train" in found:
        return found
    alone = [path for path in files if path.stem.startswith("instances")] if len(files) > 1 else files
    if not found and len(alone) == 1:
        return {"train": AnnotationFile(alone[0], alone[0].relative_to(root).as_posix(), "train")}
    names = ", ".join(path.relative_to(root).as_posix() for path in files[:5]) or "no JSON file"
    raise DataError(
        f"{root} has no training annotations (found {names}): expected annotations/train.json, "
        f"annotations/instances_train2017.json, train/{_EXPORTED}, or one JSON file alone"
    )


def find_images(root: Path, found: AnnotationFile, names: Sequence[str]) -> tuple[str, ...]:
    """The folders that may hold the images, the likeliest first: of those that exist that which holds one of the first
    of `names`, and then the others as `image_folders` has them."""
    alike = [
        f"{above}{folder}"
        for above in ("images/", "")
        for folder in _folders_of_splits(root / above)
        if split_of(folder) == found.split
    ]
    there = [folder for folder in dict.fromkeys([*found.image_folders, *alike]) if (root / folder).is_dir()]
    for folder in there:
        if any((root / folder / name).is_file() for name in names[:_PROBED]):
            return (folder, *(other for other in there if other != folder))
    return tuple(there)


def _json_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".json" and path.name[0] != "."]


def _folders_of_splits(folder: Path) -> list[str]:
    """The names of the folders in there that are called as splits are."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if split_of(path.name) is not None and path.is_dir())
