"""The task of telling what an image shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from trials.data import ImageData, Split
from trials.tasks.batches import Batches
from trials.trial import Recipe


class ClassificationTask:
    """Cross-entropy of logits [B, classes] with labels [B], and how many are right."""

    #: Larger ones leave a CPU's cache: 128 and 256 took longer by up to half.
    eval_batch: ClassVar[int] = 64

    @classmethod
    def of(cls, network: nn.Module, data: ImageData) -> ClassificationTask:  # noqa: ARG003 - as of every task
        """Any network will do: what its outputs are shows when it is trained."""
        return cls()

    def begin(self, network: nn.Module, recipe: Recipe) -> None:
        network.train()

    def batches(self, data: ImageData, recipe: Recipe, device: torch.device) -> Batches:
        return Batches(data, recipe, device)

    def part(self, split: Split, places: range, device: torch.device) -> tuple[Tensor, Tensor]:
        taken = slice(places.start, places.stop)
        return split.images[taken].to(device), split.labels[taken].to(device)

    def summed_loss(self, outputs: Float[Tensor, "b classes"], targets: Integer[Tensor, " b"]) -> Float64[Tensor, ""]:
        return F.cross_entropy(outputs, targets, reduction="sum").double()

    def read(self, outputs: Float[Tensor, "b classes"], targets: Integer[Tensor, " b"]) -> Int64[Tensor, ""]:
        """How many of a batch are right."""
        return (outputs.argmax(dim=1) == targets).sum()

    def logits(
        self, outputs: Float[Tensor, "b classes"], targets: Integer[Tensor, " b"], every: int
    ) -> tuple[Float[Tensor, "n classes"], Int64[Tensor, " n"]]:
        return outputs[::every].float(), targets[::every].long()

    def answers(self, split: Split) -> int:
        return len(split)

    def figures(self, readings: Sequence[Tensor], split: Split, categories: Sequence[str]) -> dict[str, Any]:
        """`accuracy`, and `correct`, its numerator."""
        correct = int(torch.stack(list(readings)).sum())
        return {"accuracy": correct / len(split), "correct": correct}
