"""Fusion where a network concatenates: each map is embedded in its own channels, and then any operator applies.

Concatenation is a sum: cat(x₁, …, xₙ) = Σ Eᵢxᵢ, where Eᵢ places map i at its offset among ΣCᵢ channels and zeros
elsewhere. An operator that starts as the sum of its inputs therefore starts as the concatenation, and `add` at
such a point *is* the concatenation.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Concatenation(nn.Module):
    """cat(x₁, …, xₙ): maps [B, Cᵢ, H, W] -> [B, ΣCᵢ, H, W]. No parameters, no multiply-adds."""

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        return torch.cat(maps, dim=1)


class EmbeddedFusion(nn.Module):
    """fuse(E₁x₁, …, Eₙxₙ): maps [B, Cᵢ, H, W] -> [B, ΣCᵢ, H, W]; the embedding itself costs nothing."""

    def __init__(self, fuse: nn.Module, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.fuse = fuse
        self.channels = channels

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        total, offset, embedded = sum(self.channels), 0, []
        for part, channels in zip(maps, self.channels, strict=True):
            embedded.append(F.pad(part, (0, 0, 0, 0, offset, total - offset - channels)))
            offset += channels
        fused: torch.Tensor = self.fuse(*embedded)
        return fused
