"""The loaded data: splits as uint8 tensors, and the image set that holds them with their statistics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from trials.data.findings import Findings


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    images: uint8 [N, C, H, W], C is 1 (grey) or 3 (RGB), H = W. May be backed by a memory-mapped cache file
        (private copy-on-write pages, so that writing into it changes neither the file nor another process).
    labels: int64 [N], indices into `ImageData.classes`.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {self.images.dtype} {list(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 [N], not {self.labels.dtype} {list(self.labels.shape)}")

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def first(self, count: int) -> Split:
        """The first `count` images (all, where there are fewer)."""
        return Split(self.images[:count], self.labels[:count])

    def to(self, device: torch.device | str) -> Split:
        """The same split with both tensors on `device` (shared, not copied, where they already are there)."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A dataset ready for training.

    train, val: disjoint parts of the training images. test: never mixed with them; None where a folder has none.
    mean, std: per channel, of the train split alone, for images scaled to 0..1.
    fingerprint: 16 hex digits over the pixels and labels of every split and the class names: two loads with the
        same fingerprint train on the same bytes in the same order.
    findings: what is wrong with it, though it can be used.
    unseen: int64 [K], positions of the test images that equal no training or validation image.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    findings: Findings = field(default_factory=Findings)
    unseen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.images.shape[-1])
