"""Batch norms whose running statistics are those of the network as it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.machine.quiet import Occupancy
from trials.seeds import generator

#: Half of what Once-for-All (Cai et al., ICLR 2020) takes: of 18 networks after 24 steps none then moved by more than
#: 0.3 points, and their mean by less than 0.1; with 256, single ones moved by up to 1.2.
IMAGES = 1024


@torch.no_grad()
def recalibrate(
    network: nn.Module,
    images: Tensor,
    inputs: Callable[[Tensor], Tensor],
    batch_size: int,
    seed: int,
    machine: Occupancy,
    begin: Callable[[nn.Module], None],
) -> None:
    """Replace the running statistics of every batch norm that a forward meets by their mean over whole batches of
    training images, drawn by `seed`; but for those of norms that training leaves as they are.

    images: uint8 [N, C, H, W], on any device; `inputs` makes of a batch of them what the network takes, and `begin`
    puts the network in training as its training does.

    `torch.optim.swa_utils.update_bn` but for the rest of the network, which stays in evaluation: nothing is dropped,
    a supernet stays on its path, and the norms beside that path keep what they have.
    """
    momenta: dict[_BatchNorm, float | None] = {}

    def begin_anew(norm: _BatchNorm, inputs: Any) -> None:
        if norm not in momenta:
            momenta[norm] = norm.momentum
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean

    begin(network)
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and module.training
    ]
    network.eval()
    hooks = [norm.register_forward_pre_hook(begin_anew) for norm in norms]
    for norm in norms:
        norm.train()
    order = torch.randperm(len(images), generator=generator(seed, "recalibration"))
    batches = max(1, min(IMAGES, len(images)) // batch_size)
    for batch in order[: batches * batch_size].to(images.device).chunk(batches):
        machine.give_way()
        network(inputs(images[batch]))
    for hook in hooks:
        hook.remove()
    for norm, momentum in momenta.items():
        norm.momentum = momentum
    network.eval()
