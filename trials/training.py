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
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.space import fusion_modules
from trials.batches import Batches
from trials.data import ImageData, Split, normalise
from trials.device import has_bf16
from trials.quiet import Occupancy
from trials.trial import EpochPoint, Failure, Recipe

EVAL_BATCH = 256
#: Norm of all gradients together, of a mean cross-entropy. Ours stay below 100; no step of this size helps a network.
MAX_GRADIENT_NORM = 1e5


class NonFiniteLoss(ArithmeticError):
    """Training diverged: the loss is NaN or infinite."""

    failure = Failure.DIVERGED


class ExplodingGradients(ArithmeticError):
    """A step's loss was finite, and its gradients were not, or were above `MAX_GRADIENT_NORM`."""

    failure = Failure.EXPLODING_GRADIENTS


class GradientWatch:
    """The largest gradient norm of an epoch's steps, kept on the device: reading it there would wait every step.

    Gradients are only looked at, never clipped.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._largest = torch.zeros((), device=device)

    def look(self, loss: Tensor) -> None:
        """Take in the gradients of this loss; those of a loss that is not finite say nothing more than it does."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        torch.maximum(self._largest, norm.where(loss.isfinite(), 0.0), out=self._largest)  # a NaN stays

    def check(self, where: str) -> None:
        """Raises ExplodingGradients, naming `where`."""
        largest = float(self._largest)
        if not largest <= MAX_GRADIENT_NORM:  # NaN too
            raise ExplodingGradients(f"gradient norm is {largest:.3g} {where}; at most {MAX_GRADIENT_NORM:g} is usual")


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
    optimiser = torch.optim.SGD(settings, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True, fused=True)
    for parameter in network.parameters():
        # A supernet's parameters get their first gradients at different steps; a fused step takes all buffers or none.
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


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
        optimiser, [group["lr"] for group in optimiser.param_groups], total_steps=total_steps, pct_start=warmup,
        cycle_momentum=False,
    )  # fmt: skip
    network.train()
    watch = GradientWatch(network, device)
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        total = torch.zeros((), device=device)
        for batch in batches.epoch(seed, epoch):
            machine.give_way()
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
                logits = network(batch.inputs)
            loss = batch.loss(logits.float(), recipe.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            watch.look(loss.detach())
            optimiser.step()
            schedule.step()
            total += loss.detach()
        mean_loss = float(total) / batches.steps
        watch.check(f"in epoch {epoch + 1} of {recipe.epochs}")
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(f"training loss is {mean_loss} in epoch {epoch + 1} of {recipe.epochs}")
        yield EpochPoint(epoch + 1, mean_loss, batches.images / (time.perf_counter() - began))


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
