"""Where a network concatenates: the plain concatenation, and what the operators' forms for such places share.

At a sum every map has C channels, and an operator may weigh one map against the other channel by channel. At a
concatenation the maps have channels of their own that add up to C, and a channel is of one map only: there the
operators act on the concatenated map (a gate, attention, a projection C -> C), or give each map a weight. All start
as the plain concatenation, which is `add` there. Each operator's form stands beside its form for sums.
"""

from __future__ import annotations

import torch
from torch import nn


def join(maps: tuple[torch.Tensor, ...], channels: tuple[int, ...]) -> torch.Tensor:
    """cat(x₁, …, xₙ): maps [B, Cᵢ, H, W] -> [B, ΣCᵢ, H, W].

    Raises:
        ValueError: the maps do not have these channels, or differ in batch, height or width.
    """
    if torch._C._get_tracing_state() is None:  # under torch.jit.trace sizes are tensors
        given = tuple(x.shape[1] for x in maps)
        if given != channels or any(x.shape[2:] != maps[0].shape[2:] for x in maps[1:]):
            shapes = ", ".join(str(list(x.shape)) for x in maps)
            raise ValueError(f"maps of shapes {shapes} cannot be concatenated here: expected {channels} channels")
    return torch.cat(maps, dim=1)


class Concatenation(nn.Module):
    """cat(x₁, …, xₙ): maps [B, Cᵢ, H, W] -> [B, ΣCᵢ, H, W]. No parameters, no multiply-adds."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return join(maps, self.channels)
