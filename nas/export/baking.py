"""Parametrized weights (weight_norm, spectral_norm, one's own) as the weights that they come to."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrize

Network = TypeVar("Network", bound=nn.Module)


def baked(network: Network) -> Network:
    """The network, in place, in eval mode, without parametrizations: each tensor is what they make of it now."""
    network.eval()
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            _bake(module)
    return network


def _bake(module: nn.Module) -> None:
    """torch's own remove_parametrizations takes the property off the class, which all copies of a module share."""
    assert isinstance(module.parametrizations, nn.ModuleDict)
    values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
    learnt = {name for name, found in module.parametrizations.items() if next(found.parameters(), None) is not None}
    del module._modules["parametrizations"]
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        if name in learnt:
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)
