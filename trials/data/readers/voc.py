"""Reads Pascal VOC folders: one XML file an image, with its boxes.

The format is that of the VOC2012 development kit, section 3: corners are 1-based and belong to the box, so that
xmin = 1, xmax = 10 is a box of ten pixels. Objects marked `difficult` become crowd regions: the kit's evaluation
neither asks for them nor counts them as false.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from trials.data.config import DataError, Targets
from trials.data.decoding import again
from trials.data.folders import IMAGE_EXTENSIONS, look_through
from trials.data.items import AnnotatedImage, Annotation, Noted, Reading
from trials.data.orientation import AS_IT_LIES, turned_box
from trials.data.problems import CATEGORY, DUPLICATE, MALFORMED, UNREADABLE, BadEntry, ProblemList, quoted
from trials.data.readers.entries import Box, as_name, clipped_box, relative_name, said_size
from trials.data.readers.locating import Files
from trials.data.readers.voc_files import (
    UNSPLIT,
    found_beside_images,
    image_folders,
    is_kit,
    listed_in_kit,
    no_annotations,
)
from trials.data.survey import Picture, contained, inspect_images

_DECLARED = re.compile(rb"""<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
_KNOWN_TO_EXPAT = (b"utf-8", b"utf-16", b"us-ascii", b"iso-8859-1")
_LARGEST_XML = 10_000_000  # bytes


_DIFFICULT = {"1": True, "true": True, "yes": True}
_DIFFICULT |= dict.fromkeys(("0", "false", "no", "unspecified", "none", ""), False)

_Documents = dict[str, tuple[Element, str]]  # by the name of the XML file: its root element and the image's file
_NamedObject = tuple[str, str, Annotation]  # the category's name, the entry for messages, and the object without label


def read(root: Path, _: Targets, problems: ProblemList, announce: Callable[[str], None]) -> Reading:
    """The images and objects of ROOT/Annotations and ROOT/JPEGImages, by split where ROOT/ImageSets/Main has lists; or
    of NAME.xml beside its image, by split where folders are called so (see `voc_files`).

    What is bad goes to `problems` and is left out. Categories are the names in the training files, sorted.
    Raises DataError for a folder that has not this layout.
    """
    noted = Noted()
    contents = look_through(root).files
    files = Files(root, contents)
    kit = is_kit(root)
    splits = listed_in_kit(root, noted, announce) if kit else found_beside_images(root, contents)
    there = {PurePosixPath(file).stem for file in contents if file.lower().endswith(".xml")}

    def image_of(xml: str, document: Element) -> str | None:
        # Other programs leave XML files beside images.
        is_annotation = kit or document.tag == "annotation"
        return _image_of(xml, document, image_folders(xml, kit), files, there) if is_annotation else None

    documents = {split: _documents(root, names, image_of, problems, noted) for split, names in splits.items()}
    if not kit:
        bad = {problem.file for problem in problems}
        documents = _of_splits(root, documents, {split for split, names in splits.items() if bad & {*names}}, announce)
    pictures = inspect_images(root, [file for part in documents.values() for _, file in part.values()], announce)
    images: dict[str, dict[str, AnnotatedImage]] = {split: {} for split in documents}
    objects: dict[str, list[_NamedObject]] = {}
    for split, part in documents.items():
        for xml, (document, file) in part.items():
            picture = pictures[file]
            if isinstance(picture, BadEntry):
                problems.note(file, "", picture.what, picture.kind)
                continue
            try:
                is_lying = _is_annotated_lying(document, picture)
            except BadEntry as bad:
                problems.note(xml, "size", bad.what, bad.kind)
                continue
            noted.image(file, picture.orientation, picture.peak)
            images[split][xml] = AnnotatedImage(file, picture.height, picture.width, picture.digest)
            of = (picture.lying, picture.orientation) if is_lying else ((picture.height, picture.width), AS_IT_LIES)
            objects[xml] = _objects(xml, document, *of, problems)
    categories = tuple(sorted({name for xml in images["train"] for name, _, _ in objects[xml]}))
    usable: dict[str, list[AnnotatedImage]] = {}
    for split, found in images.items():
        usable[split] = []
        for xml, image in found.items():
            labelled = _labelled(xml, objects[xml], categories, problems)
            # An image without one of its objects would teach that there is only background.
            if len(labelled) == len(documents[split][xml][0].findall("object")):
                usable[split].append(replace(image, objects=labelled))
            else:
                noted.left_out.append(image.file)
    return Reading(categories, usable, noted=noted)


def _documents(
    root: Path,
    names: list[str],
    image_of: Callable[[str, Element], str | None],
    problems: ProblemList,
    noted: Noted,
) -> _Documents:
    """The XML files `names` with their images; those that are no annotations, and have None, are passed over."""
    documents: _Documents = {}
    owners: dict[str, str] = {}
    for xml in names:
        try:
            relative_name(xml, "the name")  # it may come from a list: it must not leave the folder
            if xml in documents:
                raise BadEntry("the list of the split names it twice", DUPLICATE)
            document = _parse(contained(root, xml))
            file = image_of(xml, document)
            if file is None:
                continue
            noted.used += [xml, file]
            if file in owners:
                raise BadEntry(f"its image {file} is that of {owners[file]} too", DUPLICATE)
            owners[file] = xml
            documents[xml] = (document, file)
        except BadEntry as bad:
            problems.note(xml, "", bad.what, bad.kind)
    return documents


def _of_splits(
    root: Path, documents: dict[str, _Documents], bad: set[str], announce: Callable[[str], None]
) -> dict[str, _Documents]:
    """The splits that have annotations, or `bad` ones; DataError where there are none for training, or some outside."""
    unsplit = documents.get(UNSPLIT)
    if unsplit:
        raise DataError(f"{root} has {next(iter(unsplit))} outside the folders of its splits: move it into one of them")
    if not documents["train"] and not bad:
        raise no_annotations(root)
    there = {split: found for split, found in documents.items() if found or split in bad or split == "train"}
    for split in sorted(documents.keys() - there.keys() - {UNSPLIT}):
        announce(f"{root}: no {split} image has annotations: they are not read")
    return {split: found for split, found in there.items() if split != UNSPLIT}


def _image_of(xml: str, document: Element, folders: tuple[str, ...], files: Files, there: set[str]) -> str:
    """The image of an XML file has its name, as in VOC's own kit; `filename` is often left as it was elsewhere: it
    tells the ending, and the image only where none has the name and that is no other XML file's (`there`)."""
    said = (document.findtext("filename") or "").strip().replace("\\", "/")
    ending = PurePosixPath(said).suffix
    ending = ending if ending.lower() in IMAGE_EXTENSIONS else ".jpg"
    name = PurePosixPath(xml).stem
    found = files.find(folders, f"{name}{ending}")
    if found is None and said and PurePosixPath(said).stem not in there:
        found = files.find(folders, PurePosixPath(said).name)
    return found or f"{folders[0]}/{name}{ending}".removeprefix("/")


def _parse(path: Path) -> Element:
    """The root element; BadEntry for what is no XML, and for any document type: entities can fill the memory or read
    other files, and annotations need none."""
    try:
        if path.stat().st_size > _LARGEST_XML:
            raise BadEntry(f"it is larger than {_LARGEST_XML:,} bytes: it is no annotation of one image", MALFORMED)
        root: Element = fromstring(_xml_text(again(path.read_bytes)), forbid_dtd=True)
        return root
    except OSError as error:
        raise BadEntry(f"it cannot be read ({error.strerror or error})", UNREADABLE) from error
    except DefusedXmlException as error:
        raise BadEntry("it declares a document type or entities: remove the DOCTYPE", MALFORMED) from error
    except (ParseError, ValueError, LookupError) as error:  # unknown encodings are the latter
        raise BadEntry(f"it is not XML, or was cut short ({error})", MALFORMED) from error


def _xml_text(raw: bytes) -> bytes | str:
    """What expat is given: without space before the declaration, decoded where it knows not the encoding."""
    raw = raw.lstrip(b" \t\r\n")
    declared = _DECLARED.match(raw)
    if declared is None or declared[1].lower() in _KNOWN_TO_EXPAT:
        return raw
    return raw[declared.end() :].decode(declared[1].decode("ascii"))


def _is_annotated_lying(document: Element, picture: Picture) -> bool:
    """See `Picture.is_annotated_lying`. BadEntry when the file says another size than the image has."""
    width, height = (document.findtext(f"size/{side}", "0").strip() for side in ("width", "height"))
    try:
        return picture.is_annotated_lying(said_size(width, height))
    except BadEntry as bad:
        raise BadEntry(f"the image is said to have {quoted(f'{width}x{height}')}, {bad.what}", bad.kind) from bad


def _objects(
    xml: str, document: Element, lying: tuple[int, int], orientation: int, problems: ProblemList
) -> list[_NamedObject]:
    """lying: height and width of the pixels that the boxes are of, which `orientation` turns."""
    objects = []
    for place, element in enumerate(document.findall("object"), start=1):
        entry = f"object {place}"
        try:
            name = as_name(element.findtext("name"), "name")
            box = turned_box(clipped_box(_corners(element), *lying), *lying, orientation)
            area = (box[2] - box[0]) * (box[3] - box[1])
            difficult = element.findtext("difficult", "0").strip()
            if difficult.lower() not in _DIFFICULT:
                raise BadEntry(f"difficult is {quoted(difficult)}: it must be 0 or 1", MALFORMED)
            objects.append((name, entry, Annotation(box, -1, area, _DIFFICULT[difficult.lower()])))
        except BadEntry as bad:
            problems.note(xml, entry, bad.what, bad.kind)
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
    xml: str, objects: list[_NamedObject], categories: tuple[str, ...], problems: ProblemList
) -> tuple[Annotation, ...]:
    labelled = []
    for name, entry, each in objects:
        if name in categories:
            labelled.append(replace(each, label=categories.index(name)))
        else:
            problems.note(xml, entry, f"category {name!r} does not occur in the training split", CATEGORY)
    return tuple(labelled)
