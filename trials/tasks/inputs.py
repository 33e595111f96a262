"""From resident pixels to what a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from trials.data import normalise
from trials.scenes import SceneData


def network_inputs(images: Tensor, data: SceneData) -> Tensor:
    """uint8 [B, 3, S, S] -> float32, normalised by the train split's mean and deviation, channels last."""
    mean, std = (torch.tensor(values, device=images.device) for values in (data.mean, data.std))
    return normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
