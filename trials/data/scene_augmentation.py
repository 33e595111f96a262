"""Joint augmentation of batches of images and their targets: what torchvision's transforms v2 would do to each image by
itself, without the milliseconds that they take to find out what each part of a target is.

What is drawn, pixels and boxes are theirs to the last bit (a test holds the two together): `RandomHorizontalFlip`,
`ScaleJitter`, `RandomCrop` with padding, `ClampBoundingBoxes` and `ColorJitter`, in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trials.data.fitting import PAD_GREY
from trials.data.readers.masks import IGNORED
from trials.data.scenes import Target

ZOOM = (0.5, 1.5)  # of the image size: down to where a 64-pixel object is 32, up to where a third is cropped away
COLOUR = 0.2  # brightness, contrast and saturation change by up to this share
_SHORTEST = 1.0  # pixels: what is left of a box must be as wide and as high
_BRIGHTNESS, _CONTRAST, _SATURATION = range(3)  # as ColorJitter numbers them; its fourth, hue, is not changed


@dataclass(frozen=True)
class _Drawn:
    """One image's own: whether it is mirrored, its new side and how much grey is put around it (both in pixels), the
    corner of the crop, and the changes of colour in their order, each with its factor."""

    flip: bool
    side: int
    padding: int
    top: int
    left: int
    colours: tuple[tuple[int, float], ...]


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
    side = int(images.shape[-1])
    seeds = torch.randint(2**62, (len(targets),), generator=generator).tolist()
    drawn = [_draw(seed, side) for seed in seeds]
    augmented = torch.full_like(images, PAD_GREY)
    # One at a time and in one place: in fresh memory, or that of a whole batch, it would take twice as long.
    pixels = torch.empty(images.shape[1:], dtype=torch.float32, device=images.device)
    for image, source, each in zip(augmented, images, drawn, strict=True):
        _place(image, _resized(_flipped(source, each), each.side), each)
        _change_colours(image, each.colours, pixels)
    if "map" in next(iter(targets), {}):
        return augmented, _moved_maps(targets, drawn)
    return augmented, _moved_boxes(targets, drawn, side)


def _draw(seed: int, side: int) -> _Drawn:
    """The same numbers in the same order as torchvision's transforms take them."""
    source = torch.Generator().manual_seed(seed)

    def below(end: int) -> int:
        return int(torch.randint(0, end, (), generator=source))

    flip = bool(torch.rand(1, generator=source) < 0.5)
    new_side = int(side * (ZOOM[0] + torch.rand(1, generator=source) * (ZOOM[1] - ZOOM[0])))
    padding = max(side - new_side, 0)  # on each side: the crop can lie anywhere that holds the whole image
    spare = new_side + 2 * padding - side
    top, left = (below(spare + 1), below(spare + 1)) if spare else (0, 0)
    order = torch.randperm(4, generator=source).tolist()
    factors = [float(torch.empty(1).uniform_(1 - COLOUR, 1 + COLOUR, generator=source)) for _ in range(3)]
    colours = tuple((kind, factors[kind]) for kind in order if kind <= _SATURATION)
    return _Drawn(flip, new_side, padding, top, left, colours)


def _flipped(image: Tensor, drawn: _Drawn) -> Tensor:
    return image.flip(-1) if drawn.flip else image


def _resized(image: Tensor, side: int) -> Tensor:
    """Antialiased bilinear, [3, S, S] -> [3, side, side], uint8."""
    from torchvision.transforms.v2 import functional

    resized: Tensor = functional.resize_image(image, [side, side])
    return resized


def _place(canvas: Tensor, resized: Tensor, drawn: _Drawn) -> None:
    """Put what the crop shows of [..., side, side] where it shows it: canvas [..., S, S]."""
    side = canvas.shape[-1]
    top, left = drawn.top - drawn.padding, drawn.left - drawn.padding  # of the crop, in pixels of the resized image
    seen = resized[..., max(top, 0) : max(top, 0) + side, max(left, 0) : max(left, 0) + side]
    down, across = max(-top, 0), max(-left, 0)
    canvas[..., down : down + seen.shape[-2], across : across + seen.shape[-1]] = seen


def _change_colours(image: Tensor, changes: Sequence[tuple[int, float]], pixels: Tensor) -> None:
    """torchvision's `adjust_brightness`, `adjust_contrast` and `adjust_saturation` of uint8 [3, H, W], in place.

    In between they are `pixels`, float32 of that shape, without their fractions: what uint8 would make of them.
    """
    pixels.copy_(image)
    for kind, factor in changes:
        if kind == _BRIGHTNESS:
            pixels.mul_(factor)
        else:
            red, green, blue = pixels
            grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()[None]
            mixed_in = grey.mean(dim=(-3, -2, -1), keepdim=True) if kind == _CONTRAST else grey
            pixels.mul_(factor).add_(mixed_in, alpha=1.0 - factor)
        pixels.clamp_(0, 255).floor_()
    image.copy_(pixels)


def _moved_maps(targets: Sequence[Target], drawn: Sequence[_Drawn]) -> list[Target]:
    """Nearest pixels; what is not of the image does not count."""
    from torchvision import tv_tensors

    maps = torch.stack([target["map"].as_subclass(Tensor) for target in targets])
    moved = torch.full_like(maps, IGNORED)
    for canvas, source, each in zip(moved, maps, drawn, strict=True):
        resized = F.interpolate(_flipped(source, each)[None, None], (each.side, each.side), mode="nearest")
        _place(canvas, resized[0, 0], each)
    return [{**target, "map": tv_tensors.Mask(each)} for target, each in zip(targets, moved, strict=True)]


def _moved_boxes(targets: Sequence[Target], drawn: Sequence[_Drawn], side: int) -> list[Target]:
    """The targets without the objects that left the image, with the areas of what is left of the others."""
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional

    if not targets:
        return []
    canvas: dict[str, Any] = {"format": "XYXY", "canvas_size": (side, side)}
    boxes = torch.cat([target["boxes"].as_subclass(Tensor) for target in targets])
    counts = torch.tensor([len(target["boxes"]) for target in targets])

    def of_objects(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
        """[M, 1] of one value an image."""
        return torch.tensor(values, dtype=dtype).repeat_interleave(counts).to(boxes.device)[:, None]

    mirror_image = torch.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], dim=1)
    boxes = torch.where(of_objects([each.flip for each in drawn], torch.bool), mirror_image, boxes)
    boxes = boxes * of_objects([each.side / side for each in drawn]) + of_objects([each.padding for each in drawn])
    corners = torch.cat([of_objects([each.left for each in drawn]), of_objects([each.top for each in drawn])], dim=1)
    boxes = (boxes - corners.repeat(1, 2)).clamp_(0, side)
    sides = boxes[:, 2:] - boxes[:, :2]
    _, there = functional.sanitize_bounding_boxes(boxes, min_size=_SHORTEST, **canvas)
    areas = sides.prod(dim=1)
    changed = []
    for target, mine, kept, area in zip(
        targets, *(part.split(counts.tolist()) for part in (boxes, there, areas)), strict=True
    ):
        others = {name: target[name][kept] for name in ("labels", "iscrowd")}
        placed = tv_tensors.BoundingBoxes(mine[kept], **canvas)
        changed.append({**target, **others, "boxes": placed, "area": area[kept]})
    return changed
