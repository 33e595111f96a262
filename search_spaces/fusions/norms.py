"""The normalisation inside the operators: batch, group or layer norm."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Norm = Literal["batch", "group", "layer"]
NORMS: tuple[Norm, ...] = ("batch", "group", "layer")

#: A group of one or two channels of a pooled map has no spread: normalised, it would be a constant.
MIN_GROUP = 8


class SampleNorm(nn.GroupNorm):
    """GroupNorm that also takes a single value: torch's refuses it, though each image is normalised by itself."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """B of the formulas, [B, C, H, W] -> [B, C, H, W], with 2C parameters.

    "batch" (the default, the papers') is BatchNorm2d: for training on 8 or more images a device. On the pooled
    [B, C, 1, 1] of a global branch it sees B values a channel: it refuses a batch of 1 and is noise at 2.
    "group" is GroupNorm over groups of 8 channels or more, 32 groups at most, and "layer" is GroupNorm with
    one group, the mean and variance of a whole image's [C, H, W]: both see one image at a time, so they train on
    any batch and do the same in training and in evaluation. Groups keep channels of different magnitude apart;
    below 16 channels the two are the same.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return SampleNorm(1 if norm == "layer" else norm_groups(channels), channels)


def norm_groups(channels: int) -> int:
    """The most groups, at most 32, of equal size and 8 channels or more; 1 where there are none."""
    fitting = (groups for groups in range(32, 0, -1) if channels % groups == 0 and channels // groups >= MIN_GROUP)
    return next(fitting, 1)
