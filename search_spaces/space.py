"""A search space: the fusion points of a network and what each may be."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal

from torch import nn

from search_spaces import catalogue
from search_spaces.architecture import DEFAULT_OPERATORS as DEFAULT_OPERATORS
from search_spaces.architecture import DEFAULT_REDUCTIONS as DEFAULT_REDUCTIONS
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.errors import SpaceError, unknown
from search_spaces.fusions import build_concatenation, build_fusion, operator
from search_spaces.fusions.settings import DEFAULT as DEFAULT_SETTINGS
from search_spaces.fusions.settings import FusionSettings
from search_spaces.networks import InputSpec, NetworkDesign, PointShape
from search_spaces.points import FusionPoint, chosen, fitting, offer, stage_of, tied
from search_spaces.references import is_reference, located, short
from search_spaces.user_file import code_behind

__all__ = [
    "DEFAULT_OPERATORS", "DEFAULT_REDUCTIONS", "FusionPoint", "SearchSpace", "Tie", "Variable", "fusion_at",
    "fusion_modules", "offer", "stage_of",
]  # fmt: skip

Tie = Literal["none", "stage"]


@dataclass(frozen=True)
class Variable:
    """One free choice of a space: the points that it decides, and what they may be."""

    name: str
    points: tuple[str, ...]
    choices: tuple[FusionChoice, ...]


@dataclass(frozen=True)
class SearchSpace:
    """Every assignment of an offered operator and ratio to each fusion point of one network.

    `vary` restricts what varies to points of these names or stages (all others stay `add`); `tie` "stage"
    gives the points of a stage one common choice. `settings` are those of all its operators.
    """

    name: str
    input: InputSpec
    operators: tuple[str, ...] = DEFAULT_OPERATORS
    reductions: tuple[int, ...] = DEFAULT_REDUCTIONS
    vary: tuple[str, ...] = ()
    tie: Tie = "none"
    settings: FusionSettings = DEFAULT_SETTINGS
    #: Of a network in a user's file: where that is, and what its code was (see `user_code`). Neither is its identity.
    source: str | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        if is_reference(self.name):
            object.__setattr__(self, "source", self.source or located(self.name))
            object.__setattr__(self, "name", short(self.name))
        _ = self.design  # first: a user's file may register operators of her own
        object.__setattr__(self, "operators", tuple(dict.fromkeys(self.operators)))
        for name in self.operators:
            operator(name)
        if "add" not in self.operators:
            raise SpaceError("operators lack 'add', the baseline that every figure is relative to: put it among them")
        for ratio in self.reductions:
            if isinstance(ratio, bool) or not isinstance(ratio, int) or ratio <= 0:
                raise SpaceError(f"reduction ratio {ratio!r}: give a whole number above 0")
        if not self.reductions and any(operator(name).takes_reduction for name in self.operators):
            raise SpaceError("reductions is empty, but some operators need one: give some, such as 4, 8, 16")
        if self.tie not in ("none", "stage"):
            raise unknown("way to tie points", self.tie, ("none", "stage"))
        object.__setattr__(self, "reductions", tuple(sorted(set(self.reductions))))
        object.__setattr__(self, "vary", tuple(dict.fromkeys(self.vary)))
        _ = self.points

    @classmethod
    def named(
        cls,
        name: str,
        input: InputSpec | None = None,
        operators: Sequence[str] = DEFAULT_OPERATORS,
        reductions: Sequence[int] = DEFAULT_REDUCTIONS,
        vary: Sequence[str] = (),
        tie: Tie = "none",
        settings: FusionSettings = DEFAULT_SETTINGS,
        source: str | None = None,
        code: str | None = None,
    ) -> SearchSpace:
        """The space of a catalogue network, for its own default input unless one is given.

        In place of a catalogue name: `FILE.py:OBJECT`, a design or an ordinary network, or `torchvision:NAME`. An
        ordinary network takes whatever images its user has: for one of these the input must be given.

        Raises:
            SpaceError: nothing of that name, something that cannot be searched, or a setting that does not fit.
        """
        spec = catalogue.design(source or name).default_input if input is None else input
        if spec is None:
            raise SpaceError(f"{name} takes images of any size: give the input, such as InputSpec(3, 224, 10)")
        space = cls(name, spec, tuple(operators), tuple(reductions), tuple(vary), tie, settings, source, code)
        if not space.points:
            raise SpaceError(f"{name} has no fusion point: there is nothing to search")
        return space

    @property
    def design(self) -> NetworkDesign:
        """Raises SpaceError where the code of a user's network is not what it was when the space was made."""
        if self.source is None:
            return catalogue.design(self.name)
        found = code_behind(self.source)
        if self.code is None:
            object.__setattr__(self, "code", found)
        if found != self.code:
            raise SpaceError(
                f"the network of {self.source} has changed: its code, with what it imports from beside itself, has "
                f"the fingerprint {found}, recorded is {self.code}; put it back as it was, or search anew"
            )
        return catalogue.design(self.source)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return self.input.channels, self.input.size, self.input.size

    @cached_property
    def points(self) -> tuple[FusionPoint, ...]:
        """The fusion points in forward order. Raises SpaceError that names a point it cannot fill."""
        shapes = self.design.points(self.input)
        places = {name: None for shape in shapes for name in (shape.name, stage_of(shape.name))}
        for name in self.vary:
            if name not in places:
                raise unknown(f"fusion point or stage of {self.name}", name, places)
        widest = max(shapes, key=lambda shape: shape.channels, default=None)
        for ratio in self.reductions:
            # The default ratios are nobody's mistake: in a narrow network those too large are left out.
            if widest is not None and ratio > widest.channels and self.reductions != DEFAULT_REDUCTIONS:
                raise SpaceError(
                    f"reduction ratio {ratio} is above the {widest.channels} channels of {widest.name}, "
                    f"the widest fusion point of {self.name}"
                )
        offered = [self._offer(shape) for shape in shapes]
        return tuple(offered) if self.tie == "none" else tied(offered)

    def _offer(self, shape: PointShape) -> FusionPoint:
        if self.vary and shape.name not in self.vary and stage_of(shape.name) not in self.vary:
            return FusionPoint(shape, (FusionChoice("add"),), {}, {}, shape.name)
        return offer(shape, self.operators, self.reductions)

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The free choices, in forward order: one a point, or one a tied group; fixed points are not among them."""
        groups: dict[str, list[FusionPoint]] = {}
        for point in self.points:
            if len(point.choices) > 1:
                groups.setdefault(point.variable, []).append(point)
        return tuple(
            Variable(name, tuple(point.name for point in points), points[0].choices) for name, points in groups.items()
        )

    @property
    def size(self) -> int:
        """The number of different architectures."""
        return math.prod(len(variable.choices) for variable in self.variables)

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that makes the space what it is, its points and choices included."""
        identity = {key: value for key, value in self.to_json().items() if key not in ("source", "code")}
        whole: list[Any] = [identity, [point.to_json() for point in self.points]]
        if any(point.shape.merge == "cat" for point in self.points):
            whole.append("operators' own forms at concatenations")  # once these were embedded sums of the same names
        text = json.dumps(whole, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def architecture(self, choices: Mapping[str, FusionChoice | str]) -> Architecture:
        """A validated architecture: every point named, each with a choice on offer there.

        A ratio that was merged into another is taken for that other.

        Raises:
            SpaceError: a point is unknown or missing, a choice is not on offer, or tied points differ.
        """
        known = {point.name: point for point in self.points}
        for name in choices:
            if name not in known:
                raise unknown(f"fusion point of {self.name}", name, known)
        missing = [name for name in known if name not in choices]
        if missing:
            raise SpaceError(f"no choice for fusion point {missing[0]!r} of {self.name}")
        checked = {name: chosen(point, choices[name]) for name, point in known.items()}
        for variable in self.variables:
            for name in variable.points:
                if checked[name] != checked[variable.points[0]]:
                    raise SpaceError(
                        f"{name} is {checked[name]}, but it is tied to {variable.points[0]}, "
                        f"which is {checked[variable.points[0]]}"
                    )
        return Architecture(self.name, checked)

    def assign(self, values: Mapping[str, FusionChoice]) -> Architecture:
        """The architecture of one value for each variable, by the variables' names."""
        choices = {point.name: point.choices[0] for point in self.points}
        for variable in self.variables:
            choices.update(dict.fromkeys(variable.points, values[variable.name]))
        return Architecture(self.name, choices)

    @property
    def baseline(self) -> Architecture:
        """`add` at every point."""
        return Architecture(self.name, {point.name: FusionChoice("add") for point in self.points})

    def uniform(self, op: str, reduction: int | None = None) -> Architecture:
        """`op` at every point that offers it (`add` elsewhere), with `reduction` or the widest bottleneck on offer.

        Raises:
            SpaceError: no point offers `op`, or none offers it with `reduction`.
        """
        fits = {point.name: fitting(point, op, reduction) for point in self.points}
        found = {name: choice for name, choice in fits.items() if choice is not None}
        if not found:
            reasons = {point.left_out[op] for point in self.points if op in point.left_out}
            why = f": {min(reasons)}" if reasons else ""
            places = _few(point.name for point in self.points)
            raise SpaceError(f"{FusionChoice(op, reduction)!s} is not on offer at {places} of {self.name}{why}")
        return Architecture(self.name, {**self.baseline.choices, **found})

    def offers(self, op: str, reduction: int | None = None) -> bool:
        """Whether some point offers `op`, with `reduction` or, where None, with any: then `uniform` has a choice."""
        return any(fitting(point, op, reduction) is not None for point in self.points)

    def takes_reduction(self, op: str) -> bool:
        """Whether an operator of the space takes a reduction ratio."""
        return operator(op).takes_reduction

    def sample(self, rng: random.Random) -> Architecture:
        """A uniformly random architecture."""
        return self.assign({variable.name: rng.choice(variable.choices) for variable in self.variables})

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in exactly one variable: at one point, or at the points tied to it."""
        for variable in self.variables:
            for choice in variable.choices:
                if choice != architecture.choices[variable.points[0]]:
                    changed = dict.fromkeys(variable.points, choice)
                    yield Architecture(self.name, {**architecture.choices, **changed})

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture, in a fixed order. Mind `size`."""
        names = [variable.name for variable in self.variables]
        for combination in product(*(variable.choices for variable in self.variables)):
            yield self.assign(dict(zip(names, combination, strict=True)))

    def build(self, architecture: Architecture) -> nn.Module:
        """The network: [B, channels, size, size] -> logits [B, classes], initialised from torch's seed."""
        if short(architecture.space) != self.name:
            raise SpaceError(f"architecture of space {architecture.space!r} given to space {self.name!r}")
        design = self.design  # in a worker, this is what runs a user's file and registers her operators
        checked = self.architecture(architecture.choices)
        shapes = {point.name: point.shape for point in self.points}

        def fuse(name: str, channels: int) -> nn.Module:
            fusion = fusion_at(shapes[name], checked.choices[name], self.settings)
            fusion.fusion_point = name  # type: ignore[assignment]
            return fusion

        return design.build(self.input, fuse)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "input": self.input.to_json(),
            "operators": list(self.operators),
            "reductions": list(self.reductions),
            "vary": list(self.vary),
            "tie": self.tie,
            "settings": asdict(self.settings),
            **({} if self.source is None else {"source": self.source, "code": self.code}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        try:
            return cls.named(
                data["name"], InputSpec(**data["input"]), data["operators"], data["reductions"],
                data.get("vary", ()), data.get("tie", "none"), FusionSettings(**data.get("settings", {})),
                data.get("source"), data.get("code"),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise SpaceError(f"not the JSON of a search space: {error}") from None


def fusion_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The fusion modules of a built network, by the names of their points."""
    return {str(m.fusion_point): m for m in network.modules() if "fusion_point" in vars(m)}


def fusion_at(shape: PointShape, choice: FusionChoice, settings: FusionSettings = DEFAULT_SETTINGS) -> nn.Module:
    """The module that merges the maps of a point by `choice`: called with as many maps as the point has inputs."""
    if shape.merge == "cat":
        return build_concatenation(choice, shape.inputs, settings)
    return build_fusion(choice, shape.channels, settings, inputs=len(shape.inputs))


def _few(points: Iterable[str]) -> str:
    names = list(points)
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])}, … {names[-1]}"
