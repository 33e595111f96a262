"""Judges a trained detector or segmenter on a split."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from trials.data import SceneData, SceneSplit
from trials.machine.quiet import Occupancy
from trials.tasks.inputs import moved, network_inputs
from trials.tasks.task import Task
from trials.training.loop import NonFiniteLoss, exact_float32

#: A loss that is a mean over the objects of a batch depends on what is in the batch: always the same.
EVAL_BATCH = 16


@torch.inference_mode()
def evaluate_scenes(
    network: nn.Module, task: Task, split: SceneSplit, data: SceneData, machine: Occupancy
) -> dict[str, Any]:
    """Judge `network` on a split in float32: `images`, `loss` (mean over batches) and the task's figures, as JSON.

    Raises:
        NonFiniteLoss: the loss over the split is not finite.
    """
    network.eval()
    device = next(network.parameters()).device
    readings = []
    loss = torch.zeros((), dtype=torch.float64, device=device)
    with exact_float32():
        for batch in torch.split(torch.arange(len(split)), EVAL_BATCH):
            machine.give_way()
            images, targets = moved(*split.batch(batch), device)
            outputs = network(network_inputs(images, data))
            loss += task.loss(outputs, targets).double() * len(batch)
            readings.append(task.read(outputs, targets))
    mean_loss = float(loss) / len(split)
    if not math.isfinite(mean_loss):
        raise NonFiniteLoss(f"validation loss is {mean_loss}")
    return {"images": len(split), "loss": mean_loss, **task.figures(readings, split, data.categories)}
