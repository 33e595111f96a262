"""The task of giving every pixel a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from trials.data import SceneData
from trials.data.readers.masks import IGNORED
from trials.data.scenes import SceneSplit, Target
from trials.tasks.confusion import count_pixels, figures_of
from trials.tasks.scenes import SceneTask, check_belongs


class SegmentationTask(SceneTask):
    """The loss of a batch, and what its pixels were taken for."""

    @classmethod
    def of(cls, network: nn.Module, data: SceneData) -> SegmentationTask:
        """Raises TaskError where they do not belong together."""
        check_belongs(network, data)
        return cls()

    def loss(self, outputs: Float[Tensor, "b k h w"], targets: Sequence[Target]) -> Float[Tensor, ""]:
        """Mean cross-entropy of logits [B, K, H, W] over the pixels that count, 0 where none does."""
        maps = _maps(targets)
        summed = F.cross_entropy(outputs.float(), maps.long(), ignore_index=IGNORED, reduction="sum")
        return summed / (maps != IGNORED).sum().clamp(min=1)

    def logits(
        self, outputs: Float[Tensor, "b k h w"], targets: Sequence[Target], every: int
    ) -> tuple[Float[Tensor, "n k"], Int64[Tensor, " n"]]:
        """Of pixels, but for those that do not count."""
        answers = _maps(targets).flatten()[::every].long()
        found = outputs.permute(0, 2, 3, 1).flatten(0, 2)[::every].float()
        there = answers != IGNORED
        return found[there], answers[there]

    def answers(self, split: SceneSplit) -> int:
        return len(split) * int(split.images.shape[-1]) ** 2

    def read(self, outputs: Float[Tensor, "b k h w"], targets: Sequence[Target]) -> Int64[Tensor, "k k"]:
        """The confusion matrix [K, K] of a batch."""
        return count_pixels(outputs.argmax(dim=1), _maps(targets), outputs.shape[1])

    def figures(self, readings: Sequence[Tensor], split: object, categories: Sequence[str]) -> dict[str, Any]:
        """`SegmentationFigures` of all batches of a split."""
        return figures_of(torch.stack(list(readings)).sum(dim=0), categories).to_json()


def _maps(targets: Sequence[Target]) -> UInt8[Tensor, "b h w"]:
    """Of a batch, uint8 [B, H, W]."""
    return torch.stack([target["map"].as_subclass(Tensor) for target in targets])
