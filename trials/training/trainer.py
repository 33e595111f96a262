"""What trains and judges the networks of a run: its data on a device, under its recipe. One for each kind of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from search_spaces.networks.pyramid import PyramidTrunk
from trials.data import DataConfig, ImageData, Split, load_data, normalise
from trials.machine.device import autocast
from trials.machine.quiet import Occupancy
from trials.scenes import SceneConfig, SceneData, load_scenes
from trials.tasks import SceneRecipe, evaluate_scenes, task_for, train_scenes
from trials.tasks.inputs import network_inputs
from trials.tasks.metrics import Task, leading
from trials.training.loop import evaluate, train
from trials.training.recalibration import recalibrate
from trials.trial import EpochPoint, Recipe


@dataclass(frozen=True)
class Judgement:
    """A network's score (the leading figure of its task, 0..1) and mean loss on `images` images.

    `correct` counts what a classifier has right; `figures` are all of a task that has several, as JSON.
    """

    score: float
    loss: float
    images: int
    correct: int | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains and judges networks that are on the device of its data."""

    @property
    def validation_images(self) -> int: ...

    def train(self, network: nn.Module, seed: int, machine: Occupancy) -> Iterator[EpochPoint]:
        """Train it in place by the whole recipe; a point after every epoch. Raises what ends a training."""

    def evaluate(self, network: nn.Module, machine: Occupancy) -> Judgement:
        """Judge it on the validation split, in float32."""

    def recalibrate(self, network: nn.Module, seed: int, machine: Occupancy) -> None:
        """Make its batch norms' statistics those of training images, in the training's precision.

        See `trials.training.recalibration`.
        """

    def lasting(self, epochs: int) -> Self:
        """The same with a schedule of so many epochs."""

    def briefly(self, images: int, **recipe: Any) -> Self:
        """The same on the first training images alone, with these settings of the recipe changed."""

    def judging(self, most: int) -> Self:
        """The same with at most `most` validation images, evenly spaced."""

    def on(self, device: torch.device, most_bytes: float) -> Self:
        """The same with its images on `device`; as they are where they take more than `most_bytes`."""


@dataclass(frozen=True)
class ImageTrainer:
    """Of classifiers."""

    data: ImageData
    recipe: Recipe

    @property
    def validation_images(self) -> int:
        return len(self.data.val)

    def train(self, network: nn.Module, seed: int, machine: Occupancy) -> Iterator[EpochPoint]:
        return train(network, self.data, self.recipe, seed, machine)

    def evaluate(self, network: nn.Module, machine: Occupancy) -> Judgement:
        found = evaluate(network, self.data.val, self.data, machine)
        return Judgement(found.accuracy, found.loss, found.images, found.correct)

    def recalibrate(self, network: nn.Module, seed: int, machine: Occupancy) -> None:
        device = next(network.parameters()).device
        mean, std = (torch.tensor(values, device=device) for values in (self.data.mean, self.data.std))

        def inputs(images: Tensor) -> Tensor:
            return normalise(images.to(device), mean, std).contiguous(memory_format=torch.channels_last)

        with autocast(self.recipe.precision, device):
            recalibrate(network, self.data.train.images, inputs, self.recipe.batch_size, seed, machine)

    def lasting(self, epochs: int) -> ImageTrainer:
        return replace(self, recipe=replace(self.recipe, epochs=epochs))

    def briefly(self, images: int, **recipe: Any) -> ImageTrainer:
        few = replace(self.data, train=self.data.train.first(images))
        return replace(self, data=few, recipe=replace(self.recipe, **recipe))

    def judging(self, most: int) -> ImageTrainer:
        val = self.data.val
        chosen = evenly_spaced(len(val), most).to(val.images.device)
        return replace(self, data=replace(self.data, val=Split(val.images[chosen], val.labels[chosen])))

    def on(self, device: torch.device, most_bytes: float) -> ImageTrainer:
        return replace(self, data=resident(self.data, device, most_bytes))


@dataclass(frozen=True)
class SceneTrainer:
    """Of detectors and segmenters."""

    data: SceneData
    recipe: SceneRecipe

    @property
    def validation_images(self) -> int:
        return len(self.data.val)

    def train(self, network: nn.Module, seed: int, machine: Occupancy) -> Iterator[EpochPoint]:
        task = task_for(network, self.data)
        return train_scenes(cast("PyramidTrunk", network), task, self.data, self.recipe, seed, machine)

    def evaluate(self, network: nn.Module, machine: Occupancy) -> Judgement:
        figures = evaluate_scenes(network, task_for(network, self.data), self.data.val, self.data, machine)
        loss, images = figures.pop("loss"), figures.pop("images")
        return Judgement(figures[leading(self._task)], loss, images, figures=figures)

    def recalibrate(self, network: nn.Module, seed: int, machine: Occupancy) -> None:
        device = next(network.parameters()).device

        def inputs(images: Tensor) -> Tensor:
            return network_inputs(images.to(device), self.data)

        with autocast(self.recipe.precision, device):
            recalibrate(network, self.data.train.images, inputs, self.recipe.batch_size, seed, machine)

    def lasting(self, epochs: int) -> SceneTrainer:
        return replace(self, recipe=replace(self.recipe, epochs=epochs))

    def briefly(self, images: int, **recipe: Any) -> SceneTrainer:
        few = replace(self.data, train=self.data.train.take(torch.arange(min(images, len(self.data.train)))))
        return replace(self, data=few, recipe=replace(self.recipe, **recipe))

    def judging(self, most: int) -> SceneTrainer:
        val = self.data.val
        return replace(self, data=replace(self.data, val=val.take(evenly_spaced(len(val), most))))

    def on(self, device: torch.device, most_bytes: float) -> SceneTrainer:
        return replace(self, data=resident(self.data, device, most_bytes))

    @property
    def _task(self) -> Task:
        return "segmentation" if self.data.targets == "semantic" else "detection"


def make_trainer(
    data: DataConfig | SceneConfig,
    recipe: Recipe | SceneRecipe,
    announce: Callable[[str], None] = lambda line: None,
) -> ImageTrainer | SceneTrainer:
    """Load the data of a run for its recipe. Raises DataError, or ScenesRefused, where they cannot be had.

    Raises ValueError where the two are not of one kind.
    """
    if isinstance(data, DataConfig) and isinstance(recipe, Recipe):
        return ImageTrainer(load_data(data, announce), recipe)
    if isinstance(data, SceneConfig) and isinstance(recipe, SceneRecipe):
        return SceneTrainer(load_scenes(data, announce), recipe)
    raise ValueError(f"{type(data).__name__} does not go with {type(recipe).__name__}")


_Data = TypeVar("_Data", ImageData, SceneData)


def resident(data: _Data, device: torch.device, most_bytes: float) -> _Data:
    """Training and validation images on the device; as they are where they take more than `most_bytes`."""
    if data.train.images.nbytes + data.val.images.nbytes > most_bytes:
        return data
    return replace(data, train=data.train.to(device), val=data.val.to(device))


def evenly_spaced(images: int, most: int) -> Tensor:
    """At most `most` of so many positions, at equal distances from the first to the last."""
    return torch.arange(images) if images <= most else torch.arange(most) * images // most
