"""Small scenes made on the spot: bright squares of three colours on a dark ground."""

from __future__ import annotations

from typing import Literal

import torch

from trials.data import SceneData, SceneSplit

COLOURS = ("red", "green", "blue")


def split(count: int, side: int, seed: int, semantic: bool = False) -> SceneSplit:
    """`count` images of one to three squares, of 10 to 28 pixels, that do not overlap."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    images = torch.randint(0, 60, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    maps = torch.zeros(count, side, side, dtype=torch.uint8)
    first, boxes, labels = [0], [], []
    for image, painted in zip(images, maps, strict=True):
        for _ in range(draw(1, 4)):
            length, colour = draw(10, 29), draw(0, 3)
            top, left = draw(0, side - length + 1), draw(0, side - length + 1)
            place = slice(top, top + length), slice(left, left + length)
            if not painted[place].any():
                image[colour, *place] = 220
                painted[place] = colour + 1
                boxes.append([left, top, left + length, top + length])
                labels.append(colour)
        first.append(len(boxes))
    objects = 0 if semantic else len(boxes)
    box = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)[:objects]
    return SceneSplit(
        images=images,
        files=tuple(f"{place}.png" for place in range(count)),
        sizes=torch.full((count, 2), side),
        scales=torch.ones(count, 2),
        first=torch.tensor(first) if not semantic else torch.zeros(count + 1, dtype=torch.int64),
        boxes=box,
        labels=torch.tensor(labels)[:objects],
        areas=(box[:, 2:] - box[:, :2]).prod(dim=1),
        crowd=torch.zeros(objects, dtype=torch.bool),
        maps=maps if semantic else None,
    )


def squares(train: int, val: int, side: int = 64, targets: Literal["boxes", "semantic"] = "boxes") -> SceneData:
    semantic = targets == "semantic"
    return SceneData(
        name="squares",
        targets=targets,
        categories=("background", *COLOURS) if semantic else COLOURS,
        train=split(train, side, 0, semantic),
        val=split(val, side, 1, semantic),
        test=None,
        mean=(0.15, 0.15, 0.15),
        std=(0.2, 0.2, 0.2),
        derived=True,
        dropped={},
        fingerprint="0" * 16,
    )
