"""The fusion operators by name: one registration each, in the operator's own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from search_spaces.architecture import FusionChoice
from search_spaces.errors import SpaceError, unknown

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


@dataclass(frozen=True)
class FusionOperator:
    """A registered operator.

    `width(channels, reduction)` is its bottleneck width, by which the space knows that two ratios are
    the same choice; None for an operator that takes no reduction ratio.
    """

    name: str
    module: type[nn.Module]
    summary: str
    width: Callable[[int, int], int] | None
    max_inputs: int | None = 2

    @property
    def takes_reduction(self) -> bool:
        return self.width is not None


_OPERATORS: dict[str, FusionOperator] = {}


def register(
    name: str, *, width: Callable[[int, int], int] | None = None, max_inputs: int | None = 2
) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator: make an `nn.Module` known as the fusion operator `name`.

    The class is called as `Module(channels)` or, where `width` is given, `Module(channels, reduction)`,
    and maps `x, y` of shape [B, C, H, W] to [B, C, H, W]. Its docstring's first line is its summary.

    Raises:
        SpaceError: the name is taken, or holds a character that a choice's text cannot.
    """

    def add(module: ModuleClass) -> ModuleClass:
        if name in _OPERATORS:
            raise SpaceError(f"fusion operator {name!r} is already registered by {_OPERATORS[name].module.__name__}")
        if not name.replace("_", "").isalnum():
            raise SpaceError(f"fusion operator name {name!r}: use letters, digits and underscores")
        summary = (module.__doc__ or "").strip().partition("\n")[0]
        _OPERATORS[name] = FusionOperator(name, module, summary, width, max_inputs)
        return module

    return add


def unregister(name: str) -> None:
    """Forget an operator (a user's own, in a notebook or a test)."""
    _OPERATORS.pop(name, None)


def operator(name: str) -> FusionOperator:
    """The operator of that name. Raises SpaceError with the nearest known one."""
    if name not in _OPERATORS:
        raise unknown("fusion operator", name, _OPERATORS)
    return _OPERATORS[name]


def operator_names() -> tuple[str, ...]:
    """All registered names, in order of registration."""
    return tuple(_OPERATORS)


def build_fusion(choice: FusionChoice, channels: int, *, inputs: int = 2) -> nn.Module:
    """The module that fuses `inputs` maps of `channels` channels by `choice`.

    Raises:
        SpaceError: unknown operator, a missing or superfluous ratio, or a ratio above `channels`.
    """
    op = operator(choice.op)
    if inputs != 2 and op.max_inputs is not None:
        raise SpaceError(f"{choice.op!r} fuses {op.max_inputs} maps, not {inputs}")
    options = {} if inputs == 2 else {"inputs": inputs}
    if not op.takes_reduction:
        if choice.reduction is not None:
            raise SpaceError(f"{choice.op!r} takes no reduction ratio, but {choice.reduction} was given")
        return op.module(channels, **options)
    if choice.reduction is None:
        raise SpaceError(f"{choice.op!r} needs a reduction ratio, such as '{choice.op}/4'")
    if choice.reduction > channels:
        raise SpaceError(f"reduction ratio {choice.reduction} of {choice.op!r} is above its {channels} channels")
    return op.module(channels, choice.reduction, **options)
