"""What a forward does beside computing its result, of which a graph would hold one outcome for ever.

A draw of random numbers while the graph is made, a counter that it moves, a hook: a module that does such a thing is
kept whole, and runs as it was written.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import fx, nn

#: What nn.Module itself keeps in a module's __dict__: tensors, submodules, hooks, modes.
_OWN = frozenset(vars(nn.Module()))
#: (gradients recorded, autocast on the CPU, autocast on a GPU): what a `with` in a forward changes.
Context = tuple[bool, bool, bool]


def context() -> Context:
    """The context in which an operation runs now."""
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def hooked(module: nn.Module) -> str:
    """Why a module's hooks keep it whole; nothing where it has none."""
    found = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return "it has hooks, which run as they are and are not followed" if any(found) else ""


class Watch:
    """Looks at a module before its forward, and says after it what it did."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._generators = _generators(module)
        self._drawn = self._states()
        self._attributes = _attributes(module)

    def found(self) -> str:
        """Why its forward gives another graph each time; nothing where it does not.

        What it stored of this one pass is taken out of its attributes again.
        """
        if self._states() != self._drawn:
            return "its forward draws random numbers and decides by them, or holds what it drew"
        now = _attributes(self._module)
        for name in {**self._attributes, **now}:
            before, after = self._attributes.get(name, _ABSENT), now.get(name, _ABSENT)
            if _holds_proxy(after):
                _restore(self._module, name, before)
            elif not _same(before, after):
                return f"its forward changes its attribute {name!r}, which the next pass reads"
        return ""

    def _states(self) -> tuple[object, ...]:
        cuda = torch.cuda.get_rng_state().numpy().tobytes() if torch.cuda.is_initialized() else b""
        return (
            torch.get_rng_state().numpy().tobytes(),
            cuda,
            random.getstate(),
            _legacy(numpy.random.get_state()),
            *(_state(generator) for generator in self._generators),
        )


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Puts back the random state of torch on the CPU, of numpy and of Python."""
    states = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            numpy.random.set_state(states[1])


def seed_everything(seed: int) -> None:
    """Torch, numpy and Python."""
    torch.manual_seed(seed)
    numpy.random.seed(seed)
    random.seed(seed)


_ABSENT = object()
_GENERATORS = (random.Random, numpy.random.Generator, numpy.random.RandomState, torch.Generator)


def _generators(module: nn.Module) -> list[Any]:
    """The random generators that a module keeps, or the file of its class."""
    home = vars(sys.modules.get(type(module).__module__, random))
    places = vars(module) if type(module).__module__.startswith("torch") else {**home, **vars(module)}
    return [value for value in places.values() if isinstance(value, _GENERATORS)]


def _state(generator: Any) -> object:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, numpy.random.Generator):
        return repr(generator.bit_generator.state)
    return _legacy(generator.get_state())


def _legacy(state: Any) -> object:
    """Numpy's old kind of state as what can be compared: its numbers and the place in them."""
    return state[1].tobytes(), state[2:]


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Its own attributes, what is in lists and mappings of them copied."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name not in _OWN and not name.startswith("_tensor_constant"):  # which the tracer itself leaves there
            found[name] = list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else value
    for name, buffer in module._buffers.items():
        if not isinstance(buffer, torch.nn.Parameter):
            found[name] = buffer
    return found


def _same(before: Any, after: Any) -> bool:
    if before is after:
        return True
    if type(before) is not type(after):
        return False
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    return bool(before == after) if isinstance(before, int | float | str | tuple | bytes) else False


def _holds_proxy(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_proxy, value))
    if isinstance(value, dict):
        return any(map(_holds_proxy, value.values()))
    return isinstance(value, fx.Proxy)


def _restore(module: nn.Module, name: str, before: Any) -> None:
    current = getattr(module, name)
    if isinstance(current, list) and isinstance(before, list):
        current[:] = before  # the very list: others may hold it
    elif isinstance(current, dict) and isinstance(before, dict):
        current.clear()
        current.update(before)
    elif before is _ABSENT:
        delattr(module, name)
    else:
        object.__setattr__(module, name, before)
