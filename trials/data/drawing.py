"""Pictures of scenes with their targets, for reports and for the eye."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks, make_grid

from trials.data.readers.masks import IGNORED
from trials.data.scenes import Target

_LEAST_SIDE = 384  # pixels: smaller images are enlarged, so that names can be read
_GAP = 4  # pixels between images
_NAMED_WIDTH, _NAMED_HEIGHT = 36, 24  # pixels: on smaller boxes a name would hide the object
_CROWD = (160, 160, 160)


def draw_scenes(images: Tensor, targets: Sequence[Target], categories: Sequence[str], columns: int = 4) -> bytes:
    """A PNG of the images, uint8 [B, 3, S, S], side by side, with the boxes or maps of their targets.

    A category has one colour everywhere, and its name stands in each box that has room for it; crowd regions are grey,
    ignored pixels of maps black, and a category called "background" is not tinted.
    Raises ValueError when there is no image.
    """
    if not len(targets):
        raise ValueError("there is no image to draw")
    drawn = [_draw(image.cpu(), target, categories) for image, target in zip(images, targets, strict=True)]
    grid = make_grid(drawn, nrow=columns, padding=_GAP, pad_value=255)
    picture = BytesIO()
    Image.fromarray(grid.permute(1, 2, 0).numpy()).save(picture, format="PNG", optimize=True)
    return picture.getvalue()


def _draw(image: Tensor, target: Target, categories: Sequence[str]) -> Tensor:
    """uint8 [3, H, W]: the image, enlarged where it is small, with its target."""
    times = -(-_LEAST_SIDE // int(image.shape[-1]))
    image = _enlarged(image, times)
    colours = [_colour(number, len(categories)) for number in range(len(categories))]
    if "map" in target:
        classes = _enlarged(target["map"].cpu()[None], times)[0]
        tinted = [number for number, name in enumerate(categories) if name != "background"]
        masks = classes == torch.tensor(tinted)[:, None, None]
        image = draw_segmentation_masks(image, masks, alpha=0.5, colors=[colours[number] for number in tinted])
        return image.masked_fill(classes == IGNORED, 0)
    if not len(target["labels"]):
        return image
    boxes = target["boxes"].cpu() * times
    names: list[str | None] = []
    shown = []
    for label, crowd, box in zip(target["labels"].tolist(), target["iscrowd"].tolist(), boxes, strict=True):
        roomy = bool(box[2] - box[0] >= _NAMED_WIDTH and box[3] - box[1] >= _NAMED_HEIGHT)
        names.append(categories[label] if roomy else None)
        shown.append(_CROWD if crowd else colours[label])
    drawn: Tensor = draw_bounding_boxes(image, boxes, labels=names, colors=shown, width=2, fill_labels=True)
    return drawn


def _enlarged(image: Tensor, times: int) -> Tensor:
    """[C, H, W] with each pixel as a square of `times` pixels."""
    return image.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def _colour(number: int, count: int) -> tuple[int, int, int]:
    """Hues as far apart as `count` allows, alternately light and dark."""
    red, green, blue = colorsys.hsv_to_rgb(number / max(count, 1), 0.85, 1.0 if number % 2 == 0 else 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)
