"""The long training: one cycle like a trial's, that goes on from its last epoch, with a teacher where there is one."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.export.errors import ExportError
from nas.tools.retraining.processes import Processes
from trials.machine.device import autocast
from trials.seeds import drawing
from trials.tasks.evaluation import NonFiniteLoss
from trials.tasks.task import Data, task_for
from trials.training.averaging import moving_average
from trials.training.step import make_optimiser
from trials.trial import TrainingRecipe
from trials.whole_files import write_whole


@dataclass(frozen=True)
class Distillation:
    """The teacher's share of the loss, and the temperature at which its answers are compared (Hinton et al. 2015)."""

    teacher: nn.Module
    share: float = 0.5
    temperature: float = 2.0

    def loss(self, own: Tensor, logits: Tensor, inputs: Tensor) -> Tensor:
        """`own` is the loss of the labels for logits [B, classes]."""
        with torch.no_grad():
            wanted = self.teacher(inputs).float() / self.temperature
        told = F.log_softmax(logits.float() / self.temperature, dim=1)
        apart = F.kl_div(told, wanted.log_softmax(dim=1), reduction="batchmean", log_target=True)
        return (1 - self.share) * own + self.share * self.temperature**2 * apart


@dataclass(frozen=True)
class Checkpoint:
    """The file that a training goes on from; `of` says of which training it is."""

    path: Path
    of: str

    def save(self, state: dict[str, Any]) -> None:
        """Whole or not at all."""
        content = io.BytesIO()
        torch.save({"of": self.of, **state}, content)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, content.getvalue())

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """None where there is none. Raises ExportError for one of another training, or a damaged one."""
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # whatever torch meets in a file that broke off
            raise ExportError(f"{self.path} is damaged: delete it to begin anew") from error
        if state["of"] != self.of:
            raise ExportError(f"{self.path} is of another training: delete it, or give the same settings again")
        return state


def identity(recipe: TrainingRecipe, seed: int, **more: Any) -> str:
    """What a training is, so that another one's checkpoint is known."""
    text = json.dumps([asdict(recipe), seed, more], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def train_long(
    network: nn.Module,
    data: Data,
    recipe: TrainingRecipe,
    seed: int,
    among: Processes,
    checkpoint: Checkpoint,
    distillation: Distillation | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> None:
    """Train `network` (on its device, changed in place) by the whole recipe; what was done before is not done again.

    Raises:
        NonFiniteLoss: the mean loss of an epoch is not finite.
        ExportError: the checkpoint is of another training.
    """
    device = next(network.parameters()).device
    task = task_for(network, data)
    task.begin(network, recipe)
    batches = task.batches(data, recipe, device)
    steps = recipe.epochs * batches.steps
    optimiser = make_optimiser(network, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [float(group["lr"]) for group in optimiser.param_groups], total_steps=steps,
        pct_start=recipe.warmup_fraction if recipe.warmup_fraction * steps > 1 else 0.0, cycle_momentum=False,
    )  # fmt: skip
    averaged = None if recipe.ema_decay is None else moving_average(network, recipe.ema_decay)
    state = checkpoint.load(device)
    begun = 0
    if state is not None:
        begun = state["epoch"]
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        announce(f"going on after epoch {begun} of {recipe.epochs}")
    wrapped = among.wrapped(network)
    for epoch in range(begun, recipe.epochs):
        total = torch.zeros((), device=device)
        with drawing(device, seed, "network", epoch, among.rank):
            for draws in batches.draw(seed, epoch):
                batch = batches.make(among.share(draws))
                with autocast(recipe.precision, device):
                    outputs = wrapped(batch.inputs)
                loss = batch.loss(outputs)
                if distillation is not None:
                    loss = distillation.loss(loss, outputs, batch.inputs)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                if recipe.max_grad_norm is not None:
                    torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.max_grad_norm)
                optimiser.step()
                schedule.step()
                if averaged is not None:
                    averaged.update_parameters(network)
                total += loss.detach()
        mean = float(total) / batches.steps
        if not math.isfinite(mean):
            raise NonFiniteLoss(f"training loss is {mean} in epoch {epoch + 1} of {recipe.epochs}")
        if among.first:
            announce(f"epoch {epoch + 1} of {recipe.epochs}: loss {mean:.4f}")
            kept = {} if averaged is None else {"averaged": averaged.state_dict()}
            checkpoint.save(
                {
                    "epoch": epoch + 1,
                    "network": network.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": _plain(schedule.state_dict()),
                    **kept,
                }
            )
        among.barrier()
    if averaged is not None:
        network.load_state_dict(averaged.module.state_dict())


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """What is numbers and text of it: the rest is made anew with the schedule."""
    return {name: value for name, value in state.items() if isinstance(value, bool | int | float | str | list)}
