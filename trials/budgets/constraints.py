"""Budgets: absolute or relative to the all-add baseline, and how far a cost is from them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trials.errors import BudgetError
from trials.trial import Costs as Costs  # they are imported with what bounds them

_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
#: metric -> (the option that sets it, an example of an absolute budget)
CONSTRAINED = {
    "macs": ("--max-flops", "40M"),
    "params": ("--max-params", "0.5M"),
    "latency_ms": ("--max-latency", "3ms"),
}


@dataclass(frozen=True)
class Constraint:
    """`metric <= bound`, or `metric <= bound × baseline` where `relative`; of a figure of quality `metric >= bound`,
    which is `at_least`."""

    metric: str
    bound: float
    relative: bool = False
    at_least: bool = False

    @classmethod
    def parse(cls, metric: str, text: str) -> Constraint:
        """`("macs", "40M")`, `("latency_ms", "3ms")`, `("macs", "1.05x")` -> the constraint.

        Raises:
            BudgetError: not a positive finite amount in a form that this metric takes.
        """
        option, example = CONSTRAINED[metric]
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*", text)
        if match:
            unit = match[2]
            scales = {**(_MILLISECONDS if metric == "latency_ms" else _SCALES), "x": 1.0}
            bound = float(match[1]) * scales.get(unit, math.nan)
            if math.isfinite(bound) and bound > 0:
                return cls(metric, bound, relative=unit == "x")
            if metric == "latency_ms" and not unit and 0 < float(match[1]) < math.inf:
                raise BudgetError(f"{text!r} of {option} has no unit: {match[1]}ms or {match[1]}x?")
        raise BudgetError(
            f"{text!r} is not a budget of {option}: give an amount such as {example}, "
            "or a multiple of the all-add baseline such as 1.05x"
        )

    def limit(self, baseline: Costs) -> float:
        """The bound in the metric's own unit. Raises BudgetError when the baseline was not measured."""
        if not self.relative:
            return self.bound
        reference = getattr(baseline, self.metric)
        if reference is None:
            raise BudgetError(f"{self} is relative to the baseline, whose {self.metric} was not measured")
        return float(self.bound * reference)

    def violation(self, value: float, baseline: Costs) -> float:
        """The share of the limit that is too much, or wanting: at most 0 where the constraint holds, without unit, so
        that constraints add up."""
        excess = value / self.limit(baseline) - 1.0
        return -excess if self.at_least else excess

    def __str__(self) -> str:
        if self.at_least:
            return f"{self.metric} >= {self.bound:g}"
        if self.relative:
            return f"{self.metric} <= {self.bound:g}x baseline"
        return f"{self.metric} <= {self.bound:g}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Constraint:
        return cls(str(data["metric"]), float(data["bound"]), bool(data["relative"]), bool(data.get("at_least", False)))


def violations(constraints: tuple[Constraint, ...], costs: Costs, baseline: Costs) -> dict[str, float]:
    """The signed violation by metric of every budget whose cost and limit are known."""
    found = {}
    for constraint in constraints:
        if constraint.at_least:
            continue
        value = getattr(costs, constraint.metric)
        reference = getattr(baseline, constraint.metric)
        if value is not None and not (constraint.relative and reference is None):
            found[constraint.metric] = constraint.violation(value, baseline)
    return found
