"""The candidates that every search begins with: all-add, and operators by themselves wherever they are on offer."""

from __future__ import annotations

from collections.abc import Iterator

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.budgets.feasibility import Feasibility


def controls(space: SearchSpace, feasibility: Feasibility) -> Iterator[tuple[str, Architecture]]:
    """The baseline and each operator wherever it is on offer, at the widest bottleneck that fits the budgets."""
    yield "baseline", space.baseline
    for op in space.operators:
        if op == "add":
            continue
        ratios = space.reductions if space.takes_reduction(op) else (None,)
        uniforms = [space.uniform(op, ratio) for ratio in ratios if space.offers(op, ratio)]
        if uniforms:
            yield "uniform", next((a for a in uniforms if feasibility(a)), uniforms[-1])


def first_controls(space: SearchSpace, feasibility: Feasibility) -> Iterator[tuple[str, Architecture]]:
    """The baseline and the first of the others that is within the budgets: what the noise of seeds is measured on."""
    baseline, *others = controls(space, feasibility)
    yield baseline
    yield from [control for control in others if feasibility(control[1])][:1]
