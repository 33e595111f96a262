"""The forms of data that can be read: one line and one file each; free of torch.

A reader yields items, files with their targets. Each module has one function:

- of classes: `find(config, announce)`, a `Listing` of files for each split, or an `ArraySource` of published arrays;
- of scenes: `read(root, targets, problems, announce)`, a `Reading`. What is bad goes to `problems` and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Reader:
    """module: of this package. targets: what its items may have, the default first. folder: it reads a user's own
    folder, `NAME:FOLDER`. side: of the square images, in pixels; None is the data's own."""

    module: str
    targets: tuple[str, ...] = ("class",)
    folder: bool = False
    side: int | None = None

    def load(self) -> Any:
        """The module, imported on first use: some need torchvision or COCO's code."""
        return import_module(f"{__name__}.{self.module}")


READERS: dict[str, Reader] = {
    "fashion-mnist-mini": Reader("published"),
    "fashion-mnist": Reader("published"),
    "cifar10": Reader("published"),
    "cifar100": Reader("published"),
    "folder": Reader("folder", folder=True),
    "scenes-mini": Reader("scenes_mini.composing", ("boxes", "semantic"), side=128),
    "coco": Reader("coco", ("boxes", "semantic"), folder=True, side=256),
    "voc": Reader("voc", ("boxes",), folder=True, side=256),
    "masks": Reader("masks", ("semantic",), folder=True, side=256),
}


def image_readers() -> dict[str, Reader]:
    """Those whose images have a class each."""
    return {name: reader for name, reader in READERS.items() if reader.targets == ("class",)}


def scene_readers() -> dict[str, Reader]:
    """Those whose images have boxes or a map of classes."""
    return {name: reader for name, reader in READERS.items() if reader.targets != ("class",)}
