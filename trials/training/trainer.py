"""What trains and judges the networks of a run: its data on a device, under its recipe, whatever its task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trials.data import DataConfig, ImageData, SceneConfig, SceneData, Split, load_data, load_scenes
from trials.data.shipped import DataSource
from trials.errors import TaskError
from trials.machine.device import autocast
from trials.machine.quiet import Occupancy
from trials.readings import Images
from trials.seeds import drawing
from trials.tasks import SceneRecipe
from trials.tasks.evaluation import ImageReadings, Judgement, evaluate, read_images
from trials.tasks.inputs import Normalisation
from trials.tasks.task import Data, task_for
from trials.training.final import final_data
from trials.training.loop import train
from trials.training.recalibration import recalibrate
from trials.training.resumable import Checkpoint
from trials.trial import EpochPoint, Recipe

#: The largest number that a float16 holds.
_FLOAT16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Trainer:
    """Trains and judges networks that are on the device of its data."""

    data: Data
    recipe: Recipe | SceneRecipe

    @property
    def validation_images(self) -> int:
        return len(self.data.val)

    def train(
        self,
        network: nn.Module,
        seed: int,
        machine: Occupancy,
        epochs: int | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[EpochPoint]:
        """Train it in place by the whole recipe, for so many epochs where they are given; a point after every epoch.
        Where there is a `checkpoint` of this training, it goes on from there.

        Raises what ends a training.
        """
        return train(network, self.data, self.recipe, seed, machine, epochs, checkpoint)

    def evaluate(self, network: nn.Module, machine: Occupancy) -> Judgement:
        """Judge it on the validation split, in float32."""
        return evaluate(network, self.data.val, self.data, machine)

    def read_images(self, network: nn.Module, machine: Occupancy) -> ImageReadings:
        """What it makes of each image of the validation split, see `trials.tasks.evaluation`.

        Raises TaskError where the data are scenes, whose images have no one answer each.
        """
        if not isinstance(self.data, ImageData):
            raise TaskError("images are read one by one for classifiers only: scenes have no one answer each")
        return read_images(network, self.data.val, self.data, machine)

    def readings(self, network: nn.Module, machine: Occupancy) -> Images | None:
        """The same as it is kept; None where the data are scenes."""
        if not isinstance(self.data, ImageData):
            return None
        found = self.read_images(network, machine)
        tempered, losses = (
            each.numpy().clip(max=_FLOAT16).astype(np.float16) for each in (found.tempered, found.losses)
        )
        return Images(found.right.numpy(), losses, tempered, found.temperatures)

    def final(self) -> Trainer:
        """The trainer of finalists, see `trials.training.final`. Raises DataError where there is no test split."""
        return replace(self, data=final_data(self.data))

    def recalibrate(self, network: nn.Module, seed: int, machine: Occupancy) -> None:
        """Make the statistics of the batch norms that it trains those of training images, in the training's precision.

        See `trials.training.recalibration`.
        """
        device = next(network.parameters()).device
        normalised = Normalisation(self.data, device)

        def inputs(images: Tensor) -> Tensor:
            return normalised(images.to(device))

        def begin(trained: nn.Module) -> None:
            task_for(trained, self.data).begin(trained, self.recipe)

        with autocast(self.recipe.precision, device), drawing(device, seed, "recalibration"):
            recalibrate(network, self.data.train.images, inputs, self.recipe.batch_size, seed, machine, begin)

    def briefly(self, images: int, **recipe: Any) -> Trainer:
        """The same on the first training images alone, with these settings of the recipe changed."""
        data = self.data
        few: Data
        if isinstance(data, ImageData):
            few = replace(data, train=data.train.first(images))
        else:
            few = replace(data, train=data.train.take(torch.arange(min(images, len(data.train)))))
        return Trainer(few, replace(self.recipe, **recipe))

    def judging(self, most: int) -> Trainer:
        """The same with at most `most` validation images, evenly spaced."""
        data = self.data
        chosen = evenly_spaced(len(data.val), most)
        fewer: Data
        if isinstance(data, ImageData):
            there = chosen.to(data.val.images.device)
            fewer = replace(data, val=Split(data.val.images[there], data.val.labels[there]))
        else:
            fewer = replace(data, val=data.val.take(chosen))
        return replace(self, data=fewer)

    def on(self, device: torch.device, most_bytes: float) -> Trainer:
        """The same with its images on `device`; as they are where they take more than `most_bytes`."""
        data = self.data
        there: Data
        if isinstance(data, ImageData):
            there = resident(data, device, most_bytes)
        else:
            there = resident(data, device, most_bytes)
        return replace(self, data=there)


def make_trainer(
    data: DataConfig | SceneConfig | DataSource,
    recipe: Recipe | SceneRecipe,
    announce: Callable[[str], None] = lambda line: None,
) -> Trainer:
    """Load the data of a run for its recipe. Raises DataError, or DataRefused, where they cannot be had.

    Raises ValueError where the two are not of one kind.
    """
    loaded = load_any(data, announce)
    if isinstance(loaded, ImageData) != isinstance(recipe, Recipe):
        raise ValueError(f"{type(data).__name__} does not go with {type(recipe).__name__}")
    return Trainer(loaded, recipe)


def load_any(
    data: DataConfig | SceneConfig | DataSource, announce: Callable[[str], None] = lambda line: None
) -> ImageData | SceneData:
    """The data of a configuration, or of what has loaded them already. Raises DataError, or DataRefused."""
    if isinstance(data, DataConfig):
        return load_data(data, announce)
    return load_scenes(data, announce) if isinstance(data, SceneConfig) else data.load()


_Data = TypeVar("_Data", ImageData, SceneData)


def resident(data: _Data, device: torch.device, most_bytes: float) -> _Data:
    """Training and validation images on the device; as they are where they take more than `most_bytes`."""
    if data.train.images.nbytes + data.val.images.nbytes > most_bytes:
        return data
    return replace(data, train=data.train.to(device), val=data.val.to(device))


def evenly_spaced(images: int, most: int) -> Tensor:
    """At most `most` of so many positions, at equal distances from the first to the last."""
    return torch.arange(images) if images <= most else torch.arange(most) * images // most
