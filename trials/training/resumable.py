"""A training that can go on where it was killed: all that its later epochs follow from, in one file, after every epoch.

That is the network's weights and statistics, their moving average, what the optimiser keeps and the rates of its
groups, the schedule's place and how many paths a supernet has taken. Random numbers need no place: those of an epoch
follow from the seed and its number. What goes on is the same to the bit.

The file is safetensors with its facts as metadata, JSON: no code is ever run from it. It is written whole or not at
all. Where it cannot be read or written, or is of another training, there is none, and the training begins anew.

A worker writes it, at a path of the driver's: on one machine, and on nodes that share the run's folder, whoever begins
the training again goes on with it. On nodes that do not, a training goes on where the same node has it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from search_spaces.errors import UserError
from trials.whole_files import write_whole

_METADATA = "fusion-nas training"


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept while it lasts; `identity` tells it from any other that would come to something else."""

    path: str
    identity: str


@dataclass(frozen=True)
class Training:
    """What a training changes, as it goes."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    averaged: nn.Module | None

    def keep(self, checkpoint: Checkpoint, epochs: int) -> None:
        """Write it down after so many epochs. A disk that takes nothing is no reason to end the training."""
        facts = {
            "identity": checkpoint.identity, "epochs": epochs, "path_steps": path_steps(self.network),
            "schedule": {"last_epoch": self.schedule.last_epoch, "_step_count": self.schedule._step_count},
            "rates": [float(group["lr"]) for group in self.optimiser.param_groups],
        }  # fmt: skip
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self._tensors()}
        try:
            write_whole(Path(checkpoint.path), save(tensors, {_METADATA: json.dumps(facts)}))
        except (OSError, UserError):
            return

    def restore(self, checkpoint: Checkpoint) -> int:
        """Take up what is written down, in place; how many epochs are over: 0 where nothing of this training is."""
        found = _read(checkpoint)
        if found is None:
            return 0
        facts, tensors = found
        there = dict(self._tensors())
        missing = tensors.keys() - there.keys()
        if there.keys() - tensors.keys():
            return 0
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        for name in missing:  # what AdamW keeps is made with its first step
            _, place, kind = name.split("/", 2)
            parameter = parameters[int(place)]
            kept = tensors[name].to(parameter.device)
            # A fused step wants what it keeps laid out in memory as the parameter is.
            self.optimiser.state[parameter][kind] = torch.empty_like(parameter) if kept.ndim else kept
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(tensors[name])
        for group, rate in zip(self.optimiser.param_groups, facts["rates"], strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.schedule.__dict__.update(facts["schedule"])
        set_path_steps(self.network, facts["path_steps"])
        return int(facts["epochs"])

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All of them by name; a weight that has two names under both."""
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            yield f"network/{name}", tensor.detach()
        if self.averaged is not None:
            for name, tensor in self.averaged.state_dict(keep_vars=True).items():
                yield f"averaged/{name}", tensor.detach()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        for place, parameter in enumerate(parameters):
            for kind, value in self.optimiser.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    yield f"optimiser/{place}/{kind}", value


def epochs_kept(checkpoint: Checkpoint) -> int:
    """After how many epochs it was written down; 0 where there is nothing of this training."""
    found = _read(checkpoint)
    return 0 if found is None else int(found[0]["epochs"])


def path_steps(network: nn.Module) -> int:
    """How many paths a supernet has taken in training; 0 of any other network."""
    return int(getattr(network, "path_steps", 0))


def set_path_steps(network: nn.Module, steps: int) -> None:
    """See `path_steps`."""
    if hasattr(network, "path_steps"):
        network.path_steps = steps  # type: ignore[assignment]


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    try:
        with safe_open(checkpoint.path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_METADATA, "null"))
            if not isinstance(facts, dict) or facts.get("identity") != checkpoint.identity:
                return None
            return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None
