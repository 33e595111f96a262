"""Finds the XML files of a VOC folder by split, and where their images may lie; opens none but the lists of names.

VOC's own kit has Annotations, JPEGImages and lists in ImageSets/Main. Other tools write NAME.xml beside its image, or
in a folder beside that of the images, all of it below `train`, `valid` and `test` where there are splits.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from trials.data.config import DataError
from trials.data.folders import is_image, split_of, splits_among
from trials.data.items import Noted
from trials.data.readers.entries import plain_text

ANNOTATIONS, IMAGES = "Annotations", "JPEGImages"
UNSPLIT = ""  # the XML files that lie in no split's folder, where others do
_LISTS = "ImageSets"
_LABELLED = re.compile(r"(.+?)\s+(-1|0|1)")  # a line of a list of one category: the name, and whether it is there


def is_kit(root: Path) -> bool:
    """Whether the folder is laid out as VOC's own kit."""
    return (root / ANNOTATIONS).is_dir() and (root / IMAGES).is_dir()


def listed_in_kit(root: Path, noted: Noted, announce: Callable[[str], None]) -> dict[str, list[str]]:
    """The XML files of each split, from the lists; without lists all of them are one split."""
    there = {path.stem for path in (root / ANNOTATIONS).iterdir() if path.suffix == ".xml" and path.name[0] != "."}
    lists, splits = root / _LISTS / "Main", {}
    stems = [path.stem for path in lists.iterdir() if path.suffix == ".txt"] if lists.is_dir() else []
    named = splits_among(stems)
    if "trainval" in stems and not {"train", "val"} & set(named):
        named = {"train": "trainval", **named}
    for split, stem in named.items():
        path = lists / f"{stem}.txt"
        noted.used.append(path.relative_to(root).as_posix())
        try:
            lines = plain_text(path.read_bytes()).splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {error}; it must be a text file with a name a line") from error
        splits[split] = [_listed_name(line.strip(), there) for line in lines if line.strip()]
    if "train" not in splits and splits:
        raise DataError(f"{lists} has no train.txt: the names of the training images are needed, one a line")
    splits = splits or {"train": sorted(there)}
    for split, names in splits.items():
        if not names:
            raise DataError(f"{root} has no annotated image in {split}: Annotations/NAME.xml are needed")
    if "test" in splits and not there & set(splits["test"]):
        announce(f"{root}: no test image has annotations: they are not read")
        del splits["test"]
    return {split: [f"{ANNOTATIONS}/{name}.xml" for name in names] for split, names in splits.items()}


def _listed_name(line: str, there: set[str]) -> str:
    """The name in a line of a list, which may hold spaces, and be followed by 1, 0 or -1, or by the image's ending."""
    labelled = _LABELLED.fullmatch(line)
    likely = [line, *([labelled[1]] if labelled else []), line.split()[0]]
    likely += [PurePosixPath(name).stem for name in likely if is_image(name)]
    return next((name for name in likely if name in there), likely[1 if labelled else 0])


def found_beside_images(root: Path, files: Sequence[str]) -> dict[str, list[str]]:
    """The XML files of each split where the folder is not as the kit has it; `files` are all that it holds.

    A split is what lies below a folder that is called so; without such folders all is "train".
    Raises DataError where there is none for training, and for lists of the kit, which would be passed over.
    """
    lists = next((file for file in files if _LISTS in PurePosixPath(file).parts[:-1]), None)
    if lists is not None:
        kit = root / lists[: lists.index(_LISTS)]
        raise DataError(
            f"{root} has no {ANNOTATIONS} and {IMAGES}, but {lists}: voc:FOLDER needs the folder that has all three, "
            f"{kit if kit != root else 'as VOC2012 has'}"
        )
    splits: dict[str, list[str]] = defaultdict(list)
    for file in files:
        path = PurePosixPath(file)
        if path.suffix.lower() == ".xml":
            splits[next(filter(None, map(split_of, path.parts[:-1])), UNSPLIT)].append(file)
    if set(splits) == {UNSPLIT}:
        return {"train": splits[UNSPLIT]}
    if splits and "train" not in splits:
        there = next(file for split, names in splits.items() if split != UNSPLIT for file in names)
        raise DataError(f"{root} has {there} but no XML files in train: training images are needed")
    if not splits:
        raise no_annotations(root)
    return dict(splits)


def no_annotations(root: Path) -> DataError:
    """The error for a folder that is no VOC data."""
    return DataError(
        f"{root} has no annotations: voc:FOLDER needs {ANNOTATIONS} and {IMAGES}, as VOC2012 has, or NAME.xml beside "
        "each image"
    )


def image_folders(xml: str, kit: bool) -> tuple[str, ...]:
    """Where the image of an XML file may lie, the likeliest first: with it, or in a folder of images that stands where
    one of those above it does."""
    if kit:
        return (IMAGES,)
    parts = PurePosixPath(xml).parts[:-1]
    beside = [
        "/".join((*parts[:place], name, *parts[place + 1 :]))
        for place in range(len(parts))
        for name in ("images", "Images", IMAGES)
    ]
    return tuple(dict.fromkeys(["/".join(parts), *beside]))
