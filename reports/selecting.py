"""Which trial of a run answers to a name: the best, the knee, the fastest, the cheapest; or why none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from reports.errors import AllFailed, NothingFeasible, NothingToSelect, SelectionError
from reports.front import knee
from reports.trial_view import OBJECTIVES, TrialView, rank
from trials.trial import TrialResult, TrialState

SELECTORS = ("best", "knee", "fastest", "cheapest")


class Selectable(Protocol):
    """What of a run is asked: see `RunView`, which is one."""

    @property
    def path(self) -> Path: ...
    @property
    def results(self) -> Sequence[TrialResult]: ...
    @property
    def objectives(self) -> Sequence[str]: ...
    @property
    def trials(self) -> Sequence[TrialView]: ...
    @property
    def complete(self) -> Sequence[TrialView]: ...
    @property
    def able(self) -> Sequence[TrialView]: ...
    @property
    def front(self) -> Sequence[TrialView]: ...
    @property
    def failures(self) -> Mapping[str, int]: ...
    def budget_text(self) -> str: ...


def selected(run: Selectable, selector: str) -> TrialView:
    """`best | knee | fastest | cheapest` among the feasible, or a trial by its number.

    best: highest estimate, or score where there is none, ties broken by lower validation loss. knee: the front
    point nearest to the ideal. fastest: lowest p50 latency. cheapest: fewest multiply-adds.

    Raises:
        SelectionError: not a selector or a recorded number, or the fastest where no latency is known.
        NothingFeasible: no complete trial is within every budget.
        AllFailed: every trial failed.
    """
    if selector.isdecimal():
        number = int(selector)
        for trial in run.trials:
            if trial.result.number == number:
                return trial
        raise SelectionError(
            f"no trial {number} in {run.path}: it has {len(run.trials)} trials, see nas show {run.path}"
        )
    if selector not in SELECTORS:
        raise SelectionError(f"no selection {selector!r}: give a trial's number or {', '.join(SELECTORS)}")
    front = run.front
    if not run.complete:
        raise nothing_completed(run)
    if not front:
        raise NothingFeasible(f"no complete trial of {run.path} is within every budget ({run.budget_text()})")
    if selector == "best":
        return front[0]
    if selector == "knee":
        points = [[t.objective(name) or 0.0 for name in run.objectives] for t in front]
        return front[knee(points, [OBJECTIVES[name] for name in run.objectives])]
    metric = "latency_ms" if selector == "fastest" else "macs"
    measured = [t for t in run.able if t.objective(metric) is not None]
    if not measured:
        raise SelectionError(
            f"no trial of {run.path} is known to be the {selector}: none within the budgets has a latency; give a "
            "trial's number, best, knee or cheapest"
        )
    return min(measured, key=lambda t: (t.objective(metric) or 0.0, rank(t)))


def selections(run: Selectable) -> dict[str, TrialView]:
    """What answers to each selector, in their order: nothing is the fastest where nothing was timed. Raises
    NothingFeasible and AllFailed as `selected` does."""
    found = {}
    for selector in SELECTORS:
        with suppress(SelectionError):
            found[selector] = selected(run, selector)
    return found


def nothing_completed(run: Selectable) -> NothingToSelect:
    """The error for a run without a complete trial: that all failed, and of what, or that none was within a budget."""
    if not run.failures:
        return NothingFeasible(f"no trial of {run.path} was completed: see nas show {run.path}")
    kinds = ", ".join(f"{number} {kind}" for kind, number in run.failures.items())
    first = next(result for result in run.results if result.state is TrialState.FAILED)
    return AllFailed(
        f"all trained trials of {run.path} failed ({kinds}); trial {first.number}: "
        f"{first.error or 'no reason recorded'}; see nas show {run.path}"
    )
