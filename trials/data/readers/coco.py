"""Reads COCO folders: instances JSON files with bounding boxes, crowd flags and masks, and their images.

The format is that of https://cocodataset.org/#format-data: boxes are left, top, width, height in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trials.data.config import DataError, Targets
from trials.data.items import AnnotatedImage, Annotation, Reading
from trials.data.problems import CATEGORY, DUPLICATE, MALFORMED, SIZE, BadEntry, ProblemList, quoted
from trials.data.readers.coco_files import AnnotationFile, find_annotations, find_images
from trials.data.readers.entries import as_integer, as_name, as_number, clipped_box, image_name
from trials.data.readers.run_lengths import area, mask_counts
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
    for split in sorted(files, key=lambda split: split != "train"):
        found = files[split]
        document = _load(found)
        names = _categories(found, document["categories"])
        categories = categories or tuple(names.values())
        for name in sorted(set(categories) ^ set(names.values())):
            lacking, having = (found, train) if name in categories else (train, found)
            raise DataError(
                f"{lacking.name} lacks category {name!r}, which {having.name} has "
                f"({len(names)} against {len(categories)} in {train.name}): make them agree"
            )
        split_reader = _Split(root, found, {number: categories.index(name) for number, name in names.items()}, problems)
        images = split_reader.images(document["images"], announce)
        splits[split] = split_reader.annotated(images, document["annotations"], with_masks=targets == "semantic")
    return Reading(categories, splits)


@dataclass
class _Split:
    """Reads the entries of one annotation file; `labels` are by category id."""

    root: Path
    found: AnnotationFile
    labels: dict[int, int]
    problems: ProblemList

    def images(self, entries: list[Any], announce: Callable[[str], None]) -> dict[int, AnnotatedImage | None]:
        """The images by id, without objects yet; None for those that cannot be used, which are said once."""
        listed: dict[int, tuple[str, Any]] = {}
        files: set[str] = set()
        for place, entry in enumerate(entries):
            with self._collecting("image", entry, place):
                number = as_integer(_field(entry, "id"), "id")
                if number in listed:
                    raise BadEntry(f"its id is that of {quoted(listed[number][0])} too", DUPLICATE)
                listed[number] = ("", entry)  # a bad name below is said here, and not once more for each object
                file = image_name(_field(entry, "file_name"), "file_name")
                if file in files:
                    raise BadEntry(f"file_name {quoted(file)} is that of another entry too", DUPLICATE)
                files.add(file)
                listed[number] = (file, entry)
        folder = find_images(self.root, self.found, [file for file, _ in listed.values() if file])
        places = {number: f"{folder}/{file}".removeprefix("./") for number, (file, _) in listed.items() if file}
        seen = inspect_images(self.root, list(places.values()), announce)
        usable: dict[int, AnnotatedImage | None] = dict.fromkeys(listed)
        for number, file in places.items():
            entry, picture = listed[number][1], seen[file]
            if isinstance(picture, BadEntry):
                self.problems.note(file, "", picture.what, picture.kind)
                continue
            said = [entry.get("height", picture.height), entry.get("width", picture.width)]
            if said != [picture.height, picture.width]:
                size = f"{quoted(said[1])}x{quoted(said[0])}, the file has {picture.width}x{picture.height} pixels"
                self.problems.note(self.found.name, f"image {number}", f"{quoted(file)} is said to have {size}", SIZE)
                continue
            usable[number] = AnnotatedImage(file, picture.height, picture.width, picture.digest)
        return usable

    def annotated(
        self, images: dict[int, AnnotatedImage | None], entries: list[Any], with_masks: bool
    ) -> list[AnnotatedImage]:
        """The usable images with their objects; an image that bad entries leave without any is left out too."""
        objects: dict[int, list[Annotation]] = {number: [] for number in images}
        meant: set[int] = set()
        seen: set[int] = set()
        for place, entry in enumerate(entries):
            with self._collecting("annotation", entry, place):
                owner = as_integer(_field(entry, "image_id"), "image_id")
                if owner not in images:
                    raise BadEntry(f"image_id {owner} is the id of no image", MALFORMED)
                meant.add(owner)
                number = as_integer(_field(entry, "id"), "id")
                if number in seen:
                    raise BadEntry("another annotation has the same id", DUPLICATE)
                seen.add(number)
                image = images[owner]
                if image is not None:
                    objects[owner].append(self._object(entry, image, with_masks))
        return [
            replace(image, objects=tuple(objects[number]))
            for number, image in images.items()
            if image is not None and (objects[number] or number not in meant)
        ]

    def _object(self, entry: Any, image: AnnotatedImage, with_masks: bool) -> Annotation:
        category = as_integer(_field(entry, "category_id"), "category_id")
        if category not in self.labels:
            raise BadEntry(f"category_id {category} is the id of no category", CATEGORY)
        given = _field(entry, "bbox")
        if not isinstance(given, list) or len(given) != 4:
            raise BadEntry(f"bbox is {quoted(given)}: it must be [left, top, width, height]", MALFORMED)
        left, top, width, height = (as_number(number, "bbox") for number in given)
        box = clipped_box((left, top, left + width, top + height), image.height, image.width)
        crowd = entry.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise BadEntry(f"iscrowd is {quoted(crowd)}: it must be 0 or 1", MALFORMED)
        if not with_masks:
            covered = as_number(entry.get("area", width * height), "area")
            if covered < 0:
                raise BadEntry(f"area is {covered:g}: it must not be negative", MALFORMED)
            return Annotation(box, self.labels[category], covered, bool(crowd))
        counts = mask_counts(entry.get("segmentation"), image.height, image.width)
        covered = area(counts, image.height, image.width)
        return Annotation(box, self.labels[category], float(covered), bool(crowd), counts)

    @contextmanager
    def _collecting(self, what: str, entry: Any, place: int) -> Iterator[None]:
        """A bad entry inside becomes a problem, called by its id where it has one, else by its place in the list."""
        try:
            yield
        except BadEntry as bad:
            number = entry.get("id") if isinstance(entry, dict) else None
            called = f"{what} {quoted(number)}" if number is not None else f"{what} at place {place}"
            self.problems.note(self.found.name, called, bad.what, bad.kind)


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
