"""What a network is trained and judged by, whatever its task: all that the one training loop knows of any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from trials.data import ImageData, SceneData
from trials.tasks.registry import TASKS, task_with

Data = ImageData | SceneData


class Draws(Protocol):
    """What tells one batch of an epoch from the others; small, and on the CPU until the batch is made."""

    def tensors(self) -> list[Tensor]:
        """Those that there are, always in the same order: what a captured step is fed with."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""


class Batch(Protocol):
    """Inputs, and what their outputs cost."""

    @property
    def inputs(self) -> Tensor:
        """float32 [B, C, S, S], channels last."""

    def loss(self, outputs: Any) -> Tensor:
        """What training minimises: a scalar, comparable among batches of one size."""


class Batches(Protocol):
    """An epoch's batches: `steps` of the recipe's size, `images` together; a smaller last one is left out."""

    steps: int
    images: int

    @property
    def not_captured(self) -> str | None:
        """Why a step with these batches cannot be replayed; None where it may."""

    def draw(self, seed: int, epoch: int) -> Iterator[Any]:
        """`Draws` of each batch of an epoch, under a training seed."""

    def make(self, draws: Any) -> Batch:
        """The batch of these."""


class Task(Protocol):
    """Between a network's outputs for a batch and what is to be found in its images.

    `targets` are those of `part`, `split` is one of the task's data.
    """

    @property
    def eval_batch(self) -> int:
        """Images that are judged together on a CPU; on a GPU at least."""

    def begin(self, network: nn.Module, recipe: Any) -> None:
        """Put the network in training, but for what of it the recipe leaves as it is."""

    def batches(self, data: Any, recipe: Any, device: torch.device) -> Batches:
        """Of the training split."""

    def part(self, split: Any, places: range, device: torch.device) -> tuple[Tensor, Any]:
        """Images, uint8 [B, C, S, S], with their targets, on the device."""

    def summed_loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of a batch that is judged, times its images."""

    def read(self, outputs: Any, targets: Any) -> Any:
        """What the outputs mean, kept until the split is through."""

    def logits(self, outputs: Any, targets: Any, every: int) -> tuple[Tensor, Tensor] | None:
        """What a temperature can be fitted on: float32 [n, K] and int64 [n], of each `every`-th answer of a batch; None
        where the outputs are no logits of one class each."""

    def answers(self, split: Any) -> int:
        """How many of these a split has."""

    def figures(self, readings: Sequence[Any], split: Any, categories: Sequence[str]) -> dict[str, Any]:
        """The metrics of a split, JSON, from what was read of its batches in order.

        Of classifiers also how many are `correct`.
        """


def name_of(data: Data) -> str:
    """The name of the task that data are loaded for."""
    return task_with("class" if isinstance(data, ImageData) else data.targets)


def categories_of(data: Data) -> Sequence[str]:
    """The names of what is told apart."""
    return data.classes if isinstance(data, ImageData) else data.categories


def task_for(network: nn.Module, data: Data) -> Task:
    """The task of a network on data. Raises TaskError where they do not belong together, and how they would."""
    module, _, kind = TASKS[name_of(data)].home.partition(":")
    task: Task = getattr(import_module(module), kind).of(network, data)
    return task
