"""One optimiser step, as work for the device alone where the task's batches are: nothing in it waits for a result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import clip_grads_with_norm_

from search_spaces.space import fusion_modules
from trials.machine.device import autocast
from trials.tasks.task import Batches
from trials.trial import Failure, TrainingRecipe

#: Norm of all gradients together, of a mean cross-entropy. Ours stay below 100; no step of this size helps a network.
MAX_GRADIENT_NORM = 1e5


class ExplodingGradients(ArithmeticError):
    """A step's loss was finite, and its gradients were not, or were above `MAX_GRADIENT_NORM` and not cut."""

    failure = Failure.EXPLODING_GRADIENTS


class GradientWatch:
    """The largest gradient norm of an epoch's steps, kept on the device: reading it there would wait every step.

    Gradients are cut to the length `cut_to`, or, without one, only looked at.
    """

    def __init__(self, network: nn.Module, device: torch.device, cut_to: float | None = None) -> None:
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._cut_to = cut_to
        self._most = MAX_GRADIENT_NORM if cut_to is None else torch.finfo(torch.float32).max
        self.largest = torch.zeros((), device=device)

    def look(self, loss: Tensor) -> None:
        """Take in the gradients of this loss; those of a loss that is not finite say nothing more than it does."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        torch.maximum(self.largest, norm.where(loss.isfinite(), 0.0), out=self.largest)  # a NaN stays
        if self._cut_to is not None:
            clip_grads_with_norm_(self._parameters, self._cut_to, norm)

    def check(self, where: str) -> None:
        """Raises ExplodingGradients, naming `where`."""
        largest = float(self.largest)
        if not largest <= self._most:  # NaN too
            usual = f"; at most {MAX_GRADIENT_NORM:g} is usual" if self._cut_to is None else ""
            raise ExplodingGradients(f"gradient norm is {largest:.3g} {where}{usual}")


class TrainingStep:
    """Called with a batch's draws, it changes the network, and adds the loss to `total`."""

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, batches: Batches, recipe: TrainingRecipe
    ) -> None:
        self.network = network
        self.optimiser = optimiser
        self.device = next(network.parameters()).device
        self.watch = GradientWatch(network, self.device, recipe.max_grad_norm)
        self.total = torch.zeros((), device=self.device)
        self._batches = batches
        self._precision = recipe.precision

    def __call__(self, draws: Any) -> None:
        batch = self._batches.make(draws)
        with autocast(self._precision, self.device):
            outputs = self.network(batch.inputs)
        loss = batch.loss(outputs)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.watch.look(loss.detach())
        self.optimiser.step()
        self.total += loss.detach()

    def state(self) -> list[list[Tensor]]:
        """All that a step changes, in the same order always: weights, statistics, what the optimiser keeps of each
        kind, what is watched."""
        kept: dict[str, list[Tensor]] = {}
        for one in self.optimiser.state.values():
            for name, tensor in one.items():
                kept.setdefault(name, []).append(tensor)
        weights: list[Tensor] = list(self.network.parameters())
        return [weights, list(self.network.buffers()), *kept.values(), [self.watch.largest, self.total]]


def make_optimiser(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; no weight decay on norms and biases, whose zero is not a rest state.

    The fusions' own parameters learn at `fusion_lr_scale` times the rate of the trunk. A CUDA graph holds numbers as
    they were when it was captured, so for one the rates are tensors.
    """
    device = next(network.parameters()).device
    fusions = {id(p) for fusion in fusion_modules(network).values() for p in fusion.parameters()}
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    undecayed = _norms_and_biases(network)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in learnt:
        decays = parameter.ndim > 1 and id(parameter) not in undecayed
        groups.setdefault((decays, id(parameter) in fusions), []).append(parameter)
    settings = []
    for (decays, in_fusion), parameters in groups.items():
        lr = recipe.peak_lr * (recipe.fusion_lr_scale if in_fusion else 1.0)
        settings.append(
            {
                "params": parameters,
                "weight_decay": recipe.weight_decay if decays else 0.0,
                "lr": torch.tensor(lr, device=device) if recipe.cuda_graph else lr,
            }
        )
    # A supernet's parameters get their first gradients at different steps, and a capture holds what is there before it:
    # a fused step of SGD takes all buffers or none.
    if recipe.optimiser == "adamw":
        captured = recipe.cuda_graph and device.type == "cuda"
        adamw = torch.optim.AdamW(settings, lr=recipe.peak_lr, fused=True, capturable=captured)
        for parameter in learnt if recipe.cuda_graph else ():
            adamw.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return adamw
    sgd = torch.optim.SGD(settings, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True, fused=True)
    for parameter in learnt:
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _norms_and_biases(network: nn.Module) -> set[int]:
    """The identities of their parameters, of however many dimensions: a layer norm over [C, 1, 1] has three."""
    norms = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
    return {
        id(parameter)
        for module in network.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, norms)
    }
