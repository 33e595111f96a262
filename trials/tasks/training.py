"""The training loop of detectors and segmenters: a complete one-cycle schedule over scenes that live on the device.

As for classifiers (`trials.training.loop`), every candidate of a run is trained under the same seed, data order,
augmentation and optimiser steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from search_spaces.networks.pyramid import PyramidTrunk
from search_spaces.space import fusion_modules
from trials.data import SceneData, augment_scenes
from trials.machine.device import autocast
from trials.machine.quiet import Occupancy
from trials.seeds import generator
from trials.tasks.inputs import moved, network_inputs
from trials.tasks.recipe import SceneRecipe
from trials.tasks.task import Task
from trials.training.loop import NonFiniteLoss
from trials.trial import EpochPoint


def make_optimiser(network: nn.Module, recipe: SceneRecipe) -> torch.optim.Optimizer:
    """No weight decay on norms and biases; the fusions' own parameters learn at `fusion_lr_scale` times the rate."""
    fusions = {id(p) for fusion in fusion_modules(network).values() for p in fusion.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault((parameter.ndim > 1, id(parameter) in fusions), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "lr": recipe.peak_lr * (recipe.fusion_lr_scale if in_fusion else 1.0),
        }
        for (decays, in_fusion), parameters in groups.items()
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(settings, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True, fused=True)
    return torch.optim.AdamW(settings, lr=recipe.peak_lr, fused=True)


def train_scenes(
    network: PyramidTrunk, task: Task, data: SceneData, recipe: SceneRecipe, seed: int, machine: Occupancy
) -> Iterator[EpochPoint]:
    """Train `network` (on its device, changed in place) and yield a point after every epoch.

    Raises:
        NonFiniteLoss: the mean loss of an epoch is not finite.
    """
    device = next(network.parameters()).device
    steps = max(1, len(data.train) // recipe.batch_size)
    taken = min(steps * recipe.batch_size, len(data.train))
    total_steps = recipe.epochs * steps
    network.train()
    if recipe.frozen_trunk:
        freeze_trunk(network)
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = make_optimiser(network, recipe)
    # A warm-up of one step or less is none; of exactly one, torch divides by its length, zero.
    warmup = recipe.warmup_fraction if recipe.warmup_fraction * total_steps > 1 else 0.0
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in optimiser.param_groups], total_steps=total_steps, pct_start=warmup,
        cycle_momentum=False,
    )  # fmt: skip
    averaged = None if recipe.ema_decay is None else moving_average(network, recipe.ema_decay)
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        order = torch.randperm(len(data.train), generator=generator(seed, "order", epoch))
        randomness = generator(seed, "augmentation", epoch)
        total = torch.zeros((), device=device)
        for batch in order[:taken].chunk(steps):
            machine.give_way()
            images, targets = moved(*data.train.batch(batch), device)
            if recipe.augment:
                images, targets = augment_scenes(images, targets, randomness)
            with autocast(recipe.precision, device):
                outputs = network(network_inputs(images, data))
            loss = task.loss(outputs, targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(learnt, recipe.max_grad_norm)
            optimiser.step()
            schedule.step()
            if averaged is not None:
                averaged.update_parameters(network)
            total += loss.detach()
        mean_loss = float(total) / steps
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(f"training loss is {mean_loss} in epoch {epoch + 1} of {recipe.epochs}")
        if averaged is not None and epoch + 1 == recipe.epochs:
            network.load_state_dict(averaged.module.state_dict())
        yield EpochPoint(epoch + 1, mean_loss, taken / (time.perf_counter() - began))


def freeze_trunk(network: PyramidTrunk) -> None:
    """The ResNet's weights and norms, but for those of its fusions, stay as they are from here on."""
    fusions = {id(part) for fusion in fusion_modules(network).values() for part in fusion.modules()}
    for path in ("conv1", "bn1", *network.stages):
        for module in network.get_submodule(path).modules():
            if id(module) not in fusions:
                module.training = False
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and statistics, which follows faster in its first steps.

    After n updates it keeps min(decay, (1 + n) / (10 + n)) of itself: a short schedule would else be judged by its
    first, random weights.
    """

    def follow(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - kept)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True)  # type: ignore[arg-type]
