"""How well what a network says of one scene agrees with what is there: on which scenes do two networks differ?"""

from __future__ import annotations

import torch
from torchvision.ops import box_iou

from trials.data.readers.masks import IGNORED
from trials.data.scenes import Target

#: Two boxes are of one object from this share of their union on.
LEAST_OVERLAP = 0.5


def agreement(found: Target, there: Target) -> float:
    """From 0 to 1. Of maps the share of pixels of a class that are named rightly; of boxes the F1 score (Dice): twice
    the objects that were found, by all that were found and all that there are. An object is found by one box of its
    category that overlaps it by `LEAST_OVERLAP`; `found` is in the order of its scores, and crowds are not counted.
    Where nothing is there and nothing was found, 1.
    """
    if "map" in there:
        known = there["map"] != IGNORED
        return float((found["map"] == there["map"])[known].float().mean()) if bool(known.any()) else 1.0
    objects = ~there["iscrowd"].bool()
    boxes, labels = there["boxes"][objects], there["labels"][objects]
    said, there_are = len(found["labels"]), len(labels)
    if not said + there_are:
        return 1.0
    overlaps = box_iou(found["boxes"], boxes).masked_fill(found["labels"][:, None] != labels[None], 0)
    free, right = torch.ones(there_are, dtype=torch.bool), 0
    for row in overlaps:
        left = row.where(free, 0.0)
        if there_are and float(left.max()) >= LEAST_OVERLAP:
            free[int(left.argmax())] = False
            right += 1
    return 2 * right / (said + there_are)
