"""The attention weights of a network while it runs, by fusion point: seen where each operator says they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.fusions.registry import AttentionWeights, FusionOperator, operator
from search_spaces.space import fusion_modules

#: Of positions an even share is 1 / N, so theirs are told in multiples of it, and this many is where a scale ends.
POSITIONS_UPPER = 4.0

#: Told a part's name (`channel gate`, `share of map 2`), its weights, and the end of their scale, which begins at 0.
See = Callable[[str, torch.Tensor, float], None]


@contextmanager
def watched(network: nn.Module, architecture: Architecture, see: Callable[[str], See]) -> Iterator[None]:
    """Inside, each forward pass of `network` tells `see(point)` of the attention weights computed at that point.

    A weight above the end of its scale is possible for positions only. What the network computes is the same.
    """
    with ExitStack() as stack:
        for point, fusion in fusion_modules(network).items():
            stack.enter_context(watched_operator(fusion, operator(architecture.choices[point].op), see(point)))
        yield


@contextmanager
def watched_operator(fusion: nn.Module, op: FusionOperator, see: See) -> Iterator[None]:
    """As `watched`, of one operator's module."""
    with ExitStack() as stack:
        for weights in op.attention:
            tell = partial(_tell, weights=weights, see=see)
            stack.enter_context(_removed(fusion.get_submodule(weights.module).register_forward_hook(tell)))
        yield


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _tell(module: nn.Module, inputs: Any, output: torch.Tensor, *, weights: AttentionWeights, see: See) -> None:
    name, seen = weights.module.replace("_", " "), output.detach()
    if weights.kind == "gates":
        see(name, seen, 1.0)
    elif weights.kind == "positions":
        see(f"{name}, in even shares", seen * seen.shape[-1], POSITIONS_UPPER)
    else:
        labels = weights.labels or tuple(f"map {number}" for number in range(1, seen.shape[1] + 1))
        for label, share in zip(labels, seen.unbind(dim=1), strict=True):
            see(f"{name} of {label}", share, 1.0)
