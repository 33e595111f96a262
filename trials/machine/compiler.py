"""Keeps torch's compiler out of processes that compile nothing: importing it takes a worker's first seconds.

torch's optimisers tell the compiler what to leave alone, and import it, the whole of `torch._dynamo`, to do so: some of
their methods when they are first called, `step` every time. Where nothing is compiled there is nobody to tell. Of a
torch that does it in another way nothing is changed: it imports the compiler, as it would without this.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim import optimizer as torchs
from torch.utils._python_dispatch import TorchDispatchMode

#: Where the wrapper in torch/_compile.py looks for what to call.
_CALLED = "__dynamo_disable"


class UncompiledMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that sees operators as they run, in code that nobody compiles: the compiler needs not be told of it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def spare_the_compiler() -> None:
    """Let SGD, Adam and AdamW be made and stepped in this process without importing the compiler.

    Computes the same. Nothing to do where the compiler is there already.
    """
    if "torch._dynamo" in sys.modules:
        return
    for method in vars(Optimizer).values():
        if _file_of(method) == torch._compile.__file__ and isinstance(method.__wrapped__, FunctionType):
            method.__wrapped__.__dict__.setdefault(_CALLED, method.__wrapped__)
    for kind in (SGD, Adam):  # AdamW's step is Adam's
        step = vars(kind)["step"]
        if _file_of(step) == torchs.__file__ and step.__code__.co_name == "_use_grad":
            kind.step = _without_gradients(step.__wrapped__)  # type: ignore[method-assign]


def _file_of(method: Any) -> str | None:
    """Where a function that wraps another is defined; None of anything else."""
    return method.__code__.co_filename if isinstance(method, FunctionType) and hasattr(method, "__wrapped__") else None


def _without_gradients(step: Callable[..., Any]) -> Callable[..., Any]:
    """torch.optim.optimizer._use_grad_for_differentiable without its breaks in a graph that nobody makes."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **kwargs)

    return wrapped
