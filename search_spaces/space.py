"""A search space: the fusion points of a network and what each may be."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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

Tie = Literal["none", "stage"]


@dataclass(frozen=True)
class FusionPoint:
    """A place where a network merges maps, and the choices on offer there.

    `merged` names the ratios that were left out because they give the same bottleneck width as one
    that is kept: `{"aff/16": "aff/8"}`. `left_out` names the operators (or single choices) that cannot stand
    here, and why.
    `variable` is what decides the point: points that are tied share one.
    """

    shape: PointShape
    choices: tuple[FusionChoice, ...]
    merged: Mapping[str, str]
    left_out: Mapping[str, str]
    variable: str

    @property
    def name(self) -> str:
        return self.shape.name

    def to_json(self) -> dict[str, Any]:
        return {
            **self.shape.to_json(),
            "choices": [str(choice) for choice in self.choices],
            "merged": dict(self.merged),
            "left_out": dict(self.left_out),
            "variable": self.variable,
        }


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

    def __post_init__(self) -> None:
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
    ) -> SearchSpace:
        """The space of a catalogue network, for its own default input unless one is given.

        In place of a catalogue name: `FILE.py:OBJECT`, a design or an ordinary network, or `torchvision:NAME`. An
        ordinary network takes whatever images its user has: for one of these the input must be given.

        Raises:
            SpaceError: nothing of that name, something that cannot be searched, or a setting that does not fit.
        """
        spec = catalogue.design(name).default_input if input is None else input
        if spec is None:
            raise SpaceError(f"{name} takes images of any size: give the input, such as InputSpec(3, 224, 10)")
        space = cls(name, spec, tuple(operators), tuple(reductions), tuple(vary), tie, settings)
        if not space.points:
            raise SpaceError(f"{name} has no fusion point: there is nothing to search")
        return space

    @property
    def design(self) -> NetworkDesign:
        return catalogue.design(self.name)

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
        return tuple(offered) if self.tie == "none" else _tied(offered)

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
        whole: list[Any] = [self.to_json(), [point.to_json() for point in self.points]]
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
        checked = {name: _offered(point, choices[name]) for name, point in known.items()}
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
        fitting = {point.name: _fitting(point, op, reduction) for point in self.points}
        chosen = {name: choice for name, choice in fitting.items() if choice is not None}
        if not chosen:
            reasons = {point.left_out[op] for point in self.points if op in point.left_out}
            why = f": {min(reasons)}" if reasons else ""
            places = _few(point.name for point in self.points)
            raise SpaceError(f"{FusionChoice(op, reduction)!s} is not on offer at {places} of {self.name}{why}")
        return Architecture(self.name, {**self.baseline.choices, **chosen})

    def offers(self, op: str, reduction: int | None = None) -> bool:
        """Whether some point offers `op`, with `reduction` or, where None, with any: then `uniform` has a choice."""
        return any(_fitting(point, op, reduction) is not None for point in self.points)

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
        if architecture.space != self.name:
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
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        try:
            return cls.named(
                data["name"], InputSpec(**data["input"]), data["operators"], data["reductions"],
                data.get("vary", ()), data.get("tie", "none"), FusionSettings(**data.get("settings", {})),
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


def offer(shape: PointShape, operators: Sequence[str], reductions: Sequence[int]) -> FusionPoint:
    """The choices at a point: each operator with each ratio that gives it a bottleneck width of its own.

    An operator that cannot fuse so many maps, or maps so large, is left out, and so is a ratio above the channels.
    """
    choices: list[FusionChoice] = []
    merged: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in operators:
        op = operator(name)
        reason = op.why_not(shape.height, shape.width, len(shape.inputs), shape.merge)
        if reason is not None:
            left_out[name] = reason
            continue
        width = op.width_of(shape.merge)
        if width is None:
            choices.append(FusionChoice(name))
            continue
        by_width: dict[int, FusionChoice] = {}
        for ratio in reductions:
            choice = FusionChoice(name, ratio)
            if ratio > shape.channels:
                left_out[str(choice)] = f"a reduction ratio above its {shape.channels} channels"
                continue
            kept = by_width.setdefault(width(shape.channels, ratio), choice)
            if kept != choice:
                merged[str(choice)] = str(kept)
        choices.extend(by_width.values())
    return FusionPoint(shape, tuple(choices), merged, left_out, shape.name)


def _fitting(point: FusionPoint, op: str, reduction: int | None) -> FusionChoice | None:
    """The point's choice of an operator with that ratio, or with its first on offer where None; None: there is none."""
    wanted = str(FusionChoice(op, reduction))
    kept = point.merged.get(wanted, wanted)
    return next((c for c in point.choices if c.op == op and (reduction is None or str(c) == kept)), None)


def _few(points: Iterable[str]) -> str:
    names = list(points)
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])}, … {names[-1]}"


def stage_of(point: str) -> str:
    """`layer1` of `layer1.0`."""
    return point.partition(".")[0]


def _tied(points: Sequence[FusionPoint]) -> tuple[FusionPoint, ...]:
    """The points, those that vary in one stage deciding together: only what all of them offer is on offer."""
    stages: dict[str, list[FusionPoint]] = {}
    for point in points:
        if len(point.choices) > 1:
            stages.setdefault(stage_of(point.name), []).append(point)
    common = {
        stage: tuple(c for c in members[0].choices if all(c in other.choices for other in members))
        for stage, members in stages.items()
    }
    return tuple(
        _restricted(point, common[stage_of(point.name)], stage_of(point.name)) if len(point.choices) > 1 else point
        for point in points
    )


def _restricted(point: FusionPoint, common: tuple[FusionChoice, ...], stage: str) -> FusionPoint:
    """A point that decides with its stage: what the others do not offer is left out, by operator where none is left."""
    left_out = dict(point.left_out)
    kept = {choice.op for choice in common}
    for choice in point.choices:
        if choice not in common:
            name = str(choice) if choice.op in kept else choice.op
            left_out[name] = f"{name!r} is not on offer at every point of {stage}, which are tied"
    return replace(point, choices=common, left_out=left_out, variable=stage)


def _offered(point: FusionPoint, choice: FusionChoice | str) -> FusionChoice:
    try:
        wanted = FusionChoice.parse(str(choice))
        operator(wanted.op)
    except SpaceError as error:
        raise SpaceError(f"at {point.name}: {error}") from None
    kept = FusionChoice.parse(point.merged.get(str(wanted), str(wanted)))
    if kept not in point.choices:
        offered = ", ".join(str(offered) for offered in point.choices)
        reason = point.left_out.get(wanted.op) or point.left_out.get(str(kept))
        why = f"{reason}; " if reason else ""
        raise SpaceError(f"{str(wanted)!r} is not on offer at {point.name}: {why}choose from {offered}")
    return kept
