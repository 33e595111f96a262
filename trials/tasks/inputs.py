"""From resident pixels to what a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from trials.data import ImageData, SceneData, normalise
from trials.data.scenes import Target


class Normalisation:
    """uint8 [B, C, S, S] -> float32, normalised by the train split's mean and deviation, channels last.

    Its numbers are on the device of the images from the start: to bring them there waits, which a captured step cannot.
    """

    def __init__(self, data: ImageData | SceneData, device: torch.device) -> None:
        self._mean, self._std = (torch.tensor(values, device=device) for values in (data.mean, data.std))

    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float32[Tensor, "b c h w"]:
        return normalise(images, self._mean, self._std).contiguous(memory_format=torch.channels_last)


def network_inputs(images: UInt8[Tensor, "b c h w"], data: ImageData | SceneData) -> Float32[Tensor, "b c h w"]:
    """uint8 [B, C, S, S] of these data -> float32, normalised by their train split, channels last."""
    return Normalisation(data, images.device)(images)


def moved(images: Tensor, targets: Sequence[Target], device: torch.device) -> tuple[Tensor, list[Target]]:
    """A batch on the device of a network; as it is, not copied, where it is there already."""
    if images.device == device:
        return images, list(targets)
    there = [
        {name: value.to(device) if isinstance(value, Tensor) else value for name, value in target.items()}
        for target in targets
    ]
    return images.to(device), there
