"""Fusion points: what each of a network's merges may be, and why not something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.architecture import FusionChoice
from search_spaces.errors import SpaceError
from search_spaces.fusions import operator
from search_spaces.networks import PointShape


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


def fitting(point: FusionPoint, op: str, reduction: int | None) -> FusionChoice | None:
    """The point's choice of an operator with that ratio, or with its first on offer where None; None: there is none."""
    wanted = str(FusionChoice(op, reduction))
    kept = point.merged.get(wanted, wanted)
    return next((c for c in point.choices if c.op == op and (reduction is None or str(c) == kept)), None)


def stage_of(point: str) -> str:
    """`layer1` of `layer1.0`."""
    return point.partition(".")[0]


def tied(points: Sequence[FusionPoint]) -> tuple[FusionPoint, ...]:
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


def chosen(point: FusionPoint, choice: FusionChoice | str) -> FusionChoice:
    """The point's own choice for what is asked. Raises SpaceError that names the point and says what is on offer."""
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
