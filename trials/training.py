"""The one training loop: a complete one-cycle schedule over data that lives on the device.

Every candidate of a run is trained under the same seed, data order, augmentation and optimiser steps
(common random numbers), so that a difference between two of them is one between architectures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from search_spaces.space import fusion_modules
from trials.data import ImageData, Split, augment, normalise
from trials.device import has_bf16
from trials.quiet import Occupancy
from trials.seeds import generator
from trials.trial import EpochPoint, Recipe

EVAL_BATCH = 256


class NonFiniteLoss(ArithmeticError):
    """Training diverged: the loss is NaN or infinite."""


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0..1) and mean cross-entropy of a network over a split."""

    correct: int
    images: int
    loss: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.images


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; no weight decay on norms and biases, whose zero is not a rest state.

    The fusions' own parameters learn at `fusion_lr_scale` times the rate of the trunk.
    """
    fusions = {id(p) for fusion in fusion_modules(network).values() for p in fusion.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault((parameter.ndim > 1, id(parameter) in fusions), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "lr": recipe.peak_lr * (recipe.fusion_lr_scale if in_fusion else 1.0),
        }
        for (decays, in_fusion), parameters in groups.items()
    ]
    return torch.optim.SGD(settings, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True, fused=True)


def train(network: nn.Module, data: ImageData, recipe: Recipe, seed: int, machine: Occupancy) -> Iterator[EpochPoint]:
    """Train `network` (on the device of `data`, changed in place) and yield a point after every epoch.

    Raises:
        NonFiniteLoss: the mean loss of an epoch is not finite.
    """
    images, labels = data.train.images, data.train.labels
    device = images.device
    mean, std = (torch.tensor(values, device=device) for values in (data.mean, data.std))
    steps = max(1, len(data.train) // recipe.batch_size)
    taken = min(steps * recipe.batch_size, len(data.train))
    total_steps = recipe.epochs * steps
    optimiser = make_optimiser(network, recipe)
    # A warm-up of one step or less is none; of exactly one, torch divides by its length, zero.
    warmup = recipe.warmup_fraction if recipe.warmup_fraction * total_steps > 1 else 0.0
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in optimiser.param_groups], total_steps=total_steps, pct_start=warmup,
        cycle_momentum=False,
    )  # fmt: skip
    network.train()
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        order = torch.randperm(len(data.train), generator=generator(seed, "order", epoch)).to(device)
        randomness = generator(seed, "augmentation", epoch)
        total = torch.zeros((), device=device)
        for batch in order[:taken].chunk(steps):
            machine.give_way()
            inputs = augment(images[batch], randomness, recipe.crop_padding, recipe.flip)
            inputs = normalise(inputs, mean, std).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
                logits = network(inputs)
            loss = F.cross_entropy(logits.float(), labels[batch], label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += loss.detach()
        mean_loss = float(total) / steps
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(f"training loss is {mean_loss} in epoch {epoch + 1} of {recipe.epochs}")
        yield EpochPoint(epoch + 1, mean_loss, taken / (time.perf_counter() - began))


@contextmanager
def exact_float32() -> Iterator[None]:
    """cuDNN's convolutions round to TF32 by default, which moves a few images across a decision."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@torch.inference_mode()
def evaluate(network: nn.Module, split: Split, data: ImageData, machine: Occupancy) -> Evaluation:
    """Judge `network` on a split in float32, so that an export can be held to the last image.

    Raises:
        NonFiniteLoss: the loss over the split is not finite.
    """
    mean, std = (torch.tensor(values, device=split.images.device) for values in (data.mean, data.std))
    network.eval()
    correct = loss = torch.zeros((), dtype=torch.float64, device=split.images.device)
    with exact_float32():
        for start in range(0, len(split), EVAL_BATCH):
            images, labels = split.images[start : start + EVAL_BATCH], split.labels[start : start + EVAL_BATCH]
            machine.give_way()
            inputs = normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            logits = network(inputs)
            correct = correct + (logits.argmax(dim=1) == labels).sum()
            loss = loss + F.cross_entropy(logits, labels, reduction="sum")
    mean_loss = float(loss) / len(split)
    if not math.isfinite(mean_loss):
        raise NonFiniteLoss(f"validation loss is {mean_loss}")
    return Evaluation(int(correct), len(split), mean_loss)
