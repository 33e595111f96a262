"""Reads COCO folders: instances JSON files with bounding boxes, crowd flags and masks, and their images.

The format is that of https://cocodataset.org/#format-data: boxes are left, top, width, height in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trials.data.config import DataError, Targets, one_line
from trials.data.findings import listed
from trials.data.folders import look_through
from trials.data.items import AnnotatedImage, Annotation, Noted, Reading
from trials.data.orientation import AS_IT_LIES, turned_box
from trials.data.problems import CATEGORY, DUPLICATE, MALFORMED, SIZE, BadEntry, ProblemList, quoted
from trials.data.readers.coco_files import AnnotationFile, find_annotations, find_images
from trials.data.readers.entries import (
    as_integer,
    as_name,
    as_number,
    check_ending,
    clipped_box,
    is_believable,
    relative_name,
    said_size,
)
from trials.data.readers.locating import Files, is_elsewhere
from trials.data.readers.run_lengths import area, mask_counts, turned_counts
from trials.data.survey import inspect_images

Document = dict[str, list[Any]]


def read(root: Path, targets: Targets, problems: ProblemList, announce: Callable[[str], None]) -> Reading:
    """The images and objects of a COCO folder by split; what is bad goes to `problems` and is left out.

    The order of the categories is that of their ids in the training file.
    Raises DataError for a file that is no COCO instances file, and for splits whose categories differ.
    """
    files = find_annotations(root)
    train = files["train"]
    categories: tuple[str, ...] = ()
    splits: dict[str, list[AnnotatedImage]] = {}
    noted = Noted(used=[found.name for found in files.values()])
    index = Files(root, look_through(root).files)
    for split in sorted(files, key=lambda split: split != "train"):
        found = files[split]
        document = _load(found)
        if split == "test" and not document["annotations"]:
            announce(f"{found.name} has no annotations: the test images are not read")
            continue
        names = _categories(found, document["categories"])
        categories = categories or tuple(names.values())
        for name in sorted(set(categories) ^ set(names.values())):
            lacking, having = (found, train) if name in categories else (train, found)
            raise DataError(
                f"{lacking.name} lacks category {name!r}, which {having.name} has "
                f"({len(names)} against {len(categories)} in {train.name}): make them agree"
            )
        labels = {number: categories.index(name) for number, name in names.items()}
        split_reader = _Split(root, found, labels, problems, noted, index)
        images = split_reader.images(document["images"], announce)
        splits[split] = split_reader.annotated(images, document["annotations"], with_masks=targets == "semantic")
    return Reading(categories, splits, noted=noted)


@dataclass(frozen=True)
class _Usable:
    """An image as it is to be seen, and what its annotations are of: pixels that lie as `lying` (height, width) and are
    turned by `orientation`."""

    image: AnnotatedImage
    lying: tuple[int, int]
    orientation: int


@dataclass
class _Split:
    """Reads the entries of one annotation file; `labels` are by category id."""

    root: Path
    found: AnnotationFile
    labels: dict[int, int]
    problems: ProblemList
    noted: Noted
    index: Files

    def images(self, entries: list[Any], announce: Callable[[str], None]) -> dict[int, _Usable | None]:
        """The images by id, without objects yet; None for those that cannot be used, which are said once."""
        entered: dict[int, tuple[str, Any]] = {}
        files: set[str] = set()
        for place, entry in enumerate(entries):
            with self._collecting("image", entry, place):
                number = as_integer(_field(entry, "id"), "id")
                if number in entered:
                    raise BadEntry(f"its id is that of {quoted(entered[number][0])} too", DUPLICATE)
                entered[number] = ("", entry)  # a bad name below is said here, and not once more for each object
                file = _file_name(entry)
                if file in files:
                    raise BadEntry(f"file_name {quoted(file)} is that of another entry too", DUPLICATE)
                files.add(file)
                entered[number] = (file, entry)
        within = [file for file, _ in entered.values() if file and not is_elsewhere(file)]
        folders = find_images(self.root, self.found, within)
        places = self._places({number: file for number, (file, _) in entered.items() if file}, folders)
        self.noted.used += places.values()
        seen = inspect_images(self.root, list(places.values()), announce)
        usable: dict[int, _Usable | None] = dict.fromkeys(entered)
        for number, file in places.items():
            entry, picture = entered[number][1], seen[file]
            if isinstance(picture, BadEntry):
                self.problems.note(file, "", picture.what, picture.kind)
                continue
            width, height = entry.get("width"), entry.get("height")
            try:
                is_lying = picture.is_annotated_lying(said_size(width, height))
            except BadEntry as bad:
                said = f"{quoted(file)} is said to have {quoted(width)}x{quoted(height)}, {bad.what}"
                self.problems.note(self.found.name, f"image {number}", said, SIZE)
                continue
            self.noted.image(file, picture.orientation, picture.peak)
            image = AnnotatedImage(file, picture.height, picture.width, picture.digest)
            of = (picture.lying, picture.orientation) if is_lying else ((picture.height, picture.width), AS_IT_LIES)
            usable[number] = _Usable(image, *of)
        return usable

    def _places(self, names: dict[int, str], folders: Sequence[str]) -> dict[int, str]:
        """The files that are meant, by the id of the image. Two entries for one file are bad; both where one of them
        leads elsewhere, for it is not known whose image the file is."""
        places: dict[int, str] = {}
        owners: dict[str, int] = {}
        respelt: list[str] = []
        for number, name in names.items():
            with self._collecting("image", {"id": number}, 0):
                found = self._place(name, folders)
                if found in owners:
                    other = owners[found]
                    what = f"file_name {quoted(name)} is the file of image {other} too"
                    if is_elsewhere(name) or is_elsewhere(names[other]):
                        what = (
                            f"file_name {quoted(name)} and that of image {other}, {quoted(names[other])}, mean {found}"
                        )
                        self.noted.used.append(places.pop(other, found))
                    raise BadEntry(what, DUPLICATE)
                owners[found] = number
                places[number] = found
                if not found.endswith(name):
                    respelt.append(f"{name} is {found}")
        if respelt:
            self.noted.remarks.append(
                f"{len(respelt):,} images are spelt otherwise than {self.found.name} says: "
                f"{one_line(listed(respelt, len(respelt)))}"
            )
        return places

    def _place(self, name: str, folders: Sequence[str]) -> str:
        """The file that is meant, also one that is missing. BadEntry where nothing can be meant."""
        if is_elsewhere(name):
            return self.index.find_elsewhere(name, self.found.split)
        found = self.index.find(folders, name)
        if found is not None:
            return found
        check_ending(name, "file_name")
        return f"{folders[0]}/{name}".removeprefix("./")

    def annotated(
        self, images: dict[int, _Usable | None], entries: list[Any], with_masks: bool
    ) -> list[AnnotatedImage]:
        """The usable images with their objects; an image with a bad annotation is left out with it, for without it
        what it shows would count as background."""
        objects: dict[int, list[Annotation]] = {number: [] for number in images}
        spoilt: set[int] = set()
        seen: dict[int, Any] = {}
        for place, entry in enumerate(entries):
            bad_before = len(self.problems)
            with self._collecting("annotation", entry, place):
                owner = as_integer(_field(entry, "image_id"), "image_id")
                if owner not in images:
                    raise BadEntry(f"image_id {owner} is the id of no image", MALFORMED)
                number = as_integer(_field(entry, "id"), "id")
                if number in seen:
                    raise BadEntry("another annotation has the same id", DUPLICATE)
                seen[number] = entry
                image = images[owner]
                if image is not None:
                    objects[owner].append(self._object(entry, image, with_masks))
            if len(self.problems) > bad_before and not _is_repeated(entry, seen):
                spoilt |= _meant(entry)
        left = {number: each.image for number, each in images.items() if each is not None}
        self.noted.left_out += [image.file for number, image in left.items() if number in spoilt]
        return [
            replace(image, objects=tuple(objects[number])) for number, image in left.items() if number not in spoilt
        ]

    def _object(self, entry: Any, image: _Usable, with_masks: bool) -> Annotation:
        category = as_integer(_field(entry, "category_id"), "category_id")
        if category not in self.labels:
            raise BadEntry(f"category_id {category} is the id of no category", CATEGORY)
        given = _field(entry, "bbox")
        if not isinstance(given, list) or len(given) != 4:
            raise BadEntry(f"bbox is {quoted(given)}: it must be [left, top, width, height]", MALFORMED)
        left, top, width, height = (as_number(number, "bbox") for number in given)
        rows, columns = image.lying
        lying = clipped_box((left, top, left + width, top + height), rows, columns)
        box = turned_box(lying, rows, columns, image.orientation)
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1, None, "0", "1"):
            raise BadEntry(f"iscrowd is {quoted(crowd)}: it must be 0 or 1", MALFORMED)
        is_crowd = crowd in (1, "1")
        if not with_masks:
            covered = as_number(entry.get("area", width * height), "area")
            if covered < 0:
                raise BadEntry(f"area is {covered:g}: it must not be negative", MALFORMED)
            if not is_believable(covered, box):
                self.noted.areas.append(f"{self.found.name}: annotation {quoted(entry.get('id'))} ({covered:g})")
                covered = (box[2] - box[0]) * (box[3] - box[1])
            return Annotation(box, self.labels[category], covered, is_crowd)
        counts = mask_counts(entry.get("segmentation"), rows, columns)
        covered = area(counts, rows, columns)
        counts = turned_counts(counts, rows, columns, image.orientation)
        return Annotation(box, self.labels[category], float(covered), is_crowd, counts)

    @contextmanager
    def _collecting(self, what: str, entry: Any, place: int) -> Iterator[None]:
        """A bad entry inside becomes a problem, called by its id where it has one, else by its place in the list."""
        try:
            yield
        except BadEntry as bad:
            number = entry.get("id") if isinstance(entry, dict) else None
            called = f"{what} {quoted(number)}" if number is not None else f"{what} at place {place}"
            self.problems.note(self.found.name, called, bad.what, bad.kind)


def _file_name(entry: Any) -> str:
    """`file_name`, which may lead elsewhere. BadEntry for what is no name."""
    value = _field(entry, "file_name")
    is_foreign = isinstance(value, str) and "\0" not in value and is_elsewhere(value)
    return value if is_foreign else relative_name(value, "file_name")


def _meant(entry: Any) -> set[int]:
    """The id of the image that a bad annotation is of, also where it is text and can be taken for nothing else."""
    value = entry.get("image_id") if isinstance(entry, dict) else None
    try:
        number = float(value) if isinstance(value, (int, float, str)) else None
        return {int(number)} if number is not None and number.is_integer() else set()
    except (ValueError, OverflowError):
        return set()


def _is_repeated(entry: Any, seen: dict[int, Any]) -> bool:
    """Whether an annotation is that of before word for word: nothing is lost without it."""
    number = entry.get("id") if isinstance(entry, dict) else None
    return isinstance(number, int) and seen.get(number) is not entry and seen.get(number) == entry


def _field(entry: Any, name: str) -> Any:
    if not isinstance(entry, dict):
        raise BadEntry(f"it is {quoted(entry)}: it must be an object with {name!r}", MALFORMED)
    if name not in entry:
        raise BadEntry(f"it has no {name!r}", MALFORMED)
    return entry[name]


def _load(found: AnnotationFile) -> Document:
    """The file's three lists; DataError, one line, when it is not JSON or lacks one of them."""
    try:
        document = json.loads(found.path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {found.path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        reason = " ".join(str(error).split())
        raise DataError(f"{found.path} is not JSON, or was cut short ({reason}): write it again") from error
    for name in ("images", "annotations", "categories"):
        if name == "annotations" and found.split == "test" and isinstance(document, dict):
            document.setdefault(name, [])  # published test images come without
        if not isinstance(document, dict) or not isinstance(document.get(name), list):
            raise DataError(f"{found.path} has no list of {name!r}: it must be a COCO instances file")
    for name in ("images", "categories"):
        if not document[name]:
            raise DataError(f"{found.path} has no {name}: the list is empty")
    return {name: document[name] for name in ("images", "annotations", "categories")}


def _categories(found: AnnotationFile, entries: list[Any]) -> dict[int, str]:
    """Names by id, in the order of the ids; DataError for a bad entry, for without it no label is sure."""
    names: dict[int, str] = {}
    for place, entry in enumerate(entries):
        try:
            number, name = as_integer(_field(entry, "id"), "id"), as_name(_field(entry, "name"), "name")
            if number in names or name in names.values():
                raise BadEntry(f"id {number} or name {name!r} is that of another category too", DUPLICATE)
            names[number] = name
        except BadEntry as bad:
            raise DataError(f"{found.path}: category at place {place}: {bad.what}") from bad
    return dict(sorted(names.items()))
