"""The budgets of a run in words and in figures, and by how much a trial misses them."""

from __future__ import annotations

from dataclasses import dataclass

from reports.formatting import format_count, format_ms, format_percent
from reports.trial_view import TrialView
from reports.view import RunView
from trials.budgets.constraints import Constraint, Costs
from trials.errors import BudgetError
from trials.tasks.metrics import ALL_FIGURES, label
from trials.trial import TrialState

METRICS = {name: label(name) for name in ALL_FIGURES} | {
    "macs": "FLOPs",
    "params": "parameters",
    "latency_ms": "p50 latency",
}


@dataclass(frozen=True)
class Limit:
    """A budget in its metric's unit, and in words."""

    metric: str
    value: float
    text: str


def format_cost(metric: str, value: float | None) -> str:
    """A cost, or a figure of quality, in its unit."""
    if metric in ALL_FIGURES:
        return format_percent(value)
    return format_ms(value) if metric == "latency_ms" else format_count(value)


def limits(view: RunView) -> tuple[Limit, ...]:
    """Every budget whose limit is known: a relative one is not while the baseline was not measured."""
    found = (_limit(constraint, view.baseline) for constraint in view.constraints)
    return tuple(limit for limit in found if limit is not None)


def _limit(constraint: Constraint, baseline: Costs | None) -> Limit | None:
    metric = constraint.metric
    if not constraint.relative:
        return Limit(metric, constraint.bound, format_cost(metric, constraint.bound))
    if baseline is None:
        return None
    try:
        value = constraint.limit(baseline)
    except BudgetError:
        return None
    return Limit(metric, value, f"{format_cost(metric, value)} ({constraint.bound:g}× baseline)")


def budget_words(view: RunView) -> str:
    """The budgets as people write them; "no budget" when there is none."""
    words = []
    for constraint in view.constraints:
        limit = _limit(constraint, view.baseline)
        text = limit.text if limit else f"{constraint.bound:g}× baseline (not measured)"
        bound = "at least" if constraint.at_least else "at most"
        words.append(f"{METRICS.get(constraint.metric, constraint.metric)} {bound} {text}")
    return ", ".join(words) or "no budget"


def over_budget(trial: TrialView) -> str:
    """`FLOPs 23.4% over budget`, worst first; empty for a trial within every budget of which that is known."""
    return ", ".join(f"{METRICS.get(name, name)} {_excess(value)} {_how(name)}" for value, name in _missed(trial))


def missed_text(trial: TrialView) -> str:
    """The same in few words, where there is no room for more: `over budget`, `below what is asked`, `budget not known`;
    empty for a trial within every budget."""
    if trial.feasible is None:
        return "budget not known" if trial.result.state is TrialState.COMPLETE else ""
    return ", ".join(dict.fromkeys(_how(name) for _, name in _missed(trial)))


def _missed(trial: TrialView) -> list[tuple[float, str]]:
    """By how much it misses each budget that it is known to miss, and of what that is, worst first."""
    found = [(v, name) for name, v in trial.violations.items() if v > 0 and name not in trial.open]
    return sorted(found, reverse=True)


def _how(metric: str) -> str:
    return "below what is asked" if metric in ALL_FIGURES else "over budget"


def _excess(violation: float) -> str:
    return f"{100 * violation:.1f}%" if violation >= 0.0005 else "less than 0.1%"
