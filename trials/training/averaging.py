"""The moving average of a network's weights over its training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and statistics, which follows faster in its first steps.

    After n updates it keeps min(decay, (1 + n) / (10 + n)) of itself: a short schedule would else be judged by its
    first, random weights.
    """

    def follow(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - kept)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True)  # type: ignore[arg-type]
