"""How a network is put together: the call that builds it, and the call that builds each fusion."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from nas.export.errors import ExportError
from nas.export.graph import homes_of
from search_spaces import Architecture, FusionChoice, PointShape, SearchSpace
from search_spaces.fusions import FusionSettings, operator
from search_spaces.space import fusion_at

_recording = threading.Lock()


@dataclass(frozen=True)
class FusionCall:
    """One fusion point: its operator's class, called with its channels and, where it takes one, a reduction."""

    shape: PointShape
    choice: FusionChoice
    settings: FusionSettings

    @property
    def point(self) -> str:
        return self.shape.name

    @property
    def module(self) -> type[nn.Module]:
        found = operator(self.choice.op)
        return found.cat if self.shape.merge == "cat" and found.cat is not None else found.module


@dataclass(frozen=True)
class Construction:
    """A network's class, the arguments it is called with by name, and the fusions in the order they are made.

    A network that was traced has no class: it stands here itself.
    """

    network: type[nn.Module] | fx.GraphModule
    arguments: dict[str, Any]
    fuse: Callable[[str, int], nn.Module]
    fusions: tuple[FusionCall, ...]

    @property
    def homes(self) -> set[str]:
        """The packages in which operators and a traced network's parts are defined: an export carries their source."""
        operators = {call.module.__module__.partition(".")[0] for call in self.fusions} - {"torch"}
        return operators | homes_of(self.network) if isinstance(self.network, fx.GraphModule) else operators


def construction(space: SearchSpace, architecture: Architecture) -> Construction:
    """Watch the space build an architecture.

    Raises:
        ExportError: the network is not an instance of a class that the design calls itself.
    """
    choices = space.architecture(architecture.choices).choices
    shapes = {point.name: point.shape for point in space.points}
    calls: list[FusionCall] = []

    def fuse(name: str, channels: int) -> nn.Module:
        calls.append(FusionCall(shapes[name], choices[name], space.settings))
        return fusion_at(shapes[name], choices[name], space.settings)

    with _recording, torch.random.fork_rng(devices=[]):
        network = space.design.build(space.input, fuse)
        if isinstance(network, fx.GraphModule):
            return Construction(network, {}, fuse, tuple(calls))
        network_class = type(network)
        calls.clear()
        with _constructor_calls(network_class) as recorded:
            network = space.design.build(space.input, fuse)
    for made, arguments in recorded:
        if made is network:
            return Construction(network_class, arguments, fuse, tuple(calls))
    raise ExportError(f"{space.name} is not built by calling {network_class.__name__}: its design must do so to export")


@contextmanager
def _constructor_calls(cls: type[nn.Module]) -> Iterator[list[tuple[nn.Module, dict[str, Any]]]]:
    """Record every object of a class that is made meanwhile, with the arguments of its call."""
    original = cls.__init__
    signature = inspect.signature(original)
    own = "__init__" in vars(cls)
    recorded: list[tuple[nn.Module, dict[str, Any]]] = []

    def recording(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        if any(signature.parameters[name].kind in variadic for name in bound.arguments):
            raise ExportError(f"{cls.__name__} is called with *args or **kwargs: give its arguments names to export it")
        recorded.append((self, dict(list(bound.arguments.items())[1:])))
        original(self, *args, **kwargs)

    cls.__init__ = recording  # type: ignore[method-assign]
    try:
        yield recorded
    finally:
        if own:
            cls.__init__ = original  # type: ignore[method-assign]
        else:
            del cls.__init__
