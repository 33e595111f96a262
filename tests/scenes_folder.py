"""A small COCO folder made on the spot."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw


def cells(folder: Path, images: int = 24, side: int = 64, seed: int = 0) -> Path:
    """A COCO folder of dark squares and light discs on grey, one or two an image, in train, val and test."""
    rng = random.Random(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    number = 0
    for split, count in {"train": images, "val": max(4, images // 3)}.items():
        document: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}],
        }
        for _ in range(count):
            number += 1
            picture = Image.new("RGB", (side, side), (100 + rng.randrange(30),) * 3)
            draw, name = ImageDraw.Draw(picture), f"{number:03}.png"
            for place in range(1 + rng.randrange(2)):
                length, kind = 10 + rng.randrange(14), 1 + rng.randrange(2)
                left, top = rng.randrange(side - length), place * side // 2 + rng.randrange(side // 2 - length)
                corners = (left, top, left + length - 1, top + length - 1)
                shape = draw.rectangle if kind == 1 else draw.ellipse
                shape(corners, fill=(10, 10, 10) if kind == 1 else (250, 250, 250))
                document["annotations"].append(
                    {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": kind, "iscrowd": 0}
                    | {"bbox": [left, top, length, length], "area": length * length}
                )
            picture.save(folder / "images" / name)
            document["images"].append({"id": number, "file_name": name, "width": side, "height": side})
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(document))
    return folder
