"""What a graph's values are for inputs of several sizes, computed on fake tensors: shapes and types without numbers."""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from search_spaces.discovery.steadiness import random_states_kept


def other_sizes(shape: torch.Size) -> list[tuple[int, ...]]:
    """Batches and sizes beside that of [B, C, H, W] for which a network may have to take other steps."""
    batch, channels, height, width = shape
    return [
        (batch + 1, channels, height, width),
        (1, channels, height, width),
        (batch, channels, height + 1, width),
        (batch, channels, height, width + 1),
        (batch, channels, 2 * height, 2 * width),
        (batch, channels, max(1, height // 2), max(1, width // 2)),
    ]


class Probe:
    """The values of a graph that is being made, for one shape of input [B, C, H, W].

    Modules run for real, so that their counters and generators move, and single numbers are computed: `root` is a copy
    of the network.
    """

    def __init__(self, root: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.root = root
        self.shape = shape
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        with self._fake:
            self._input = torch.empty(shape, dtype=dtype)
        self._values: dict[fx.Node, Any] = {}

    def value(self, graph: fx.Graph, wanted: fx.Node) -> Any:
        """Of a node, a tensor as a fake one. Raises whatever computing it raises."""
        self._run_to(graph, wanted)
        return self._values[wanted]

    def decision(self, graph: fx.Graph, wanted: fx.Node) -> bool:
        """Whether a node is true. Raises where that depends on the values of a tensor."""
        value = self.value(graph, wanted)
        with self._fake, torch.no_grad():
            return bool(value)

    def as_far_as_it_runs(self, graph: fx.Graph) -> dict[fx.Node, Any]:
        """The values of a finished graph, up to the first step that does not take this shape, or needs numbers."""
        with suppress(Exception):
            self._run_to(graph, None)
        return self._values

    def _run_to(self, graph: fx.Graph, wanted: fx.Node | None) -> None:
        with self._fake, torch.no_grad(), random_states_kept():
            for node in graph.nodes:
                if node.op == "output":
                    return
                if node not in self._values:
                    self._values[node] = self._run(node)
                if node is wanted:
                    return

    def _run(self, node: fx.Node) -> Any:
        args = fx.node.map_arg(node.args, self._values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, self._values.__getitem__)
        match node.op:
            case "placeholder":
                return self._input if not node.args else node.args[0]
            case "get_attr":
                return operator.attrgetter(str(node.target))(self.root)
            case "call_function":
                assert callable(node.target)
                return node.target(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            case _:
                return self.root.get_submodule(str(node.target))(*args, **kwargs)
