"""What finding boxes and mapping pixels have in common: batches of scenes, and a trunk that may stay as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from search_spaces.networks.detection import DetectionNet
from search_spaces.networks.segmentation import SegmentationNet
from search_spaces.space import fusion_modules
from trials.data import SceneData, SceneSplit, augment_scenes
from trials.data.scenes import Target
from trials.errors import TaskError
from trials.seeds import generator
from trials.tasks.inputs import Normalisation, moved
from trials.tasks.recipe import SceneRecipe

Loss = Callable[[Any, Sequence[Target]], Tensor]


@dataclass(frozen=True)
class SceneDraws:
    """The `places` [B] of a batch's scenes in the split; `randomness` is the epoch's, None for scenes as they are."""

    places: Tensor
    randomness: torch.Generator | None

    def tensors(self) -> list[Tensor]:
        return [self.places]

    def to(self, device: torch.device) -> SceneDraws:
        return self  # scenes are put together from the CPU


@dataclass(frozen=True)
class SceneBatch:
    """Inputs [B, 3, S, S] with a target each, and the task's loss."""

    inputs: Tensor
    targets: Sequence[Target]
    task_loss: Loss

    def loss(self, outputs: Any) -> Tensor:
        return self.task_loss(outputs, self.targets)


class SceneBatches:
    """An epoch's batches: all of the recipe's size or, where the last would be smaller, without it."""

    #: Why a step with them is never replayed.
    not_captured: str | None = "the targets of scenes are put together on the CPU, in other numbers each step"

    def __init__(self, loss: Loss, data: SceneData, recipe: SceneRecipe, device: torch.device) -> None:
        self._loss, self._split, self._recipe, self._device = loss, data.train, recipe, device
        self._normalised = Normalisation(data, device)
        self.steps = max(1, len(data.train) // recipe.batch_size)
        self.images = min(self.steps * recipe.batch_size, len(data.train))

    def draw(self, seed: int, epoch: int) -> Iterator[SceneDraws]:
        """What the batches of an epoch are made from under a training seed, to be made in this order."""
        order = torch.randperm(len(self._split), generator=generator(seed, "order", epoch))
        randomness = generator(seed, "augmentation", epoch) if self._recipe.augment else None
        for places in order[: self.images].chunk(self.steps):
            yield SceneDraws(places, randomness)

    def make(self, draws: SceneDraws) -> SceneBatch:
        """The batch of these."""
        images, targets = moved(*self._split.batch(draws.places), self._device)
        if draws.randomness is not None:
            images, targets = augment_scenes(images, targets, draws.randomness)
        return SceneBatch(self._normalised(images), targets, self._loss)


class SceneTask:
    """The part of a `Task` that all tasks on scenes share; each adds its loss, readings and figures."""

    #: A loss that is a mean over the objects of a batch depends on what is in the batch: always the same.
    eval_batch: ClassVar[int] = 16

    def loss(self, outputs: Any, targets: Sequence[Target]) -> Tensor:
        """Of a batch, a scalar."""
        raise NotImplementedError

    def begin(self, network: nn.Module, recipe: SceneRecipe) -> None:
        network.train()
        if recipe.frozen_trunk:
            freeze_trunk(network)

    def batches(self, data: SceneData, recipe: SceneRecipe, device: torch.device) -> SceneBatches:
        return SceneBatches(self.loss, data, recipe, device)

    def part(self, split: SceneSplit, places: range, device: torch.device) -> tuple[Tensor, list[Target]]:
        return moved(*split.batch(places), device)

    def logits(self, outputs: Any, targets: Sequence[Target], every: int) -> tuple[Tensor, Tensor] | None:
        return None

    def answers(self, split: SceneSplit) -> int:
        return len(split)

    def summed_loss(self, outputs: Any, targets: Sequence[Target]) -> Tensor:
        return self.loss(outputs, targets).double() * len(targets)


def check_belongs(network: nn.Module, data: SceneData) -> None:
    """Raises TaskError where a network and scenes do not belong together, and how they would."""
    if not isinstance(network, DetectionNet | SegmentationNet):
        raise TaskError(
            f"{type(network).__name__} neither finds boxes nor maps pixels: give a space with a head, such as "
            "resnet8-fpn-fcos or resnet8-fpn-semantic"
        )
    finds_boxes = isinstance(network, DetectionNet)
    if finds_boxes == (data.targets == "semantic"):
        wanted = "'boxes' or 'instances'" if finds_boxes else "'semantic'"
        raise TaskError(f"{data.name} was loaded with targets {data.targets!r}: this network needs {wanted}")
    if network.classes != len(data.categories):
        raise TaskError(
            f"the network tells {network.classes} classes apart, but {data.name} has {len(data.categories)}: "
            f"give the space an input of {len(data.categories)} classes"
        )


def freeze_trunk(network: nn.Module) -> None:
    """The ResNet's weights and norms, but for those of its fusions, stay as they are from here on.

    Raises TaskError for a network that has none.
    """
    if not isinstance(network, DetectionNet | SegmentationNet):
        raise TaskError(f"frozen_trunk: {type(network).__name__} has no trunk under a neck: drop it")
    fusions = {id(part) for fusion in fusion_modules(network).values() for part in fusion.modules()}
    for module in network.backbone.body.modules():
        if id(module) not in fusions:
            module.training = False
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
