"""Dynamic fusion: a router mixes, or chooses among, whole fusions for each image."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.fusions.cbam import CBAMConcatenation, CBAMFusion
from search_spaces.fusions.concatenation import Concatenation, join
from search_spaces.fusions.half import in_float32, widened
from search_spaces.fusions.layers import bottleneck_width, check_shapes, global_average, like
from search_spaces.fusions.linear import Add, Concat, ProjectedConcatenation
from search_spaces.fusions.norms import Norm
from search_spaces.fusions.registry import AttentionWeights, register
from search_spaces.fusions.squeeze_excite import SqueezeExciteConcatenation, SqueezeExciteFusion

_EXPERTS = ("add", "se", "cbam", "concat")
_ROUTING = (AttentionWeights("share", "shares", _EXPERTS),)


class TopOne(nn.Module):
    """Logits [B, n] -> [B, n], zeros and a one: at a softmax draw in training, at the largest in evaluation."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        if self.training:
            return F.gumbel_softmax(logits, hard=True, dim=1)
        return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)


class DynamicConcatenation(nn.Module):
    """Σᵢ pᵢ·Eᵢ(x₁, …, xₙ), p = softmax(W·GAP(cat(x₁, …, xₙ)) + b), experts E: as `dynamic`'s, in their forms there.

    Shapes: maps [B, Cᵢ, H, W] -> [B, C, H, W], C = ΣCᵢ. Parameters: those of the four experts and 4C + 4 of the
    router. Multiply-adds: those of the four experts, and 8C·N + 4C + 4, N = H·W.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        reduction: int = 4,
        *,
        scale: float = 2.0,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.experts = nn.ModuleList(
            [
                Concatenation(channels),
                SqueezeExciteConcatenation(
                    channels, reduction, scale=scale, dropout=dropout, identity_init=identity_init
                ),
                CBAMConcatenation(
                    channels, reduction, scale=scale, norm=norm, dropout=dropout, identity_init=identity_init
                ),
                ProjectedConcatenation(channels, identity_init=identity_init),
            ]
        )
        self.router = nn.Linear(sum(channels), len(self.experts))
        self.share = self.sharing()
        if identity_init:
            nn.init.zeros_(self.router.weight)
            nn.init.zeros_(self.router.bias)

    def sharing(self) -> nn.Module:
        """What turns the router's logits [B, experts] into weights that sum to 1."""
        return nn.Softmax(dim=1)

    def forward(self, *maps: torch.Tensor) -> torch.Tensor:
        wide = widened(*maps)
        pooled = global_average(join(wide, self.channels)).flatten(1)
        weights = self.share(in_float32(self.router, maps[0], pooled))[:, :, None, None, None]
        fused = [weights[:, index] * in_float32(expert, maps[0], *wide) for index, expert in enumerate(self.experts)]
        return like(fused[0] + fused[1] + fused[2] + fused[3], maps[0])


class TopOneDynamicConcatenation(DynamicConcatenation):
    """Eᵢ(x₁, …, xₙ), i = argmax(W·GAP(cat(x₁, …, xₙ)) + b), drawn in training as `dynamic_top1`'s."""

    def sharing(self) -> nn.Module:
        return TopOne()


@register("dynamic", width=bottleneck_width, steps=2, attention=_ROUTING, cat=DynamicConcatenation)
class DynamicFusion(nn.Module):
    """Σᵢ pᵢ·Eᵢ(x, y), p = softmax(W·GAP([x, y]) + b), experts E: `add`, `se`, `cbam` and `concat`.

    Shapes: x, y and the result [B, C, H, W]. Parameters: those of the four experts and 8C + 4 of the router.
    Multiply-adds: those of the four experts, all of which are computed, and 9C·N + 8C + 4, N = H·W.
    Every expert starts as x + y and p sums to 1, so that it starts as x + y; the router starts even, and has no
    gradient before the experts differ: it learns from the second step on. `scale`, `norm` and `dropout` are the
    experts'.
    Source: the soft mixture of Jacobs et al., Adaptive Mixtures of Local Experts, 1991, and CondConv (Yang et al.,
    NeurIPS 2019), over fusions.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 4,
        *,
        scale: float = 2.0,
        norm: Norm = "batch",
        dropout: float = 0.0,
        identity_init: bool = True,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            [
                Add(channels),
                SqueezeExciteFusion(channels, reduction, scale=scale, dropout=dropout, identity_init=identity_init),
                CBAMFusion(channels, reduction, scale=scale, norm=norm, dropout=dropout, identity_init=identity_init),
                Concat(channels, identity_init=identity_init),
            ]
        )
        self.router = nn.Linear(2 * channels, len(self.experts))
        self.share = self.sharing()
        if identity_init:
            nn.init.zeros_(self.router.weight)
            nn.init.zeros_(self.router.bias)

    def sharing(self) -> nn.Module:
        """What turns the router's logits [B, experts] into weights that sum to 1."""
        return nn.Softmax(dim=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        wide_x, wide_y = widened(x, y)
        pooled = torch.cat([global_average(wide_x), global_average(wide_y)], dim=1).flatten(1)
        weights = self.share(in_float32(self.router, x, pooled))[:, :, None, None, None]
        fused = [weights[:, index] * in_float32(expert, x, wide_x, wide_y) for index, expert in enumerate(self.experts)]
        return like(fused[0] + fused[1] + fused[2] + fused[3], x)


@register("dynamic_top1", width=bottleneck_width, steps=8, attention=_ROUTING, cat=TopOneDynamicConcatenation)
class TopOneDynamicFusion(DynamicFusion):
    """Eᵢ(x, y), i = argmax(W·GAP([x, y]) + b), experts E as in `dynamic`.

    In training i is drawn from the softmax by Gumbel noise, with the softmax's gradient (straight through): each
    expert is tried and the router learns, though the forward pass is one expert's. In evaluation i is the argmax.
    Shapes, parameters and multiply-adds: `dynamic`'s. All experts are computed, so that the network exports with
    a free batch size: choosing one sharpens the routing and saves no time.
    An expert has a gradient only in the steps that draw it: among 8 images or more, within a few steps.
    Source: Jang et al., Categorical Reparameterization with Gumbel-Softmax, ICLR 2017; top-1 routing of Fedus et
    al., Switch Transformers, JMLR 2022, without its balancing loss.
    """

    def sharing(self) -> nn.Module:
        return TopOne()
