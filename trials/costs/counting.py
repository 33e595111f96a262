"""What a network computes and moves in one forward pass, by a trace of it: the one counter for budgets and profiles.

fvcore's convention: one multiply-add is one; a bias is where its sum starts and costs nothing. Beside that

- each elementwise multiply, add, comparison or elementary function (exp, σ, tanh, ReLU, softmax) is one for
  each element computed, and a fused operation what its parts are: `addcmul` 2, `lerp` 3, SiLU 2;
- a reduction or pooling is one for each element read;
- batch norm is 2 for each element (its statistics are folded into a scale and a shift), RMS norm 4, other norms 5,
  as in fvcore; bilinear interpolation is its 4 taps for each element computed;
- what moves data only (view, reshape, cat, transpose, padding, nearest interpolation) is free of multiply-adds.

Bytes moved are those of every tensor that an operation reads or writes, weights included, nothing fused and
nothing cached; a view moves nothing. They say what is bound by memory, not how long it takes. Kernels are the
operations that compute or move.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trials.costs.handles import HANDLES
from trials.errors import UncountedError

#: Raised by one whenever the same network may be counted differently.
CONVENTION = 3


@dataclass(frozen=True)
class Work:
    """One forward pass: `macs`, of these `elementwise_ops` (pooling and norms included), `bytes_moved`, `kernels`."""

    macs: int
    elementwise_ops: int
    bytes_moved: int
    kernels: int


def counter_version() -> str:
    """What a count depends on beside the network."""
    return f"fvcore's convention, version {CONVENTION}"


def warn_of(operations: Iterable[str]) -> None:
    """Say which operations of a user's network are not counted."""
    names = ", ".join(operations)
    warnings.warn(f"not counted, so free of cost in what follows: {names}", UserWarning, stacklevel=4)


def refuse(operations: Iterable[str]) -> None:
    """Raise UncountedError that names the operations: in our own networks nothing is silently free."""
    raise UncountedError(f"no cost is known of {', '.join(operations)}: give each a handle in trials/costs/handles.py")


def refuse_weighted(operations: Iterable[str]) -> None:
    """Raise UncountedError that names the operations of a user's network that compute with its weights."""
    raise UncountedError(
        f"no cost is known of {', '.join(operations)}, which the network gives weights: it would look far cheaper than "
        "it is; give each a handle in trials.costs.handles.HANDLES, or write it in operations that have one"
    )


def count_work(model: nn.Module, *inputs: torch.Tensor, uncounted: Callable[[Iterable[str]], None] = warn_of) -> Work:
    """The work of one forward pass of `model` in eval mode on real CPU tensors.

    Works on a copy: tracing must not change what it counts. `uncounted` is told the operations that no
    handle knows, where there are some. Raises UncountedError where one of these takes maps and weights: what a network
    mostly computes must not be free.
    """
    counted = copy.deepcopy(model).cpu().eval()
    # Tracing refuses a module in which autograd is on for some parameter.
    with torch.no_grad(), _separate_attention(), warnings.catch_warnings(action="ignore"):
        graph, _ = torch.jit._get_trace_graph(counted, inputs)  # type: ignore[attr-defined, no-untyped-call]
    found: Counter[str] = Counter()
    unknown: set[str] = set()
    weighted: set[str] = set()
    maps, weights = _maps_and_weights(graph, len(inputs))
    for node in graph.nodes():
        name = _name(node)
        if name in HANDLES:
            found += HANDLES[name](list(node.inputs()), list(node.outputs()))
        elif name is not None:
            taken = {value.debugName() for value in node.inputs()}
            (weighted if taken & maps and taken & weights else unknown).add(name)
    if weighted:
        refuse_weighted(sorted(weighted))
    if unknown:
        uncounted(sorted(unknown))
    return Work(**{name: found[name] for name in ("macs", "elementwise_ops", "bytes_moved", "kernels")})


def _name(node: Any) -> str | None:
    """What a handle of the node's operation goes by; None of what only the tracer writes, which computes nothing."""
    kind: str = node.kind()
    if kind == "prim::PythonOp":  # a torch.autograd.Function of the user's
        return f"{kind}.{node.pyname()}"
    return None if kind.startswith("prim::") and not kind.startswith("prim::CallFunction") else kind


def _maps_and_weights(graph: Any, inputs: int) -> tuple[set[str], set[str]]:
    """The values that come from the first `inputs` of the graph's, and those that come from its others alone, which are
    the parameters and buffers; by their names in it. How large a map is comes from neither."""
    names = [value.debugName() for value in graph.inputs()]
    maps, weights = set(names[:inputs]), set(names[inputs:])
    for node in graph.nodes():
        if node.kind() in ("aten::size", "aten::numel", "aten::dim"):
            continue
        taken = {value.debugName() for value in node.inputs()}
        made = [value.debugName() for value in node.outputs()]
        if taken & maps:
            maps.update(made)
        elif taken & weights:
            weights.update(made)
    return maps, weights


def count_macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    """`count_work`'s multiply-adds. Warns of operations that are not counted, and raises UncountedError as it does."""
    return count_work(model, *inputs).macs


def count_params(model: nn.Module) -> int:
    """All parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def _separate_attention() -> Iterator[None]:
    """nn.MultiheadAttention in its parts, not as one operation of its own for inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


#: fvcore's names of convolutions and of products of matrices.
_PRODUCTS = ("conv", "addmm", "linear", "matmul", "bmm", "einsum")


def products_by_fvcore(model: nn.Module, *inputs: torch.Tensor) -> int | None:
    """The multiply-adds of convolutions and products in one forward pass, as fvcore counts them; None where it cannot.

    Ours are `Work.macs - Work.elementwise_ops`: the same, but for what fvcore has no handle for (fused attention, say).
    """
    with warnings.catch_warnings(action="ignore"):  # it scripts a loss as it is imported
        from fvcore.nn import FlopCountAnalysis

    counted = copy.deepcopy(model).cpu().eval()
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        analysis = FlopCountAnalysis(counted, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        try:
            by_operator = analysis.by_operator()
        except Exception:  # its handles take some shapes for granted: a product with a vector is an IndexError there
            return None
    return int(sum(by_operator[name] for name in _PRODUCTS))
