"""Reads Pascal VOC folders: one XML file an image, with its boxes.

The format is that of the VOC2012 development kit, section 3: corners are 1-based and belong to the box, so that
xmin = 1, xmax = 10 is a box of ten pixels. Objects marked `difficult` become crowd regions: the kit's evaluation
neither asks for them nor counts them as false.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from trials.data.config import DataError, Targets
from trials.data.items import AnnotatedImage, Annotation, Reading
from trials.data.problems import CATEGORY, DUPLICATE, MALFORMED, SIZE, BadEntry, ProblemList, quoted
from trials.data.readers.entries import Box, as_name, clipped_box, image_name
from trials.data.survey import IMAGE_EXTENSIONS, SPLITS, Picture, contained, inspect_images

_LARGEST_XML = 10_000_000  # bytes


_Documents = dict[str, tuple[Element, str]]  # by the name of the XML file: its root element and the image's file
_NamedObject = tuple[str, str, Annotation]  # the category's name, the entry for messages, and the object without label


def read(root: Path, _: Targets, problems: ProblemList, announce: Callable[[str], None]) -> Reading:
    """The images and objects of ROOT/Annotations and ROOT/JPEGImages, by split where ROOT/ImageSets/Main has lists.

    What is bad goes to `problems` and is left out. Categories are the names in the training files, sorted.
    Raises DataError for a folder that has not this layout.
    """
    for name in ("Annotations", "JPEGImages"):
        if not (root / name).is_dir():
            raise DataError(f"{root} has no folder {name}: voc:FOLDER needs Annotations and JPEGImages, as VOC2012 has")
    documents = {split: _documents(root, names, problems) for split, names in _splits(root).items()}
    pictures = inspect_images(root, [file for part in documents.values() for _, file in part.values()], announce)
    images: dict[str, dict[str, AnnotatedImage]] = {split: {} for split in documents}
    objects: dict[str, list[_NamedObject]] = {}
    for split, part in documents.items():
        for stem, (document, file) in part.items():
            picture = pictures[file]
            if isinstance(picture, BadEntry):
                problems.note(file, "", picture.what, picture.kind)
                continue
            try:
                _check_size(document, picture)
            except BadEntry as bad:
                problems.note(_xml(stem), "size", bad.what, bad.kind)
                continue
            images[split][stem] = AnnotatedImage(file, picture.height, picture.width, picture.digest)
            objects[stem] = _objects(stem, document, picture, problems)
    categories = tuple(sorted({name for stem in images["train"] for name, _, _ in objects[stem]}))
    splits: dict[str, list[AnnotatedImage]] = {}
    for split, usable in images.items():
        splits[split] = []
        for stem, image in usable.items():
            labelled = _labelled(stem, objects[stem], categories, problems)
            # An image that bad entries leave without any object would teach that there is nothing in it.
            if labelled or documents[split][stem][0].find("object") is None:
                splits[split].append(replace(image, objects=labelled))
    return Reading(categories, splits)


def _splits(root: Path) -> dict[str, list[str]]:
    """The names of the images of each split, from the lists; without lists all XML files are one split."""
    lists = root / "ImageSets" / "Main"
    splits = {}
    for split in SPLITS:
        path = lists / f"{split}.txt"
        if path.is_file():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as error:
                raise DataError(f"cannot read {path}: {error}; it must be a text file with a name a line") from error
            splits[split] = [line.split()[0] for line in lines if line.strip()]
    if "train" not in splits and splits:
        raise DataError(f"{lists} has no train.txt: the names of the training images are needed, one a line")
    splits = splits or {"train": sorted(path.stem for path in (root / "Annotations").glob("*.xml"))}
    for split, names in splits.items():
        if not names:
            raise DataError(f"{root} has no annotated image in {split}: Annotations/NAME.xml are needed")
    return splits


def _documents(root: Path, names: list[str], problems: ProblemList) -> _Documents:
    documents: _Documents = {}
    for name in names:
        try:
            image_name(f"{name}.jpg", "the name")  # it comes from a list: it must not leave the folder
            if name in documents:
                raise BadEntry("the list of the split names it twice", DUPLICATE)
            document = _parse(contained(root, _xml(name)))
            # The image has the name of the XML file, as in VOC's own kit; `filename` is often left as it was elsewhere,
            # and tells the ending alone.
            ending = PurePosixPath((document.findtext("filename") or "").strip()).suffix
            ending = ending if ending.lower() in IMAGE_EXTENSIONS else ".jpg"
            documents[name] = (document, f"JPEGImages/{name}{ending}")
        except BadEntry as bad:
            problems.note(_xml(name), "", bad.what, bad.kind)
    return documents


def _xml(name: str) -> str:
    return f"Annotations/{name}.xml"


def _parse(path: Path) -> Element:
    """The root element; BadEntry for what is no XML, and for any document type: entities can fill the memory or read
    other files, and annotations need none."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> NoReturn:
        raise BadEntry("it declares a document type or entities: remove the DOCTYPE", MALFORMED)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        if path.stat().st_size > _LARGEST_XML:
            raise BadEntry(f"it is larger than {_LARGEST_XML:,} bytes: it is no annotation of one image", MALFORMED)
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except (OSError, expat.ExpatError) as error:
        raise BadEntry(f"it is not XML, or was cut short ({error})", MALFORMED) from error


def _check_size(document: Element, picture: Picture) -> None:
    """BadEntry when the file says another size than the image has; some tools write 0 for a size they do not know."""
    said = [document.findtext(f"size/{side}", "0").strip() for side in ("width", "height")]
    if said not in (["0", "0"], [str(picture.width), str(picture.height)]):
        raise BadEntry(
            f"the image is said to have {quoted('x'.join(said))}, the file has {picture.width}x{picture.height} pixels",
            SIZE,
        )


def _objects(stem: str, document: Element, picture: Picture, problems: ProblemList) -> list[_NamedObject]:
    objects = []
    for place, element in enumerate(document.findall("object"), start=1):
        entry = f"object {place}"
        try:
            name = as_name(element.findtext("name"), "name")
            box = clipped_box(_corners(element), picture.height, picture.width)
            area = (box[2] - box[0]) * (box[3] - box[1])
            difficult = element.findtext("difficult", "0").strip()
            if difficult not in ("0", "1"):
                raise BadEntry(f"difficult is {quoted(difficult)}: it must be 0 or 1", MALFORMED)
            objects.append((name, entry, Annotation(box, -1, area, difficult == "1")))
        except BadEntry as bad:
            problems.note(_xml(stem), entry, bad.what, bad.kind)
    return objects


def _corners(element: Element) -> Box:
    corners = []
    for name in ("xmin", "ymin", "xmax", "ymax"):
        text = element.findtext(f"bndbox/{name}", "").strip()
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadEntry(f"{name} is {quoted(text)}: it must be a finite number", MALFORMED)
        corners.append(number)
    return corners[0] - 1, corners[1] - 1, corners[2], corners[3]  # 1-based and inclusive, see above


def _labelled(
    stem: str, objects: list[_NamedObject], categories: tuple[str, ...], problems: ProblemList
) -> tuple[Annotation, ...]:
    labelled = []
    for name, entry, each in objects:
        if name in categories:
            labelled.append(replace(each, label=categories.index(name)))
        else:
            problems.note(_xml(stem), entry, f"category {name!r} does not occur in the training split", CATEGORY)
    return tuple(labelled)
