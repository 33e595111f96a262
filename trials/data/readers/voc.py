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
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from trials.data.config import DataError, Targets
from trials.data.decoding import again
from trials.data.folders import IMAGE_EXTENSIONS, is_image, look_through, splits_among
from trials.data.items import AnnotatedImage, Annotation, Noted, Reading
from trials.data.orientation import AS_IT_LIES, turned_box
from trials.data.problems import CATEGORY, DUPLICATE, MALFORMED, UNREADABLE, BadEntry, ProblemList, quoted
from trials.data.readers.entries import Box, as_name, clipped_box, plain_text, relative_name, said_size
from trials.data.readers.locating import Files
from trials.data.survey import Picture, contained, inspect_images

_IMAGES = "JPEGImages"
_DECLARED = re.compile(rb"""<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
_KNOWN_TO_EXPAT = (b"utf-8", b"utf-16", b"us-ascii", b"iso-8859-1")
_LARGEST_XML = 10_000_000  # bytes


_DIFFICULT = {"1": True, "true": True, "yes": True}
_DIFFICULT |= dict.fromkeys(("0", "false", "no", "unspecified", "none", ""), False)
_LABELLED = re.compile(r"(.+?)\s+(-1|0|1)")  # a line of a list of one category: the name, and whether it is there

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
    noted = Noted()
    there = {path.stem for path in (root / "Annotations").iterdir() if _is_annotation(path)}
    files = Files(root, look_through(root).files)
    documents = {
        split: _documents(root, names, lambda name, document: _image_of(name, document, files, there), problems, noted)
        for split, names in _splits(root, there, noted, announce).items()
    }
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
                is_lying = _is_annotated_lying(document, picture)
            except BadEntry as bad:
                problems.note(_xml(stem), "size", bad.what, bad.kind)
                continue
            if picture.orientation != AS_IT_LIES:
                noted.turned.append(file)
            images[split][stem] = AnnotatedImage(file, picture.height, picture.width, picture.digest)
            of = (picture.lying, picture.orientation) if is_lying else ((picture.height, picture.width), AS_IT_LIES)
            objects[stem] = _objects(stem, document, *of, problems)
    categories = tuple(sorted({name for stem in images["train"] for name, _, _ in objects[stem]}))
    splits: dict[str, list[AnnotatedImage]] = {}
    for split, usable in images.items():
        splits[split] = []
        for stem, image in usable.items():
            labelled = _labelled(stem, objects[stem], categories, problems)
            # An image without one of its objects would teach that there is only background.
            if len(labelled) == len(documents[split][stem][0].findall("object")):
                splits[split].append(replace(image, objects=labelled))
            else:
                noted.left_out.append(image.file)
    return Reading(categories, splits, noted=noted)


def _splits(root: Path, there: set[str], noted: Noted, announce: Callable[[str], None]) -> dict[str, list[str]]:
    """The names of the images of each split, from the lists; without lists all XML files, `there`, are one split."""
    lists, splits = root / "ImageSets" / "Main", {}
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
    return splits


def _is_annotation(path: Path) -> bool:
    return path.suffix == ".xml" and not path.name.startswith(".")


def _listed_name(line: str, there: set[str]) -> str:
    """The name in a line of a list, which may hold spaces, and be followed by 1, 0 or -1, or by the image's ending."""
    labelled = _LABELLED.fullmatch(line)
    likely = [line, *([labelled[1]] if labelled else []), line.split()[0]]
    likely += [PurePosixPath(name).stem for name in likely if is_image(name)]
    return next((name for name in likely if name in there), likely[1 if labelled else 0])


def _documents(
    root: Path, names: list[str], image_of: Callable[[str, Element], str], problems: ProblemList, noted: Noted
) -> _Documents:
    documents: _Documents = {}
    owners: dict[str, str] = {}
    for name in names:
        try:
            relative_name(f"{name}.jpg", "the name")  # it comes from a list: it must not leave the folder
            if name in documents:
                raise BadEntry("the list of the split names it twice", DUPLICATE)
            document = _parse(contained(root, _xml(name)))
            file = image_of(name, document)
            noted.used += [_xml(name), file]
            if file in owners:
                raise BadEntry(f"its image {file} is that of {_xml(owners[file])} too", DUPLICATE)
            owners[file] = name
            documents[name] = (document, file)
        except BadEntry as bad:
            problems.note(_xml(name), "", bad.what, bad.kind)
    return documents


def _image_of(name: str, document: Element, files: Files, there: set[str]) -> str:
    """The image of an XML file has its name, as in VOC's own kit; `filename` is often left as it was elsewhere: it
    tells the ending, and the image only where none has the name and that is no other XML file's (`there`)."""
    said = (document.findtext("filename") or "").strip().replace("\\", "/")
    ending = PurePosixPath(said).suffix
    ending = ending if ending.lower() in IMAGE_EXTENSIONS else ".jpg"
    found = files.find([_IMAGES], f"{name}{ending}")
    if found is None and said and PurePosixPath(said).stem not in there:
        found = files.find([_IMAGES], PurePosixPath(said).name)
    return found or f"{_IMAGES}/{name}{ending}"


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
        parser.Parse(_xml_text(again(path.read_bytes)), True)
        return builder.close()
    except OSError as error:
        raise BadEntry(f"it cannot be read ({error.strerror or error})", UNREADABLE) from error
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:  # unknown encodings are the latter
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
    stem: str, document: Element, lying: tuple[int, int], orientation: int, problems: ProblemList
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
