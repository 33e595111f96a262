"""From resident pixels to what a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trials.data import SceneData, normalise
from trials.data.scenes import Target


def moved(images: Tensor, targets: Sequence[Target], device: torch.device) -> tuple[Tensor, list[Target]]:
    """A batch on the device of a network; as it is, not copied, where it is there already."""
    if images.device == device:
        return images, list(targets)
    there = [
        {name: value.to(device) if isinstance(value, Tensor) else value for name, value in target.items()}
        for target in targets
    ]
    return images.to(device), there


def network_inputs(images: Tensor, data: SceneData) -> Tensor:
    """uint8 [B, 3, S, S] -> float32, normalised by the train split's mean and deviation, channels last."""
    mean, std = (torch.tensor(values, device=images.device) for values in (data.mean, data.std))
    return normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
