"""What a network computes and moves in one forward pass, by a trace of it: the one counter for budgets and profiles.

fvcore's convention: one multiply-add is one; a bias is where its sum starts and costs nothing. Beside that

- each elementwise multiply, add, comparison or elementary function (exp, σ, tanh, ReLU, softmax) is one for
  each element computed, and a fused operation what its parts are: `addcmul` 2, `lerp` 3, SiLU 2;
- a reduction or pooling is one for each element read;
- batch norm is 2 for each element (its statistics are folded into a scale and a shift), other norms 5, as in
  fvcore; bilinear interpolation is its 4 taps for each element computed;
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

import torch
from torch import nn

from trials.costs.handles import HANDLES
from trials.errors import UncountedError

#: Raised by one whenever the same network may be counted differently.
CONVENTION = 2


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


def count_work(model: nn.Module, *inputs: torch.Tensor, uncounted: Callable[[Iterable[str]], None] = warn_of) -> Work:
    """The work of one forward pass of `model` in eval mode on real CPU tensors.

    Works on a copy: tracing must not change what it counts. `uncounted` is told the operations that no
    handle knows, where there are some.
    """
    counted = copy.deepcopy(model).cpu().eval()
    # Tracing refuses a module in which autograd is on for some parameter.
    with torch.no_grad(), _separate_attention(), warnings.catch_warnings(action="ignore"):
        graph, _ = torch.jit._get_trace_graph(counted, inputs)  # type: ignore[attr-defined, no-untyped-call]
    found: Counter[str] = Counter()
    unknown = set()
    for node in graph.nodes():
        kind = node.kind()
        if kind in HANDLES:
            found += HANDLES[kind](list(node.inputs()), list(node.outputs()))
        elif kind == "prim::PythonOp":  # a torch.autograd.Function of the user's
            unknown.add(f"{kind}.{node.pyname()}")
        elif not kind.startswith("prim::") or kind.startswith("prim::CallFunction"):
            unknown.add(kind)
    if unknown:
        uncounted(sorted(unknown))
    return Work(**{name: found[name] for name in ("macs", "elementwise_ops", "bytes_moved", "kernels")})


def count_macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    """`count_work`'s multiply-adds. Warns of operations that are not counted."""
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
