"""The batches of one epoch: gathered, augmented and normalised on the device, with the loss that goes with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trials.data import ImageData, augment, normalise
from trials.data.augmentation import cut_out, jitter_colour, mix
from trials.seeds import derive, generator
from trials.trial import Recipe


@dataclass(frozen=True)
class Batch:
    """Inputs [B, C, H, W], float32, channels last, and their labels [B]: of two images each, where these are mixed.

    `share` is that of the first label.
    """

    inputs: Tensor
    labels: Tensor
    others: Tensor | None = None
    share: float = 1.0

    def loss(self, logits: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of logits [B, classes]; of mixed images that of both labels, weighted by their shares."""
        loss = F.cross_entropy(logits, self.labels, label_smoothing=label_smoothing)
        if self.others is None:
            return loss
        other = F.cross_entropy(logits, self.others, label_smoothing=label_smoothing)
        return self.share * loss + (1.0 - self.share) * other


class Batches:
    """Yields an epoch's batches: all of the recipe's size or, where the last would be smaller, without it.

    Each kind of augmentation draws from a stream of its own, derived from the seed and the epoch, so that one more
    of them leaves the others as they are.
    """

    def __init__(self, data: ImageData, recipe: Recipe, device: torch.device) -> None:
        self._split, self._recipe, self._device = data.train, recipe, device
        self._mean, self._std = (torch.tensor(values, device=device) for values in (data.mean, data.std))
        self.steps = max(1, len(data.train) // recipe.batch_size)
        self.images = min(self.steps * recipe.batch_size, len(data.train))

    def epoch(self, seed: int, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch under a training seed."""
        recipe = self._recipe
        shifts, colours, holes, mixtures = (
            generator(seed, purpose, epoch) for purpose in ("augmentation", "colour", "cutout", "mixup")
        )
        shares = np.random.default_rng(derive(seed, "mixup shares", epoch))
        order = torch.randperm(len(self._split), generator=generator(seed, "order", epoch))
        # Images may lie elsewhere than where they are used: more than the device holds stay in their mapped file.
        for places in order[: self.images].to(self._split.images.device).chunk(self.steps):
            images, labels = (part[places].to(self._device) for part in (self._split.images, self._split.labels))
            images = augment(images, shifts, recipe.crop_padding, recipe.flip)
            if recipe.colour:
                images = jitter_colour(images, colours, recipe.colour)
            inputs = normalise(images, self._mean, self._std).contiguous(memory_format=torch.channels_last)
            if recipe.cutout:
                inputs = cut_out(inputs, holes, recipe.cutout)
            if not recipe.mixup:
                yield Batch(inputs, labels)
                continue
            with_which = torch.randperm(len(labels), generator=mixtures).to(self._device)
            share = float(shares.beta(recipe.mixup, recipe.mixup))
            yield Batch(mix(inputs, with_which, share), labels, labels[with_which], share)
