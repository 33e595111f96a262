"""Reads a trained network for a pilot: its predictions, its own temperature, how far it moved, how its gates vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from nas.bench.pilot.readings import Reading, ReadingsFile, Way
from nas.trainings.prepared import Prepared
from search_spaces.loading import load_weights
from search_spaces.space import fusion_modules
from trials.attention.measuring import attention_of
from trials.data import ImageData
from trials.judge import TrialPlan
from trials.machine import device as devices
from trials.machine.quiet import occupied
from trials.record.training import Training
from trials.seeds import drawing
from trials.tasks.temperature import fit_temperature
from trials.training.trainer import Trainer


@dataclass(frozen=True)
class Tempered:
    """The temperature that logits are best divided by, and the mean cross-entropy at it."""

    temperature: float
    loss: float


def tempered(logits: Tensor, labels: Tensor) -> Tempered:
    """Of logits [N, classes] and labels [N], fitted on them: two networks that are equally well calibrated then."""
    temperature = fit_temperature(logits.double(), labels)
    return Tempered(temperature, float(F.cross_entropy(logits.double() / temperature, labels)))


class Watcher:
    """Reads each training of one way as it ends, and keeps it in a pilot's file."""

    def __init__(self, way: Way, prepared: Prepared, plan: TrialPlan, file: ReadingsFile) -> None:
        self._way, self._plan, self._space, self._file = way, plan, prepared.space, file
        self._device = devices.resolve(plan.device)
        self._trainer = prepared.trainer.on(self._device, plan.data_memory * devices.memory_bytes(self._device))

    def __call__(self, training: Training, weights: bytes) -> None:
        architecture, seed = training.architecture, training.seed
        with drawing(self._device, seed, "initialisation"):  # as the training began
            began = self._plan.start.network(self._space, architecture, seed)
        network = self._space.build(architecture)
        load_weights(network, load(weights), architecture.key)
        moved = changes(began, network)
        devices.on_device(network, self._device)
        logits = predictions(network, self._trainer)
        labels = validation_labels(self._trainer)
        found = tempered(logits, labels)
        gates: dict[str, dict[str, tuple[float, float]]] = {}
        for one in attention_of(0, network, architecture, self._trainer).histograms:
            gates.setdefault(one.point, {})[one.part] = one.mean, one.std
        reading = Reading(
            self._way, architecture.key, architecture.labels(), seed, training.score or 0.0, training.loss or 0.0,
            found.temperature, found.loss, np.asarray(logits.argmax(1) == labels),
            training.epochs * len(self._trainer.data.train), round(training.train_seconds, 1), moved, gates,
        )  # fmt: skip
        self._file.append(reading)


def predictions(network: nn.Module, trainer: Trainer) -> Tensor:
    """The logits of the validation images, [N, classes], on the CPU, as an evaluation in float32 has them."""
    parts: list[Tensor] = []
    device = next(network.parameters()).device
    watching = network.register_forward_hook(lambda module, inputs, outputs: parts.append(outputs.float().cpu()))
    try:
        with occupied(devices.synchronise(device), device=devices.lock_name(device)) as machine:
            trainer.evaluate(network, machine)
    finally:
        watching.remove()
    return torch.cat(parts).clone()  # what was made in inference mode takes no part in a fit


def validation_labels(trainer: Trainer) -> Tensor:
    """[N], on the CPU. Raises TypeError where the data are no images with classes."""
    if not isinstance(trainer.data, ImageData):
        raise TypeError("scenes have no one label each")
    return trainer.data.val.labels.cpu()


def changes(began: nn.Module, ended: nn.Module) -> dict[str, tuple[float, float]]:
    """Of each fusion that has weights: their norm as they began, and that of what changed. Both are on the CPU."""
    found, after = {}, fusion_modules(ended)
    for point, fusion in fusion_modules(began).items():
        pairs = list(zip(fusion.parameters(), after[point].parameters(), strict=True))
        if pairs:
            norm = sum(float(old.detach().square().sum()) for old, _ in pairs) ** 0.5
            change = sum(float((new.detach() - old.detach()).square().sum()) for old, new in pairs) ** 0.5
            found[point] = (norm, change)
    return found
