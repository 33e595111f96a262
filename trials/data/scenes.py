"""The loaded scenes: images of one size with their targets, by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from trials.data.config import Targets
from trials.data.findings import Findings

Target = dict[str, Any]


@dataclass(frozen=True, eq=False)
class SceneSplit:
    """N images with M objects, none of them with "semantic"; those of image i are at `first[i]` to `first[i + 1]`.

    images: uint8 [N, 3, S, S], RGB, padded below and to the right with grey. May be a mapped cache file (private
        copy-on-write pages).
    files: their names. sizes: int64 [N, 2], height and width of the originals in pixels. scales: float32 [N, 2], size
        here by size there, down and across: a box here divided by them is a box in the original.
    boxes: float32 [M, 4], left, top, right, bottom in pixels of `images`; pixel i covers i to i + 1.
    labels: int64 [M], indices into `SceneData.categories`. areas: float32 [M], as the data say them, else of
        the boxes, in pixels of `images`. crowd: bool [M], regions of many or doubtful objects, neither to be found
        nor false alarms.
    maps: uint8 [N, S, S] of indices into `SceneData.categories`, 255 where nothing counts, for "semantic".
    """

    images: Tensor
    files: tuple[str, ...]
    sizes: Tensor
    scales: Tensor
    first: Tensor
    boxes: Tensor
    labels: Tensor
    areas: Tensor
    crowd: Tensor
    maps: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or self.images.shape[1] != 3:
            raise ValueError(f"images must be uint8 [N, 3, S, S], not {self.images.dtype} {list(self.images.shape)}")
        if self.boxes.dtype != torch.float32 or self.boxes.shape != (len(self.labels), 4):
            raise ValueError(f"boxes must be float32 [M, 4], not {self.boxes.dtype} {list(self.boxes.shape)}")
        if self.first.shape != (len(self) + 1,) or int(self.first[-1]) != len(self.labels):
            raise ValueError(f"first must lead from 0 to {len(self.labels)} in {len(self)} steps")

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def batch(self, positions: Sequence[int] | Tensor) -> tuple[Tensor, list[Target]]:
        """The images at `positions`, uint8 [B, 3, S, S], and a target for each, in torchvision's form.

        A target has `image_id` (the position); with "semantic" `map` (Mask, uint8 [S, S]) and nothing else; otherwise
        `boxes` (BoundingBoxes XYXY [K, 4]), `labels` int64 [K] from 0 on, `area` float32 [K] and `iscrowd` bool [K].
        All on the device of the split.
        """
        places = torch.as_tensor(positions, dtype=torch.int64)
        return self.images[places.to(self.images.device)], [self.target(place) for place in places.tolist()]

    def target(self, place: int) -> Target:
        """The target of one image, see `batch`."""
        from torchvision import tv_tensors  # brings torch's compiler with it: seconds, which no classifier waits for

        side = int(self.images.shape[-1])
        if self.maps is not None:
            return {"image_id": place, "map": tv_tensors.Mask(self.maps[place])}
        start, end = int(self.first[place]), int(self.first[place + 1])
        return {
            "image_id": place,
            "boxes": tv_tensors.BoundingBoxes(self.boxes[start:end], format="XYXY", canvas_size=(side, side)),
            "labels": self.labels[start:end],
            "area": self.areas[start:end],
            "iscrowd": self.crowd[start:end],
        }

    def take(self, positions: Tensor) -> SceneSplit:
        """The images at `positions`, int64 [K], with their objects, in that order."""
        places = positions.tolist()
        spans = [torch.arange(int(self.first[place]), int(self.first[place + 1])) for place in places]
        objects = torch.cat([torch.empty(0, dtype=torch.int64), *spans])
        there = objects.to(self.boxes.device)
        ends = torch.tensor([len(span) for span in spans], dtype=self.first.dtype).cumsum(0)
        return SceneSplit(
            images=self.images[positions.to(self.images.device)],
            files=tuple(self.files[place] for place in places),
            sizes=self.sizes[positions],
            scales=self.scales[positions],
            first=torch.cat([self.first[:1] * 0, ends]),
            boxes=self.boxes[there],
            labels=self.labels[there],
            areas=self.areas[there],
            crowd=self.crowd[there],
            maps=None if self.maps is None else self.maps[positions.to(self.maps.device)],
        )

    def joined(self, other: SceneSplit) -> SceneSplit:
        """Its images and then those of another split of the same data, with their objects."""

        def both(name: str) -> Tensor:
            mine: Tensor = getattr(self, name)
            return torch.cat([mine, getattr(other, name).to(mine.device)])

        names = ("images", "sizes", "scales", "boxes", "labels", "areas", "crowd")
        return SceneSplit(
            files=self.files + other.files,
            first=torch.cat([self.first, other.first[1:] + self.first[-1]]),
            maps=None if self.maps is None or other.maps is None else both("maps"),
            **{name: both(name) for name in names},
        )

    def to(self, device: torch.device | str) -> SceneSplit:
        """The same split with images and targets on `device` (shared, not copied, where they already are there).

        `first`, `sizes` and `scales` stay where they are: to look them up there would halt the device for each image.
        """
        return replace(
            self,
            images=self.images.to(device),
            boxes=self.boxes.to(device),
            labels=self.labels.to(device),
            areas=self.areas.to(device),
            crowd=self.crowd.to(device),
            maps=None if self.maps is None else self.maps.to(device),
        )


@dataclass(frozen=True, eq=False)
class SceneData:
    """A data set of scenes ready for training.

    categories: what labels and the values of maps index; with "semantic" from objects the first is "background".
    train, val: disjoint images. test: never mixed with them; None where a folder has none.
    mean, std: per channel, of the train split's images scaled to 0..1, padding included.
    derived: made from other data; `title` says so and belongs wherever figures of it are shown.
    dropped: how many entries and images were left out, by what was wrong with them.
    fingerprint: 16 hex digits over pixels and targets of every split and the categories.
    findings: what is wrong with it, though it can be used.
    unseen: int64 [K], positions of the test images that equal no training or validation image.
    """

    name: str
    targets: Targets
    categories: tuple[str, ...]
    train: SceneSplit
    val: SceneSplit
    test: SceneSplit | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    derived: bool
    dropped: Mapping[str, int]
    fingerprint: str
    findings: Findings = field(default_factory=Findings)
    unseen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.images.shape[-1])

    @property
    def classes(self) -> tuple[str, ...]:
        """What a network tells apart, by another name."""
        return self.categories

    @property
    def title(self) -> str:
        """The name, with "derived" where it is."""
        return f"{self.name} (derived)" if self.derived else self.name

    @property
    def splits(self) -> dict[str, SceneSplit]:
        """The splits that there are, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def description(self) -> dict[str, Any]:
        """What the record keeps, as JSON: counts of images and objects by split, what was dropped and found."""
        described: dict[str, Any] = {
            "name": self.name,
            "derived": self.derived,
            "targets": self.targets,
            "image_size": self.image_size,
            "categories": list(self.categories),
            "images": {name: len(split) for name, split in self.splits.items()},
            "dropped": dict(self.dropped),
            "findings": self.findings.to_json(),
            "fingerprint": self.fingerprint,
        }
        if self.targets != "semantic":
            for name, split in self.splits.items():
                described.setdefault("objects", {})[name] = len(split.labels)
                described.setdefault("crowds", {})[name] = int(split.crowd.sum())
                described.setdefault("images_without_objects", {})[name] = int((split.first.diff() == 0).sum())
        return described
