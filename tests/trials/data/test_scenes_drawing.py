"""Pictures of scenes: a valid PNG in which every kind of target is seen."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scenes_folders import annotation, coco_document, load, write_coco

from trials.data import draw_scenes


def pixels(png: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize("targets", ["boxes", "semantic"])
def test_targets_are_drawn_on_their_images(tmp_path: Path, targets: str) -> None:
    document = coco_document(3)
    document["annotations"].append(annotation(1, 1, category_id=3, bbox=[40, 5, 20, 30], iscrowd=1))
    data = load(f"coco:{write_coco(tmp_path, document)}", targets=targets, val_fraction=0.34)
    images, drawn = data.train.batch([0, 1])
    with_targets = pixels(draw_scenes(images, drawn, data.categories, columns=2))
    assert with_targets.shape[1] > with_targets.shape[0] >= 384
    clear = [{**target} for target in drawn]
    for target in clear:
        if targets == "semantic":
            target["map"] = torch.zeros_like(target["map"])
        else:
            target |= {name: target[name][:0] for name in ("boxes", "labels", "iscrowd")}
    bare = pixels(draw_scenes(images, clear, data.categories, columns=2))
    changed = (with_targets != bare).any(axis=2)
    assert changed.any()
    if targets == "boxes":  # the outline of the dog at (10, 20) to (30, 30), six times as large, and not its middle
        assert changed[4 + 121, 4 + 6 * 10 : 4 + 6 * 30].all()
        assert not changed[4 + 6 * 40, 4 + 6 * 20]


def test_ignored_pixels_are_black_and_nothing_is_refused(tmp_path: Path) -> None:
    data = load(f"coco:{write_coco(tmp_path, coco_document(3))}", targets="semantic")
    images, targets = data.train.batch([0])
    picture = pixels(draw_scenes(images, targets, data.categories))
    assert not picture[-20, 20:-20].any()
    with pytest.raises(ValueError, match="no image to draw"):
        draw_scenes(images[:0], [], data.categories)
