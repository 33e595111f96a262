"""Several seeds of one architecture trained as one batched program, for a GPU that one small network leaves idle.

Every seed is trained as alone (`trials.training.loop.train`): under its own initialisation, data order, augmentation,
batch statistics, gradients, clipping and moving average. Only rounding differs, for convolutions of several networks
are one grouped convolution. The weights of all lie in one tensor for each name, [K, …], whose optimiser works element
by element; what is of a whole network, its gradients' norm, is taken seed by seed.

Not for networks that draw numbers or whose Python code looks at values (dropout, stochastic depth, a supernet), nor for
scenes: `PackingRefused`. A CUDA graph of a packed step is not made. No search trains by it yet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from trials.data import ImageData
from trials.machine.device import autocast
from trials.machine.quiet import Occupancy, waited_seconds
from trials.tasks.evaluation import NonFiniteLoss
from trials.tasks.task import Task, task_for
from trials.training.averaging import moving_average
from trials.training.loop import one_cycle
from trials.training.step import MAX_GRADIENT_NORM, ExplodingGradients, make_optimiser
from trials.trial import EpochPoint, Recipe


class PackingRefused(ValueError):
    """Seeds that cannot be trained as one program: they are to be trained one by one."""


def train_packed(
    networks: Sequence[nn.Module],
    data: ImageData,
    recipe: Recipe,
    seeds: Sequence[int],
    machine: Occupancy,
    epochs: int | None = None,
) -> Iterator[tuple[EpochPoint, ...]]:
    """Train `networks` (of one architecture, on their device, changed in place at the end) each under its seed, and
    yield a point of each after every epoch; its images a second are those of one of them.

    Raises:
        PackingRefused: they cannot be one program. Nothing was changed.
        NonFiniteLoss, ExplodingGradients: one of them diverged, the first that did is named. Nothing was changed: the
            others are to be trained without it.
        ValueError: there are not as many seeds as networks.
    """
    if len(networks) != len(seeds) or not seeds:
        raise ValueError(f"given {len(networks)} networks and {len(seeds)} seeds; expected as many, and one at least")
    epochs = recipe.epochs if epochs is None else epochs
    device = next(networks[0].parameters()).device
    recipe = replace(recipe, cuda_graph=False)
    task = task_for(networks[0], data)
    pack = _Pack(networks, recipe, task)
    batches = task.batches(data, recipe, device)
    schedule = one_cycle(pack.optimiser, recipe, epochs * batches.steps)
    averaged = None if recipe.ema_decay is None else moving_average(pack.state, recipe.ema_decay)
    for epoch in range(epochs):
        began = time.perf_counter() - waited_seconds()
        total = torch.zeros(len(seeds), device=device)
        for draws in zip(*(batches.draw(seed, epoch) for seed in seeds), strict=True):
            machine.give_way()
            total += pack.step([batches.make(each) for each in draws])
            schedule.step()
            if averaged is not None:
                averaged.update_parameters(pack.state)
        where = f"in epoch {epoch + 1} of {epochs}"
        losses = [float(loss) / batches.steps for loss in total]
        for seed, loss, norm in zip(seeds, losses, pack.largest.tolist(), strict=True):
            most = MAX_GRADIENT_NORM if recipe.max_grad_norm is None else torch.finfo(torch.float32).max
            if not norm <= most:
                raise ExplodingGradients(f"gradient norm is {norm:.3g} under seed {seed} {where}")
            if not math.isfinite(loss):
                raise NonFiniteLoss(f"training loss is {loss} under seed {seed} {where}")
        if epoch + 1 == epochs:
            if averaged is not None:
                pack.state.load_state_dict(averaged.module.state_dict())
            pack.unpack(networks)
        speed = batches.images / (time.perf_counter() - waited_seconds() - began)
        yield tuple(EpochPoint(epoch + 1, loss, speed) for loss in losses)


class _State(nn.Module):
    """The stacked parameters and buffers of networks, [K, …], under their names, each point of them a bar."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(networks))
        learnt = {name for name, parameter in networks[0].named_parameters() if parameter.requires_grad}
        for name, tensor in parameters.items():
            stacked = nn.Parameter(tensor.detach(), requires_grad=name in learnt)
            self.register_parameter(name.replace(".", "|"), stacked)
        for name, tensor in buffers.items():
            self.register_buffer(name.replace(".", "|"), tensor.detach())

    def named(self) -> tuple[dict[str, nn.Parameter], dict[str, Tensor]]:
        return (
            {name.replace("|", "."): parameter for name, parameter in self.named_parameters()},
            {name.replace("|", "."): buffer for name, buffer in self.named_buffers()},
        )


class _Pack:
    """Networks as one, and the step of them all."""

    def __init__(self, networks: Sequence[nn.Module], recipe: Recipe, task: Task) -> None:
        if len({tuple(network.state_dict()) for network in networks}) > 1:
            raise PackingRefused("the networks are of several architectures")
        self._recipe = recipe
        self._one = deepcopy(networks[0])
        task.begin(self._one, recipe)
        self.state = _State(networks)
        self._parameters, self._buffers = self.state.named()
        self._device = next(iter(self._parameters.values())).device
        self.largest = torch.zeros(len(networks), device=self._device)
        self.optimiser = make_optimiser(self._one, recipe)
        names = {id(parameter): name for name, parameter in self._one.named_parameters()}
        self.optimiser.state.clear()
        for group in self.optimiser.param_groups:
            group["params"] = [self._parameters[names[id(parameter)]] for parameter in group["params"]]
            for parameter in group["params"] if recipe.optimiser == "sgd" else ():
                self.optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def step(self, batches: Sequence[Any]) -> Tensor:
        """The losses [K] of a batch of each, before the step that it takes."""
        inputs = torch.stack([batch.inputs for batch in batches])
        try:
            with autocast(self._recipe.precision, self._device):
                outputs = vmap(self._forward)(self._parameters, self._buffers, inputs)
        except RuntimeError as error:
            text = " ".join(str(error).split())
            if "vmap" not in text and "functorch" not in text and "functionaliz" not in text:
                raise
            raise PackingRefused(f"the networks cannot be one program: {text[:200]}") from None
        losses = torch.stack([batch.loss(output) for batch, output in zip(batches, outputs, strict=True)])
        self.optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self._look(losses.detach())
        self.optimiser.step()
        return losses.detach()

    def unpack(self, networks: Sequence[nn.Module]) -> None:
        """Each network its own weights and statistics."""
        with torch.no_grad():
            for number, network in enumerate(networks):
                for own, stacked in (
                    (network.named_parameters(), self._parameters),
                    (network.named_buffers(), self._buffers),
                ):
                    for name, tensor in own:
                        tensor.copy_(stacked[name][number])

    def _forward(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self._one, (dict(parameters), dict(buffers)), (inputs,))
        return outputs

    @torch.no_grad()
    def _look(self, losses: Tensor) -> None:
        """What `GradientWatch` does, of each network's own gradients."""
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        norms = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]), dim=0
        )
        torch.maximum(self.largest, norms.where(losses.isfinite(), 0.0).to(self.largest), out=self.largest)
        if self._recipe.max_grad_norm is not None:
            shares = (self._recipe.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(shares.reshape(-1, *[1] * (gradient.ndim - 1)))
