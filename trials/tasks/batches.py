"""The batches of one epoch of images: gathered, augmented and normalised on the device, with the loss of each.

All that is random of a batch is drawn on the CPU, as a few small tensors (`Draws`); all that is done with its images
follows from these on the device, in the same steps for every batch, so that a CUDA graph can hold them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trials.data import ImageData, augment
from trials.data.augmentation import cut_out, jitter_colour, mix
from trials.seeds import derive, generator
from trials.tasks.inputs import Normalisation
from trials.trial import Recipe


@dataclass(frozen=True)
class Draws:
    """What tells one batch of B images from another; None what the recipe does not ask for.

    `places` [B] are its images' in the split; `shifts` [3, B], `colours` [3, B] and `holes` [2, B] uniform numbers, see
    `trials.data.augmentation`; `partners` [B] the image of the batch that each is mixed with, and `share` [] the first
    one's part of the mixture.
    """

    places: Tensor
    shifts: Tensor | None
    colours: Tensor | None
    holes: Tensor | None
    partners: Tensor | None
    share: Tensor | None

    def tensors(self) -> list[Tensor]:
        """Those that there are, always in the same order."""
        return [self.places, *(tensor for tensor in self._optional() if tensor is not None)]

    def to(self, device: torch.device) -> Draws:
        return Draws(self.places.to(device), *(None if t is None else t.to(device) for t in self._optional()))

    def _optional(self) -> tuple[Tensor | None, ...]:
        return self.shifts, self.colours, self.holes, self.partners, self.share


@dataclass(frozen=True)
class Batch:
    """Inputs [B, C, H, W], float32, channels last, and their labels [B]: of two images each, where these are mixed.

    `share` [] is that of the first label; `label_smoothing` that of the recipe.
    """

    inputs: Tensor
    labels: Tensor
    others: Tensor | None = None
    share: Tensor | None = None
    label_smoothing: float = 0.0

    def loss(self, logits: Tensor) -> Tensor:
        """Mean cross-entropy of logits [B, classes]; of mixed images that of both labels, weighted by their shares."""
        logits = logits.float()
        loss = F.cross_entropy(logits, self.labels, label_smoothing=self.label_smoothing)
        if self.others is None or self.share is None:
            return loss
        other = F.cross_entropy(logits, self.others, label_smoothing=self.label_smoothing)
        return self.share * loss + (1.0 - self.share) * other


class Batches:
    """An epoch's batches: all of the recipe's size or, where the last would be smaller, without it."""

    def __init__(self, data: ImageData, recipe: Recipe, device: torch.device) -> None:
        self._split, self._recipe, self._device = data.train, recipe, device
        self._normalised = Normalisation(data, device)
        self.steps = max(1, len(data.train) // recipe.batch_size)
        self.images = min(self.steps * recipe.batch_size, len(data.train))

    @property
    def not_captured(self) -> str | None:
        """Why a step with these batches cannot be replayed; None where it may."""
        return None if self.resident else "its images do not lie on the GPU"

    @property
    def resident(self) -> bool:
        """Whether the images lie where they are used: more than the device holds stay in their mapped file."""
        return self._split.images.device.type == self._device.type

    def draw(self, seed: int, epoch: int) -> Iterator[Draws]:
        """What the batches of an epoch are made from under a training seed, on the CPU.

        Each kind of augmentation draws from a stream of its own, derived from the seed and the epoch, so that one more
        of them leaves the others as they are.
        """
        recipe = self._recipe
        shifts, colours, holes, mixtures = (
            generator(seed, purpose, epoch) for purpose in ("augmentation", "colour", "cutout", "mixup")
        )
        shares = np.random.default_rng(derive(seed, "mixup shares", epoch))
        order = torch.randperm(len(self._split), generator=generator(seed, "order", epoch))
        for places in order[: self.images].chunk(self.steps):
            size = len(places)
            yield Draws(
                places,
                torch.rand((3, size), generator=shifts) if recipe.crop_padding or recipe.flip else None,
                torch.rand((3, size), generator=colours) if recipe.colour else None,
                torch.rand((2, size), generator=holes) if recipe.cutout else None,
                torch.randperm(size, generator=mixtures) if recipe.mixup else None,
                torch.tensor(float(shares.beta(recipe.mixup, recipe.mixup))) if recipe.mixup else None,
            )

    def make(self, draws: Draws) -> Batch:
        """The batch of these, which are on the device, or on the CPU."""
        recipe, split = self._recipe, self._split
        places = draws.places.to(split.images.device)
        images, labels = (part[places].to(self._device) for part in (split.images, split.labels))
        draws = draws.to(self._device)
        if draws.shifts is not None:
            images = augment(images, draws.shifts, recipe.crop_padding, recipe.flip)
        if draws.colours is not None:
            images = jitter_colour(images, draws.colours, recipe.colour)
        inputs = self._normalised(images)
        if draws.holes is not None:
            inputs = cut_out(inputs, draws.holes, recipe.cutout)
        if draws.partners is None or draws.share is None:
            return Batch(inputs, labels, label_smoothing=recipe.label_smoothing)
        mixed = mix(inputs, draws.partners, draws.share)
        return Batch(mixed, labels, labels[draws.partners], draws.share, recipe.label_smoothing)
