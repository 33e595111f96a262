"""The fusion operators by name: one registration each, in the operator's own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import nn

from search_spaces.architecture import FusionChoice
from search_spaces.errors import SpaceError, unknown
from search_spaces.fusions.settings import DEFAULT, FusionSettings

Merge = Literal["sum", "cat"]
ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


@dataclass(frozen=True)
class AttentionWeights:
    """Where an operator's attention weights are to be seen: in what its submodule `module` returns, batch first.

    `kind` says what they are: `gates`, each between 0 and 1 on its own; `shares` along dimension 1, few and told
    apart, that sum to 1; or `positions`, shares of many along the last dimension. A submodule without parameters
    (`nn.Sigmoid()`, `nn.Softmax(dim=1)`) serves where the weights come of a function. `labels` name the shares;
    without, they are numbered.
    """

    module: str
    kind: Literal["gates", "shares", "positions"] = "gates"
    labels: tuple[str, ...] = ()


#: Why an operator is not offered where maps are concatenated, unless its registration says another reason.
NO_CAT = "it has no form of its own for maps that are concatenated (give register one: cat=)"


@dataclass(frozen=True)
class FusionOperator:
    """A registered operator.

    Attributes:
        width: `width(channels, reduction)` is the bottleneck width, by which the space knows that two ratios
            are the same choice; None for an operator that takes no reduction ratio.
        cat: its form where a network concatenates, called `cat((C₁, …, Cₙ))` or `cat((C₁, …, Cₙ), reduction)`: any
            number of maps [B, Cᵢ, H, W] -> [B, ΣCᵢ, H, W]. None: it is not offered there, `no_cat` says why.
        cat_width: as `width`, of the form `cat` and of ΣCᵢ.
        max_inputs: how many maps it can sum; None is any number, given as the keyword `inputs`.
        max_positions: the most positions H·W at which it is offered; None is any number.
        aligns: whether it brings a y of another height and width to those of x; others must refuse such maps.
        symmetric: whether `f(x, y)` is `f(y, x)`.
        steps: after how many steps of training every parameter has had a gradient, the first counted as 0.
        attention: the weights that it computes for each image; empty for one that computes none.
    """

    name: str
    module: type[nn.Module]
    summary: str
    width: Callable[[int, int], int] | None
    max_inputs: int | None = 2
    max_positions: int | None = None
    aligns: bool = False
    symmetric: bool = False
    steps: int = 2
    attention: tuple[AttentionWeights, ...] = ()
    cat: type[nn.Module] | None = None
    cat_width: Callable[[int, int], int] | None = None
    no_cat: str = NO_CAT

    @property
    def takes_reduction(self) -> bool:
        return self.width is not None

    def width_of(self, merge: Merge) -> Callable[[int, int], int] | None:
        """`width(channels, reduction)` of its form at such a merge; None where it takes no reduction ratio."""
        return self.width if merge == "sum" else self.cat_width

    def why_not(self, height: int, width: int, inputs: int = 2, merge: Merge = "sum") -> str | None:
        """Why the operator cannot fuse so many maps of this size; None when it can."""
        if merge == "cat" and self.cat is None:
            return f"{self.name!r} cannot stand at a concatenation: {self.no_cat}"
        if merge == "sum" and self.max_inputs is not None and inputs > self.max_inputs:
            return f"{self.name!r} fuses {self.max_inputs} maps, not {inputs}"
        if self.max_positions is None or height * width <= self.max_positions:
            return None
        return (
            f"{self.name!r} attends over {height * width} positions ({height} x {width}), "
            f"above its limit of {self.max_positions}"
        )


_OPERATORS: dict[str, FusionOperator] = {}


def register(
    name: str,
    *,
    width: Callable[[int, int], int] | None = None,
    max_inputs: int | None = 2,
    max_positions: int | None = None,
    aligns: bool = False,
    symmetric: bool = False,
    steps: int = 2,
    attention: tuple[AttentionWeights, ...] = (),
    cat: type[nn.Module] | None = None,
    cat_width: Callable[[int, int], int] | None = None,
    no_cat: str = NO_CAT,
) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator: make an `nn.Module` known as the fusion operator `name`.

    The class is called as `Module(channels)` or, where `width` is given, `Module(channels, reduction)`,
    with those keywords of `FusionSettings` that it takes, and maps `x, y` of shape [B, C, H, W] to
    [B, C, H, W]. Its docstring's first line is its summary. The other keywords are those of `FusionOperator`;
    `cat_width` is `width` unless given.

    Raises:
        SpaceError: the name is taken, or holds a character that a choice's text cannot.
    """

    def add(module: ModuleClass) -> ModuleClass:
        if name in _OPERATORS:
            raise SpaceError(f"fusion operator {name!r} is already registered by {_OPERATORS[name].module.__name__}")
        if not name.replace("_", "").isalnum():
            raise SpaceError(f"fusion operator name {name!r}: use letters, digits and underscores")
        summary = (module.__doc__ or "").strip().partition("\n")[0]
        _OPERATORS[name] = FusionOperator(
            name, module, summary, width, max_inputs, max_positions, aligns, symmetric, steps, attention,
            cat, width if cat_width is None else cat_width, no_cat,
        )  # fmt: skip
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


def build_fusion(
    choice: FusionChoice, channels: int, settings: FusionSettings = DEFAULT, *, inputs: int = 2
) -> nn.Module:
    """The module that fuses `inputs` maps of `channels` channels by `choice`.

    Raises:
        SpaceError: unknown operator, a missing or superfluous ratio, a ratio above `channels`, or more maps
            than the operator fuses.
    """
    op = operator(choice.op)
    options = settings.options(op.module)
    if inputs != 2:
        if inputs < 2 or op.max_inputs is not None:
            raise SpaceError(f"{choice.op!r} fuses {'two or more' if inputs < 2 else op.max_inputs} maps, not {inputs}")
        options["inputs"] = inputs
    return op.module(channels, *_ratio(op, choice, channels), **options)


def build_concatenation(
    choice: FusionChoice, channels: tuple[int, ...], settings: FusionSettings = DEFAULT
) -> nn.Module:
    """The module that fuses maps of these channels by `choice` where a network concatenates them.

    Raises:
        SpaceError: unknown operator, one that has no such form, a missing or superfluous ratio, or one above ΣCᵢ.
    """
    op = operator(choice.op)
    if op.cat is None:
        raise SpaceError(f"{choice.op!r} cannot stand at a concatenation: {op.no_cat}")
    return op.cat(channels, *_ratio(op, choice, sum(channels)), **settings.options(op.cat))


def _ratio(op: FusionOperator, choice: FusionChoice, channels: int) -> tuple[int, ...]:
    """What follows the channels in the call of an operator."""
    if not op.takes_reduction:
        if choice.reduction is not None:
            raise SpaceError(f"{choice.op!r} takes no reduction ratio, but {choice.reduction} was given")
        return ()
    if choice.reduction is None:
        raise SpaceError(f"{choice.op!r} needs a reduction ratio, such as '{choice.op}/4'")
    if choice.reduction > channels:
        raise SpaceError(f"reduction ratio {choice.reduction} of {choice.op!r} is above its {channels} channels")
    return (choice.reduction,)
