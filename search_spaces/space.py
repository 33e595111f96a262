"""A search space: the fusion points of a network and what each may be."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from torch import nn

from search_spaces import catalogue
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.errors import SpaceError, unknown
from search_spaces.fusions import build_fusion, operator
from search_spaces.networks import InputSpec, NetworkDesign, PointShape

#: The mission's six, which every space offers.
DEFAULT_OPERATORS = ("add", "concat", "se", "cbam", "aff", "iaff")
DEFAULT_REDUCTIONS = (4, 8, 16)


@dataclass(frozen=True)
class FusionPoint:
    """A place where a network merges two maps, and the choices on offer there.

    `merged` names the ratios that were left out because they give the same bottleneck width as one
    that is kept: `{"aff/16": "aff/8"}`.
    """

    shape: PointShape
    choices: tuple[FusionChoice, ...]
    merged: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.shape.name

    def to_json(self) -> dict[str, Any]:
        choices = [str(choice) for choice in self.choices]
        left_out = dict(self.left_out)
        return {**self.shape.to_json(), "choices": choices, "merged": dict(self.merged), "left_out": left_out}


@dataclass(frozen=True)
class SearchSpace:
    """Every assignment of an offered operator and ratio to each fusion point of one network."""

    name: str
    input: InputSpec
    operators: tuple[str, ...] = DEFAULT_OPERATORS
    reductions: tuple[int, ...] = DEFAULT_REDUCTIONS

    def __post_init__(self) -> None:
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
        object.__setattr__(self, "reductions", tuple(sorted(set(self.reductions))))
        _ = self.points

    @classmethod
    def named(
        cls,
        name: str,
        input: InputSpec | None = None,
        operators: Sequence[str] = DEFAULT_OPERATORS,
        reductions: Sequence[int] = DEFAULT_REDUCTIONS,
    ) -> SearchSpace:
        """The space of a catalogue network, for its own default input unless one is given."""
        spec = catalogue.design(name).default_input if input is None else input
        return cls(name, spec, tuple(operators), tuple(reductions))

    @property
    def design(self) -> NetworkDesign:
        return catalogue.design(self.name)

    @cached_property
    def points(self) -> tuple[FusionPoint, ...]:
        """The fusion points in forward order. Raises SpaceError that names a point it cannot fill."""
        return tuple(offer(shape, self.operators, self.reductions) for shape in self.design.points(self.input))

    @property
    def size(self) -> int:
        """The number of different architectures."""
        return math.prod(len(point.choices) for point in self.points)

    def architecture(self, choices: Mapping[str, FusionChoice | str]) -> Architecture:
        """A validated architecture: every point named, each with a choice on offer there.

        A ratio that was merged into another is taken for that other.

        Raises:
            SpaceError: a point is unknown or missing, or a choice is not on offer.
        """
        known = {point.name: point for point in self.points}
        for name in choices:
            if name not in known:
                raise unknown(f"fusion point of {self.name}", name, known)
        missing = [name for name in known if name not in choices]
        if missing:
            raise SpaceError(f"no choice for fusion point {missing[0]!r} of {self.name}")
        return Architecture(self.name, {name: _offered(point, choices[name]) for name, point in known.items()})

    @property
    def baseline(self) -> Architecture:
        """`add` at every point."""
        return self.uniform("add")

    def uniform(self, op: str, reduction: int | None = None) -> Architecture:
        """`op` at every point, with `reduction` or, without it, the widest bottleneck on offer."""
        choices = {}
        for point in self.points:
            offered = [choice for choice in point.choices if choice.op == op]
            if not offered:
                reason = f": {point.left_out[op]}" if op in point.left_out else ""
                raise SpaceError(f"{op!r} is not on offer at {point.name} of {self.name}{reason}")
            wanted = str(FusionChoice(op, reduction))
            choices[point.name] = offered[0] if reduction is None else _offered(point, wanted)
        return Architecture(self.name, choices)

    def takes_reduction(self, op: str) -> bool:
        """Whether an operator of the space takes a reduction ratio."""
        return operator(op).takes_reduction

    def sample(self, rng: random.Random) -> Architecture:
        """A uniformly random architecture."""
        return Architecture(self.name, {point.name: rng.choice(point.choices) for point in self.points})

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs at exactly one point."""
        for point in self.points:
            for choice in point.choices:
                if choice != architecture.choices[point.name]:
                    yield Architecture(self.name, {**architecture.choices, point.name: choice})

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture, in a fixed order. Mind `size`."""
        names = [point.name for point in self.points]
        for combination in product(*(point.choices for point in self.points)):
            yield Architecture(self.name, dict(zip(names, combination, strict=True)))

    def build(self, architecture: Architecture) -> nn.Module:
        """The network: [B, channels, size, size] -> logits [B, classes], initialised from torch's seed."""
        if architecture.space != self.name:
            raise SpaceError(f"architecture of space {architecture.space!r} given to space {self.name!r}")
        checked = self.architecture(architecture.choices)
        return self.design.build(self.input, lambda name, channels: build_fusion(checked.choices[name], channels))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "input": self.input.to_json(),
            "operators": list(self.operators),
            "reductions": list(self.reductions),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        try:
            return cls.named(data["name"], InputSpec(**data["input"]), data["operators"], data["reductions"])
        except (KeyError, TypeError) as error:
            raise SpaceError(f"not the JSON of a search space: {error}") from None


def offer(shape: PointShape, operators: Sequence[str], reductions: Sequence[int]) -> FusionPoint:
    """The choices at a point: each operator with each ratio that gives it a bottleneck width of its own.

    An operator for which the point's maps are too large is left out.
    """
    choices: list[FusionChoice] = []
    merged: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in operators:
        op = operator(name)
        reason = op.why_not(shape.height, shape.width)
        if reason is not None:
            left_out[name] = reason
            continue
        if op.width is None:
            choices.append(FusionChoice(name))
            continue
        by_width: dict[int, FusionChoice] = {}
        for ratio in reductions:
            choice = FusionChoice(name, ratio)
            if ratio > shape.channels:
                raise SpaceError(
                    f"reduction ratio {ratio} of {name!r} is above the {shape.channels} channels of {shape.name}"
                )
            kept = by_width.setdefault(op.width(shape.channels, ratio), choice)
            if kept != choice:
                merged[str(choice)] = str(kept)
        choices.extend(by_width.values())
    return FusionPoint(shape, tuple(choices), merged, left_out)


def _offered(point: FusionPoint, choice: FusionChoice | str) -> FusionChoice:
    try:
        wanted = FusionChoice.parse(str(choice))
        operator(wanted.op)
    except SpaceError as error:
        raise SpaceError(f"at {point.name}: {error}") from None
    kept = FusionChoice.parse(point.merged.get(str(wanted), str(wanted)))
    if kept not in point.choices:
        if wanted.op in point.left_out:
            raise SpaceError(f"{str(wanted)!r} is not on offer at {point.name}: {point.left_out[wanted.op]}")
        offered = ", ".join(str(offered) for offered in point.choices)
        raise SpaceError(f"{str(wanted)!r} is not on offer at {point.name}: choose from {offered}")
    return kept
