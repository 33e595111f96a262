"""Joint augmentation of images and their targets, by torchvision's transforms v2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trials.data.fitting import PAD_GREY
from trials.data.readers.masks import IGNORED
from trials.data.scenes import Target

if TYPE_CHECKING:
    from torchvision.transforms import v2

_ZOOM = (0.5, 1.5)  # of the image size: down to where a 64-pixel object is 32, up to where a third is cropped away
_COLOUR = 0.2  # brightness, contrast and saturation change by up to this share
_SHORTEST = 1.0  # pixels: what is left of a box must be as wide and as high


def augment_scenes(
    images: Tensor, targets: Sequence[Target], generator: torch.Generator
) -> tuple[Tensor, list[Target]]:
    """Random flip, scale (half to one and a half), crop or padding, and colours, drawn anew for each image.

    images: uint8 [B, 3, S, S] on any device; targets: as `SceneSplit.batch` gives them. Both are left as they are;
    returned are images of the same shape and targets of the same form. Boxes are clipped to the image, those without
    a pixel left are dropped with all that belongs to them, and areas are those of the boxes that remain.
    generator: a CPU generator. Each image takes one seed from it, so that what is drawn depends neither on the device
        nor on the other images of the batch (pixels may differ by a rounding between devices); torch's own random
        state is left as it was.
    """
    from torchvision import tv_tensors

    seeds = torch.randint(2**62, (len(targets),), generator=generator).tolist()
    augmented = torch.empty_like(images)
    changed: list[Target] = []
    with torch.random.fork_rng(devices=[]):  # transforms draw on the CPU, from the one global generator
        for place, (seed, target) in enumerate(zip(seeds, targets, strict=True)):
            torch.manual_seed(seed)
            transforms = _transforms(int(images.shape[-1]))
            image, moved = transforms(tv_tensors.Image(images[place]), dict(target))
            augmented[place] = image
            changed.append(_remaining(moved))
    return augmented, changed


@lru_cache(maxsize=8)
def _transforms(side: int) -> v2.Compose:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.ScaleJitter((side, side), scale_range=_ZOOM),
            v2.RandomCrop(side, pad_if_needed=True, fill={tv_tensors.Image: PAD_GREY, tv_tensors.Mask: IGNORED}),
            v2.ClampBoundingBoxes(),
            v2.ColorJitter(brightness=_COLOUR, contrast=_COLOUR, saturation=_COLOUR),
        ]
    )


def _remaining(target: Target) -> Target:
    """The target without the objects that left the image, with the areas of what is left of the others."""
    if "boxes" not in target:
        return target
    from torchvision.transforms import v2

    boxes, there = v2.functional.sanitize_bounding_boxes(target["boxes"], min_size=_SHORTEST)
    sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
    kept = {name: target[name][there] for name in ("labels", "iscrowd")}
    return {**target, **kept, "boxes": boxes, "area": sides.prod(dim=1)[there]}
