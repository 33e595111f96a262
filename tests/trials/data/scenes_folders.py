"""Small folders of scenes in the three forms, for the tests of the scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trials.data import DataError, SceneConfig, SceneData, load_scenes

WIDTH, HEIGHT = 64, 48  # of every image, unless said otherwise
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def write_picture(path: Path, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A file of noise; `size` is (width, height); another seed is another image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def annotation(number: int, image: int, **changed: Any) -> dict[str, Any]:
    """A dog of 20x10 pixels at (10, 20) with a rectangle as its polygon."""
    entry = {
        "id": number,
        "image_id": image,
        "category_id": 7,
        "bbox": [10, 20, 20, 10],
        "area": 200,
        "iscrowd": 0,
        "segmentation": [[10, 20, 30, 20, 30, 30, 10, 30]],
    }
    return {**entry, **changed}


def coco_document(count: int, prefix: str = "") -> dict[str, Any]:
    """`count` images, the first of them with id 1, with one dog each."""
    return {
        "images": [
            {"id": number, "file_name": f"{prefix}{number}.png", "width": WIDTH, "height": HEIGHT}
            for number in range(1, count + 1)
        ],
        "annotations": [annotation(100 + number, number) for number in range(1, count + 1)],
        "categories": CATEGORIES,
    }


def write_json(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_coco(root: Path, document: dict[str, Any], split: str = "train", seed: int = 0) -> Path:
    """ROOT/annotations/SPLIT.json, and an image for each of its entries whose name is a name."""
    write_json(root / "annotations" / f"{split}.json", document)
    for place, image in enumerate(document["images"]):
        name = image.get("file_name")
        if isinstance(name, str) and name.endswith(".png") and ".." not in name and not name.startswith("/"):
            write_picture(root / "images" / name, 1000 * seed + place)
    return root


VOC_OBJECT = "<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def voc_object(name: str = "dog", box: tuple[object, ...] = (11, 21, 30, 30), more: str = "") -> str:
    """An object; `box` is xmin, ymin, xmax, ymax as VOC counts them."""
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return VOC_OBJECT.format(name=name, box=corners, more=more)


def write_beside(root: Path, objects: dict[str, str], seed: int = 0) -> Path:
    """NAME.png and NAME.xml side by side, for each name in `objects`."""
    for place, (name, text) in enumerate(objects.items()):
        write_picture(root / f"{name}.png", 1000 * seed + place)
        (root / f"{name}.xml").write_text(voc_document(name, text), encoding="utf-8")
    return root


def voc_document(name: str, objects: str) -> str:
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    return f"<annotation><filename>{name}.png</filename>{size}{objects}</annotation>"


def write_voc(root: Path, objects: dict[str, str], **lists: list[str]) -> Path:
    """An image and an XML file for each name in `objects`; ImageSets/Main/SPLIT.txt for each of `lists`."""
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    for place, (name, text) in enumerate(objects.items()):
        write_picture(root / "JPEGImages" / f"{name}.png", place)
        (root / "Annotations" / f"{name}.xml").write_text(voc_document(name, text), encoding="utf-8")
    for split, names in lists.items():
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(names), encoding="utf-8")
    return root


def write_map(path: Path, values: np.ndarray[Any, Any], mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        image.putpalette([number for value in range(256) for number in (255 - value, value, 7)])
    (image if mode in ("L", "P") else image.convert(mode)).save(path)
    return path


def half_map(value: int, ignored: bool = False) -> np.ndarray[Any, Any]:
    """Class 0 on the left, `value` on the right; the first row ignored if asked."""
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values[:, WIDTH // 2 :] = value
    if ignored:
        values[0] = 255
    return values


def load(name: str, said: list[str] | None = None, **options: Any) -> SceneData:
    return load_scenes(SceneConfig(name, **{"image_size": 64, **options}), (said if said is not None else []).append)


def refused(name: str, **options: Any) -> str:
    """The one line that answers this data."""
    with pytest.raises(DataError) as error:
        load(name, **options)
    message = str(error.value)
    assert "\n" not in message
    return message
