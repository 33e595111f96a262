"""The fusion operators by name: one registration each, in the operator's own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import nn

from search_spaces.architecture import FusionChoice
from search_spaces.errors import SpaceError, unknown
from search_spaces.fusions.norms import Norm
from search_spaces.fusions.settings import DEFAULT, FusionSettings

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])


@dataclass(frozen=True)
class Dims:
    """What an operator's closed forms are written in: the sizes of one fusion of one image.

    `b` is the multiply-adds of normalising one value: 2 by batch norm (its statistics are folded into a scale
    and a shift), 5 by group or layer norm, as fvcore counts them.
    """

    c: int  #: channels C
    n: int = 1  #: positions N = H·W
    r: int = 1  #: reduction ratio
    w: int = 0  #: bottleneck width C'
    k: int = 2  #: maps fused
    b: int = 2


Cost = Callable[[Dims], int]


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


@dataclass(frozen=True)
class FusionOperator:
    """A registered operator.

    Attributes:
        width: `width(channels, reduction)` is the bottleneck width, by which the space knows that two ratios
            are the same choice; None for an operator that takes no reduction ratio.
        max_inputs: how many maps it can fuse; None is any number, given as the keyword `inputs`.
        max_positions: the most positions H·W at which it is offered; None is any number.
        params, macs: its cost in closed form; None where it was registered without.
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
    params: Cost | None = None
    macs: Cost | None = None
    aligns: bool = False
    symmetric: bool = False
    steps: int = 2
    attention: tuple[AttentionWeights, ...] = ()

    @property
    def takes_reduction(self) -> bool:
        return self.width is not None

    def dims(self, channels: int, reduction: int | None, positions: int = 1, inputs: int = 2) -> Dims:
        """The sizes of which the closed forms are functions, with batch norm."""
        if self.width is None or reduction is None:
            return Dims(channels, positions, k=inputs)
        return Dims(channels, positions, reduction, self.width(channels, reduction), inputs)

    def closed_form_params(self, channels: int, reduction: int | None = None, *, inputs: int = 2) -> int | None:
        """Parameters by the documented formula, None where none was registered."""
        return None if self.params is None else self.params(self.dims(channels, reduction, 1, inputs))

    def closed_form_macs(
        self,
        channels: int,
        reduction: int | None,
        height: int,
        width: int,
        *,
        inputs: int = 2,
        norm: Norm = "batch",
    ) -> int | None:
        """Multiply-adds of fusing one image's maps by the documented formula, None where none was registered.

        One for each multiply-add of a convolution or matrix product and for each element that elementwise work
        writes or a reduction reads.
        """
        if self.macs is None:
            return None
        dims = self.dims(channels, reduction, height * width, inputs)
        return self.macs(Dims(dims.c, dims.n, dims.r, dims.w, dims.k, 2 if norm == "batch" else 5))

    def why_not(self, height: int, width: int, inputs: int = 2) -> str | None:
        """Why the operator cannot fuse so many maps of this size; None when it can."""
        if self.max_inputs is not None and inputs > self.max_inputs:
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
    params: Cost | None = None,
    macs: Cost | None = None,
    aligns: bool = False,
    symmetric: bool = False,
    steps: int = 2,
    attention: tuple[AttentionWeights, ...] = (),
) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator: make an `nn.Module` known as the fusion operator `name`.

    The class is called as `Module(channels)` or, where `width` is given, `Module(channels, reduction)`,
    with those keywords of `FusionSettings` that it takes, and maps `x, y` of shape [B, C, H, W] to
    [B, C, H, W]. Its docstring's first line is its summary. The other keywords are those of `FusionOperator`.

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
            name, module, summary, width, max_inputs, max_positions, params, macs, aligns, symmetric, steps, attention
        )
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
    if not op.takes_reduction:
        if choice.reduction is not None:
            raise SpaceError(f"{choice.op!r} takes no reduction ratio, but {choice.reduction} was given")
        return op.module(channels, **options)
    if choice.reduction is None:
        raise SpaceError(f"{choice.op!r} needs a reduction ratio, such as '{choice.op}/4'")
    if choice.reduction > channels:
        raise SpaceError(f"reduction ratio {choice.reduction} of {choice.op!r} is above its {channels} channels")
    return op.module(channels, choice.reduction, **options)
