"""One optimiser step of a classifier, as work for the device alone: nothing in it waits for a result."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.space import fusion_modules
from trials.machine.device import autocast
from trials.training.batches import Batches, Draws
from trials.trial import Failure, Recipe

#: Norm of all gradients together, of a mean cross-entropy. Ours stay below 100; no step of this size helps a network.
MAX_GRADIENT_NORM = 1e5


class ExplodingGradients(ArithmeticError):
    """A step's loss was finite, and its gradients were not, or were above `MAX_GRADIENT_NORM`."""

    failure = Failure.EXPLODING_GRADIENTS


class GradientWatch:
    """The largest gradient norm of an epoch's steps, kept on the device: reading it there would wait every step.

    Gradients are only looked at, never clipped.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self.largest = torch.zeros((), device=device)

    def look(self, loss: Tensor) -> None:
        """Take in the gradients of this loss; those of a loss that is not finite say nothing more than it does."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        torch.maximum(self.largest, norm.where(loss.isfinite(), 0.0), out=self.largest)  # a NaN stays

    def check(self, where: str) -> None:
        """Raises ExplodingGradients, naming `where`."""
        largest = float(self.largest)
        if not largest <= MAX_GRADIENT_NORM:  # NaN too
            raise ExplodingGradients(f"gradient norm is {largest:.3g} {where}; at most {MAX_GRADIENT_NORM:g} is usual")


class TrainingStep:
    """Called with a batch's draws, it changes the network, and adds the loss to `total`."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.SGD, batches: Batches, recipe: Recipe) -> None:
        self.network = network
        self.optimiser = optimiser
        self.device = next(network.parameters()).device
        self.watch = GradientWatch(network, self.device)
        self.total = torch.zeros((), device=self.device)
        self._batches = batches
        self._label_smoothing = recipe.label_smoothing
        self._precision = recipe.precision

    def __call__(self, draws: Draws) -> None:
        batch = self._batches.make(draws)
        with autocast(self._precision, self.device):
            logits = self.network(batch.inputs)
        loss = batch.loss(logits.float(), self._label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.watch.look(loss.detach())
        self.optimiser.step()
        self.total += loss.detach()

    def state(self) -> list[list[Tensor]]:
        """All that a step changes, in the same order always: weights, statistics, momenta, what is watched."""
        momenta = [one["momentum_buffer"] for one in self.optimiser.state.values()]
        weights: list[Tensor] = list(self.network.parameters())
        return [weights, list(self.network.buffers()), momenta, [self.watch.largest, self.total]]


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; no weight decay on norms and biases, whose zero is not a rest state.

    The fusions' own parameters learn at `fusion_lr_scale` times the rate of the trunk. A CUDA graph holds numbers as
    they were when it was captured, so for one the rates are tensors.
    """
    device = next(network.parameters()).device
    fusions = {id(p) for fusion in fusion_modules(network).values() for p in fusion.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault((parameter.ndim > 1, id(parameter) in fusions), []).append(parameter)
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
    optimiser = torch.optim.SGD(settings, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=True, fused=True)
    for parameter in network.parameters():
        # A supernet's parameters get their first gradients at different steps; a fused step takes all buffers or none.
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser
