"""Judges a network on a split, whatever its task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trials.data import ImageData, SceneSplit, Split
from trials.machine.device import exact_float32
from trials.machine.quiet import Occupancy
from trials.seeds import drawing
from trials.tasks.inputs import Normalisation
from trials.tasks.metrics import FIGURES
from trials.tasks.task import Data, Task, categories_of, name_of, task_for
from trials.tasks.temperature import tempered_loss, tempered_losses
from trials.trial import Failure

#: Single logits that are kept for the loss at a network's own temperature at the most: 64 MiB.
_MOST_LOGITS = 2**24
#: What a batch has at the most on a GPU, which the batches of a CPU leave idle: pixels, for others' room, and images.
_GPU_PIXELS, _GPU_IMAGES = 2**22, 1024


class NonFiniteLoss(ArithmeticError):
    """Training diverged: the loss is NaN or infinite."""

    failure = Failure.DIVERGED


@dataclass(frozen=True)
class Judgement:
    """A network's score (the leading figure of its task, 0..1) and mean loss on `images` images.

    `correct` counts what a classifier has right; `figures` are all of a task that has several, as JSON. `tempered_loss`
    is the mean cross-entropy at the `temperature` of these images, see `trials.tasks.temperature`, None where a task's
    loss is of no such logits.
    """

    score: float
    loss: float
    images: int
    correct: int | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    tempered_loss: float | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class ImageReadings:
    """What a classifier makes of each image of a split, in the split's order.

    right: bool [N], on the CPU. losses: float32 [N], cross-entropies, on the CPU. tempered: float64 [N], the same at
    the network's own `temperatures`, see `trials.tasks.temperature`, on the CPU.
    """

    right: Tensor
    losses: Tensor
    tempered: Tensor
    temperatures: tuple[float, float]


@torch.inference_mode()
def evaluate(network: nn.Module, split: Split | SceneSplit, data: Data, machine: Occupancy) -> Judgement:
    """Judge `network` on a split of `data` in float32, so that an export can be held to the last image.

    Raises:
        NonFiniteLoss: the loss over the split is not finite.
        TaskError: the network is not for these data.
    """
    name, task = name_of(data), task_for(network, data)
    readings, kept = [], _Kept(task, split, categories_of(data))
    loss = torch.zeros((), dtype=torch.float64, device=next(network.parameters()).device)
    for outputs, targets in _outputs(network, split, data, task, machine):
        loss += task.summed_loss(outputs, targets)
        readings.append(task.read(outputs, targets))
        kept.add(outputs, targets)
    mean_loss = float(loss) / len(split)
    if not math.isfinite(mean_loss):
        raise NonFiniteLoss(f"validation loss is {mean_loss}")
    figures = task.figures(readings, split, categories_of(data))
    correct = figures.pop("correct", None)
    (leading, *others) = FIGURES[name]
    return Judgement(figures[leading], mean_loss, len(split), correct, figures if others else {}, *kept.tempered())


class _Kept:
    """Logits of a split, for the loss at their temperature: all, or an even choice, the same for every network."""

    def __init__(self, task: Task, split: Split | SceneSplit, categories: Sequence[str]) -> None:
        self._task = task
        self._every = max(1, -(-task.answers(split) * len(categories) // _MOST_LOGITS))
        self._parts: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Any, targets: Any) -> None:
        """A batch's."""
        found = self._task.logits(outputs, targets, self._every)
        if found is not None:
            self._parts.append(found)

    def tempered(self) -> tuple[float | None, float | None]:
        """The loss at their temperature, and that; none where there are none, or they are not finite."""
        if not sum(len(labels) for _, labels in self._parts):
            return None, None
        logits, labels = (torch.cat([part[i] for part in self._parts]).cpu() for i in (0, 1))
        loss, temperature = tempered_loss(logits, labels)
        return (loss, temperature) if math.isfinite(loss) else (None, None)


@torch.inference_mode()
def read_images(network: nn.Module, split: Split, data: ImageData, machine: Occupancy) -> ImageReadings:
    """What `evaluate` sums up, image by image: for comparisons of two networks on the same images."""
    right, losses, logits, labels = [], [], [], []
    for outputs, targets in _outputs(network, split, data, task_for(network, data), machine):
        right.append((outputs.argmax(1) == targets).cpu())
        losses.append(F.cross_entropy(outputs.float(), targets, reduction="none").cpu())
        logits.append(outputs.float().cpu())
        labels.append(targets.cpu())
    tempered, temperatures = tempered_losses(torch.cat(logits), torch.cat(labels))
    return ImageReadings(torch.cat(right), torch.cat(losses), tempered, temperatures)


def _outputs(
    network: nn.Module, split: Split | SceneSplit, data: Data, task: Task, machine: Occupancy
) -> Iterator[tuple[Any, Any]]:
    """A network's outputs for a split with its targets, batch by batch, in float32."""
    device = next(network.parameters()).device
    normalised = Normalisation(data, device)
    network.eval()
    with exact_float32(), drawing(device, 0, "evaluation"):
        size = judged_together(task, split, device)
        for start in range(0, len(split), size):
            machine.give_way()
            images, targets = task.part(split, range(start, min(start + size, len(split))), device)
            yield network(normalised(images)), targets


def judged_together(task: Task, split: Split | SceneSplit, device: torch.device) -> int:
    """How many of a split's images make a batch there."""
    if device.type == "cpu":
        return task.eval_batch
    height, width = split.images.shape[-2:]
    return max(task.eval_batch, min(_GPU_IMAGES, _GPU_PIXELS // (height * width)))
