"""Finds the annotation files and the folders of images of a COCO folder; opens none of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trials.data.config import DataError
from trials.data.survey import SPLITS

_NAMED = re.compile(r"(?:instances_)?(train|val|valid|test)(\d{4})?")
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
        return (f"images/{stem}", stem, f"images/{self.split}", self.split, "images", beside or ".", ".")


def find_annotations(root: Path) -> dict[str, AnnotationFile]:
    """The annotation file of each split, "train" among them.

    ROOT/annotations/ or ROOT itself holds train.json or instances_train2017.json, and so for val and test; or the
    split's own folder holds _annotations.coco.json; or there is one JSON file alone, which is all of the data.
    Raises DataError when none is found, or two for one split.
    """
    files = [path for folder in (root / "annotations", root) for path in sorted(folder.glob("*.json"))]
    files += [path for split in (*SPLITS, "valid") if (path := root / split / _EXPORTED).is_file()]
    found: dict[str, AnnotationFile] = {}
    for path in files:
        name = path.relative_to(root).as_posix()
        named = _NAMED.fullmatch(path.parent.name if path.name == _EXPORTED else path.stem)
        if named is None:
            continue
        split = "val" if named[1] == "valid" else named[1]
        if split in found:
            raise DataError(f"{root} has both {found[split].name} and {name} for {split}: keep one of them there")
        found[split] = AnnotationFile(path, name, split)
    if "train" in found:
        return found
    if not found and len(files) == 1:
        return {"train": AnnotationFile(files[0], files[0].relative_to(root).as_posix(), "train")}
    names = ", ".join(path.relative_to(root).as_posix() for path in files[:5]) or "no JSON file"
    raise DataError(
        f"{root} has no training annotations (found {names}): expected annotations/train.json, "
        f"annotations/instances_train2017.json, train/{_EXPORTED}, or one JSON file alone"
    )


def find_images(root: Path, found: AnnotationFile, names: Sequence[str]) -> str:
    """The first of `image_folders` that holds one of the first of `names`; where none does, the first that exists."""
    there = [folder for folder in found.image_folders if (root / folder).is_dir()]
    for folder in there:
        if any((root / folder / name).is_file() for name in names[:_PROBED]):
            return folder
    return there[0]
