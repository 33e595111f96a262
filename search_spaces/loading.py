"""Kept weights into the network that they are of, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from search_spaces.errors import SpaceError

_MEND = (
    "it is of another network, or of a pyramid or concatenation trained by an earlier version, whose parts had other "
    "names: train it again"
)


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], whose: str) -> None:
    """Load all of a network's weights and running statistics; `whose` weights they are is said when they do not fit.

    Raises:
        SpaceError: the first that is missing, superfluous or of another shape. Nothing is loaded then.
    """
    wanted = network.state_dict()
    missing = next((name for name in wanted if name not in weights), None)
    if missing is not None:
        raise SpaceError(f"{whose} lacks the weight {missing!r}: {_MEND}")
    extra = next((name for name in weights if name not in wanted), None)
    if extra is not None:
        raise SpaceError(f"{whose} has the weight {extra!r}, which the network has not: {_MEND}")
    for name, tensor in wanted.items():
        if tensor.shape != weights[name].shape:
            given, expected = list(weights[name].shape), list(tensor.shape)
            raise SpaceError(f"{whose}: {name!r} has shape {given}, but the network has {expected}: {_MEND}")
    network.load_state_dict(dict(weights))
