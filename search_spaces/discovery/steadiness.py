"""What a forward does beside computing its result, of which a graph would hold one outcome for ever.

A draw of random numbers while the graph is made, a counter that it moves, a hook: a module that does such a thing is
kept whole, and runs as it was written.
"""

from __future__ import annotations

import copy
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


def own_modes(module: nn.Module) -> str:
    """Why a train() method of its own keeps a module whole: it sets other modes than torch's; nothing where not."""
    if type(module).train is nn.Module.train:
        return ""
    for mode in (True, False):
        if any(part.training != mode for part in copy.deepcopy(module).train(mode).modules()):
            return "its train() method is its own, and sets modes that a graph would not be in"
    return ""


class Watch:
    """Looks at a module before its forward, and after it says what it did and puts everything back."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._generators = _generators(module)
        self._drawn = _states()
        self._own = [_state(generator) for generator in self._generators]
        self._attributes = _attributes(module)

    def found(self) -> str:
        """Why its forward gives another graph, or other results, each time; nothing where it does not."""
        why = ""
        if _states() != self._drawn or [_state(generator) for generator in self._generators] != self._own:
            why = "its forward draws random numbers and decides by them, or holds what it drew"
        now = _attributes(self._module)
        for name in {**self._attributes, **now}:
            before, after = self._attributes.get(name, _ABSENT), now.get(name, _ABSENT)
            passing = _holds_proxy(after) and name not in self._module._buffers  # what it stored of this one pass
            if not passing and not _same(before, after):
                why = why or f"its forward changes its attribute {name!r}, which the next pass reads"
        self.put_back()
        return why

    def put_back(self) -> None:
        for name, after in _attributes(self._module).items():
            before = self._attributes.get(name, _ABSENT)
            if not _same(before, after):
                _restore(self._module, name, before)
        for name in self._attributes.keys() - _attributes(self._module).keys():
            _restore(self._module, name, self._attributes[name])
        for generator, state in zip(self._generators, self._own, strict=True):
            _set_state(generator, state)


@contextmanager
def random_states_kept(network: nn.Module | None = None) -> Iterator[None]:
    """Puts back the random state of torch on the CPU, of numpy and of Python, and of the generators that a network's
    modules, or their files, keep."""
    states = random.getstate(), numpy.random.get_state()
    modules = () if network is None else network.modules()
    own = [(generator, _state(generator)) for module in modules for generator in _generators(module)]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            numpy.random.set_state(states[1])
            for generator, state in own:
                _set_state(generator, state)


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


def _states() -> tuple[object, ...]:
    """Those of the generators that all draw from."""
    cuda = torch.cuda.get_rng_state().numpy().tobytes() if torch.cuda.is_available() else b""
    return torch.get_rng_state().numpy().tobytes(), cuda, random.getstate(), _legacy(numpy.random.get_state())


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, numpy.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    return _legacy(generator.get_state())


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, numpy.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(("MT19937", numpy.frombuffer(state[0], dtype=numpy.uint32), *state[1]))


def _legacy(state: Any) -> tuple[bytes, tuple[Any, ...]]:
    """Numpy's old kind of state as what can be compared: its numbers and the place in them."""
    return state[1].tobytes(), state[2:]


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Its own attributes, what is in lists and mappings of them copied."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name not in _OWN and not name.startswith("_tensor_constant"):  # which the tracer itself leaves there
            found[name] = list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else value
    return found | module._buffers


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
    current = module._buffers.get(name, vars(module).get(name))
    if name in module._buffers or isinstance(before, torch.Tensor):
        module._buffers[name] = before
    elif isinstance(current, list) and isinstance(before, list):
        current[:] = before  # the very list: others may hold it
    elif isinstance(current, dict) and isinstance(before, dict):
        current.clear()
        current.update(before)
    elif before is _ABSENT:
        vars(module).pop(name, None)
    else:
        vars(module)[name] = before
