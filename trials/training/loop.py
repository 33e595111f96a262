"""The one training loop: a complete one-cycle schedule over data that lives on the device, whatever the task.

Every candidate of a run is trained under the same seed, data order, augmentation and optimiser steps
(common random numbers), so that a difference between two of them is one between architectures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from trials.machine.quiet import Occupancy, waited_seconds
from trials.seeds import drawing
from trials.tasks.evaluation import NonFiniteLoss
from trials.tasks.task import Data, task_for
from trials.training.averaging import moving_average
from trials.training.cuda_graph import CaptureFailed, replayed
from trials.training.resumable import Checkpoint, Training
from trials.training.step import TrainingStep, make_optimiser
from trials.trial import EpochPoint, TrainingRecipe


def train(
    network: nn.Module,
    data: Data,
    recipe: TrainingRecipe,
    seed: int,
    machine: Occupancy,
    epochs: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[EpochPoint]:
    """Train `network` (on its device, changed in place) for `epochs`, the recipe's unless others are given, and yield
    a point after every epoch. With a `checkpoint` it is kept after every epoch but the last, and goes on from there.

    Raises:
        NonFiniteLoss: the mean loss of an epoch is not finite.
        ExplodingGradients: the gradients of one of its steps were too large, or not finite while the loss was.
        TaskError: the network is not for these data.
    """
    epochs = recipe.epochs if epochs is None else epochs
    device = next(network.parameters()).device
    task = task_for(network, data)
    task.begin(network, recipe)
    batches = task.batches(data, recipe, device)
    total_steps = epochs * batches.steps
    optimiser = make_optimiser(network, recipe)
    schedule = one_cycle(optimiser, recipe, total_steps)
    averaged = None if recipe.ema_decay is None else moving_average(network, recipe.ema_decay)
    ongoing = Training(network, optimiser, schedule, averaged)
    over = 0 if checkpoint is None else ongoing.restore(checkpoint)
    step = TrainingStep(network, optimiser, batches, recipe)
    take: Callable[[Any], None] = step
    graph = None
    if recipe.cuda_graph:
        try:
            with drawing(device, seed, "capture"):
                take, graph = replayed(step, batches, seed, total_steps), "replayed"
        except CaptureFailed as error:
            graph = f"none: {error}"
    for epoch in range(over, epochs):
        began = time.perf_counter() - waited_seconds()
        step.total.zero_()
        with drawing(device, seed, "network", epoch):
            for draws in batches.draw(seed, epoch):
                machine.give_way()
                take(draws)
                schedule.step()
                if averaged is not None:
                    averaged.update_parameters(network)
        mean_loss = float(step.total) / batches.steps
        step.watch.check(f"in epoch {epoch + 1} of {epochs}")
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(f"training loss is {mean_loss} in epoch {epoch + 1} of {epochs}")
        if averaged is not None and epoch + 1 == epochs:
            network.load_state_dict(averaged.module.state_dict())
        if checkpoint is not None and epoch + 1 < epochs:
            ongoing.keep(checkpoint, epoch + 1)
        speed = batches.images / (time.perf_counter() - waited_seconds() - began)
        yield EpochPoint(epoch + 1, mean_loss, speed, graph if epoch == over else None)


def one_cycle(
    optimiser: torch.optim.Optimizer, recipe: TrainingRecipe, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The whole schedule of a training of so many steps."""
    # A warm-up of one step or less is none; of exactly one, torch divides by its length, zero.
    warmup = recipe.warmup_fraction if recipe.warmup_fraction * total_steps > 1 else 0.0
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [float(group["lr"]) for group in optimiser.param_groups], total_steps=total_steps, pct_start=warmup,
        cycle_momentum=False,
    )  # fmt: skip
