"""The one training loop: a complete one-cycle schedule over data that lives on the device.

Every candidate of a run is trained under the same seed, data order, augmentation and optimiser steps
(common random numbers), so that a difference between two of them is one between architectures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from trials.data import ImageData, Split, normalise
from trials.machine.quiet import Occupancy
from trials.training.batches import Batches, Draws
from trials.training.cuda_graph import CaptureFailed, replayed
from trials.training.step import TrainingStep, make_optimiser
from trials.trial import EpochPoint, Failure, Recipe

#: Larger ones leave a CPU's cache: 128 and 256 took longer by up to half.
EVAL_BATCH = 64


class NonFiniteLoss(ArithmeticError):
    """Training diverged: the loss is NaN or infinite."""

    failure = Failure.DIVERGED


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0..1) and mean cross-entropy of a network over a split."""

    correct: int
    images: int
    loss: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.images


def train(network: nn.Module, data: ImageData, recipe: Recipe, seed: int, machine: Occupancy) -> Iterator[EpochPoint]:
    """Train `network` (on its device, changed in place) and yield a point after every epoch.

    Raises:
        NonFiniteLoss: the mean loss of an epoch is not finite.
        ExplodingGradients: the gradients of one of its steps were too large, or not finite while the loss was.
    """
    device = next(network.parameters()).device
    batches = Batches(data, recipe, device)
    total_steps = recipe.epochs * batches.steps
    optimiser = make_optimiser(network, recipe)
    # A warm-up of one step or less is none; of exactly one, torch divides by its length, zero.
    warmup = recipe.warmup_fraction if recipe.warmup_fraction * total_steps > 1 else 0.0
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [float(group["lr"]) for group in optimiser.param_groups], total_steps=total_steps, pct_start=warmup,
        cycle_momentum=False,
    )  # fmt: skip
    network.train()
    step = TrainingStep(network, optimiser, batches, recipe)
    take: Callable[[Draws], None] = step
    graph = None
    if recipe.cuda_graph:
        try:
            take, graph = replayed(step, batches, seed, total_steps), "replayed"
        except CaptureFailed as error:
            graph = f"none: {error}"
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        step.total.zero_()
        for draws in batches.draw(seed, epoch):
            machine.give_way()
            take(draws)
            schedule.step()
        mean_loss = float(step.total) / batches.steps
        step.watch.check(f"in epoch {epoch + 1} of {recipe.epochs}")
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(f"training loss is {mean_loss} in epoch {epoch + 1} of {recipe.epochs}")
        speed = batches.images / (time.perf_counter() - began)
        yield EpochPoint(epoch + 1, mean_loss, speed, graph if epoch == 0 else None)


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
    device = next(network.parameters()).device
    mean, std = (torch.tensor(values, device=device) for values in (data.mean, data.std))
    network.eval()
    correct = loss = torch.zeros((), dtype=torch.float64, device=device)
    with exact_float32():
        for start in range(0, len(split), EVAL_BATCH):
            images, labels = (p[start : start + EVAL_BATCH].to(device) for p in (split.images, split.labels))
            machine.give_way()
            inputs = normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            logits = network(inputs)
            correct = correct + (logits.argmax(dim=1) == labels).sum()
            loss = loss + F.cross_entropy(logits, labels, reduction="sum")
    mean_loss = float(loss) / len(split)
    if not math.isfinite(mean_loss):
        raise NonFiniteLoss(f"validation loss is {mean_loss}")
    return Evaluation(int(correct), len(split), mean_loss)
