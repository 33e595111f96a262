"""The task of giving every pixel a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
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
    def of(cls, network: nn.Module, data: SceneData) -> Self:
        """Raises TaskError where they do not belong together."""
        check_belongs(network, data)
        return cls()

    def loss(self, outputs: Tensor, targets: Sequence[Target]) -> Tensor:
        """Mean cross-entropy of logits [B, K, H, W] over the pixels that count, 0 where none does."""
        maps = _maps(targets)
        summed = F.cross_entropy(outputs.float(), maps.long(), ignore_index=IGNORED, reduction="sum")
        return summed / (maps != IGNORED).sum().clamp(min=1)

    def read(self, outputs: Tensor, targets: Sequence[Target]) -> Tensor:
        """The confusion matrix [K, K] of a batch."""
        return count_pixels(outputs.argmax(dim=1), _maps(targets), outputs.shape[1])

    def figures(self, readings: Sequence[Tensor], split: SceneSplit, categories: Sequence[str]) -> dict[str, Any]:
        """`SegmentationFigures` of all batches of a split."""
        return figures_of(torch.stack(list(readings)).sum(dim=0), categories).to_json()


def _maps(targets: Sequence[Target]) -> Tensor:
    """uint8 [B, H, W]"""
    return torch.stack([target["map"].as_subclass(Tensor) for target in targets])
