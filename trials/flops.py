"""What an architecture costs in multiply-adds and parameters: trunk + Σ cost(point, choice), counted once.

fvcore's convention, one multiply-add = one FLOP, and through handles of our own the elementwise and
pooling work that fvcore skips by default: one for each element computed (for reductions: read).
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.networks import PointShape
from search_spaces.space import SearchSpace, Variable, fusion_at
from trials.constraints import Costs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore still scripts a function with torch.jit at import
    from fvcore.nn import FlopCountAnalysis

Handle = Callable[[Sequence[Any], Sequence[Any]], int]


def _elements(value: Any) -> int:
    sizes = value.type().sizes()
    return 0 if sizes is None else math.prod(sizes)


def _written(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return _elements(outputs[0])


def _multiplied_and_added(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """As much as `mul` and `add` apart: what is counted does not depend on how it is written."""
    return 2 * _elements(outputs[0])


def _read(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return _elements(inputs[0])


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """QᵀK, softmax and product with V of [..., N, d], [..., N', d], [..., N', C]."""
    query, key, value = (tensor.type().sizes() for tensor in inputs[:3])
    pairs = math.prod(query[:-1]) * key[-2]
    return int(pairs * (query[-1] + 1 + value[-1]))


_ELEMENTWISE = ("add", "add_", "sub", "rsub", "mul", "mul_", "div", "div_", "sigmoid", "sigmoid_", "relu", "relu_",
                "silu", "silu_", "tanh", "exp", "sqrt", "rsqrt", "pow", "neg", "reciprocal", "maximum", "minimum",
                "clamp", "where", "lerp", "softmax", "log_softmax", "softplus", "hardsigmoid", "hardswish",
                "gelu", "leaky_relu")  # fmt: skip
_REDUCTIONS = ("mean", "sum", "max", "amax", "min", "amin", "argmax", "var", "adaptive_avg_pool2d",
               "adaptive_max_pool2d", "avg_pool2d", "max_pool2d")  # fmt: skip
HANDLES: dict[str, Handle] = {
    **{f"aten::{name}": _written for name in _ELEMENTWISE},
    **{f"aten::{name}": _read for name in _REDUCTIONS},
    "aten::addcmul": _multiplied_and_added,
    "aten::scaled_dot_product_attention": _attention,
}


def count_macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of one forward pass of `model` in eval mode on real CPU tensors.

    Works on a copy: tracing must not change what it counts.
    """
    counted = copy.deepcopy(model).cpu().eval()
    # fvcore counts under tracing, which refuses a module in which autograd is on for some parameter.
    with torch.no_grad():
        analysis = FlopCountAnalysis(counted, tuple(inputs) if len(inputs) > 1 else inputs[0])
        analysis.set_op_handle(**HANDLES)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        logging.getLogger("fvcore").setLevel(logging.ERROR)
        return int(analysis.total())


def count_params(model: nn.Module) -> int:
    """All parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


class CostTable:
    """The costs of a space: its trunk and each choice at each point are counted once, then added.

    A batch of one image is what is counted.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._counted: dict[tuple[object, ...], tuple[int, int]] = {}
        with torch.random.fork_rng(devices=[]):  # counting is not to move the caller's random numbers
            self._count()

    def _count(self) -> None:
        space = self._space
        self._choices = {
            (point.name, choice): self._fusion(choice, point.shape)
            for point in space.points
            for choice in point.choices
        }
        network = space.build(space.baseline)
        image = torch.zeros(1, space.input.channels, space.input.size, space.input.size)
        macs, params = self._sum(space.baseline)
        self._trunk = count_macs(network, image) - macs, count_params(network) - params

    def _fusion(self, choice: FusionChoice, shape: PointShape) -> tuple[int, int]:
        alike = (choice, shape.merge, shape.inputs, shape.height, shape.width)
        if alike not in self._counted:
            module = fusion_at(shape, choice, self._space.settings)
            maps = [torch.zeros(1, channels, shape.height, shape.width) for channels in shape.inputs]
            self._counted[alike] = count_macs(module, *maps), count_params(module)
        return self._counted[alike]

    def _sum(self, architecture: Architecture) -> tuple[int, int]:
        parts = [self._choices[point, choice] for point, choice in architecture.choices.items()]
        return sum(macs for macs, _ in parts), sum(params for _, params in parts)

    def __call__(self, architecture: Architecture) -> Costs:
        """Exact multiply-adds and parameters of a validated architecture of the space."""
        macs, params = self._sum(architecture)
        return Costs(self._trunk[0] + macs, self._trunk[1] + params)

    def extreme(self, metric: str, pick: Callable[..., FusionChoice]) -> Architecture:
        """The architecture that `pick` (min or max) makes of every variable by its choices' `metric`."""
        index = ("macs", "params").index(metric)

        def cost(variable: Variable, choice: FusionChoice) -> int:
            return sum(self._choices[point, choice][index] for point in variable.points)

        return self._space.assign({v.name: pick(v.choices, key=partial(cost, v)) for v in self._space.variables})

    def cheapest(self, metric: str = "macs") -> Architecture:
        """The architecture of least cost (exact: the parts add up)."""
        return self.extreme(metric, min)

    def costliest(self, metric: str = "macs") -> Architecture:
        """The architecture of greatest cost."""
        return self.extreme(metric, max)
