"""A run as people and programs read it: its trials priced under its budgets, its front, its selections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from reports.front import knee, non_dominated
from search_spaces.errors import UserError
from trials.constraints import Constraint, Costs, violations
from trials.store import FILE_NAME, Session, Store
from trials.trial import Latency, TrialResult, TrialState

#: objective -> whether more is better
OBJECTIVES = {"accuracy": True, "macs": False, "latency_ms": False, "params": False}
SELECTORS = ("best", "knee", "fastest", "cheapest")


class SelectionError(UserError, ValueError):
    """No trial answers to what was asked: the message says which there are."""


class NothingFeasible(UserError, RuntimeError):
    """No trial (or no architecture) meets the budgets: the message gives the nearest figures."""

    exit_code = 3


@dataclass(frozen=True)
class TrialView:
    """A recorded trial and what the run's budgets and rivals make of it.

    `feasible` is None while a constrained cost is not known; `on_front` is True for feasible complete
    trials that no other one dominates in the run's objectives.
    """

    result: TrialResult
    feasible: bool | None
    on_front: bool
    violations: Mapping[str, float]

    def objective(self, name: str) -> float | None:
        """The trial's value of an objective, None where it was not measured."""
        value = self.result.accuracy if name == "accuracy" else getattr(self.result.costs, name)
        return None if value is None else float(value)

    def to_json(self) -> dict[str, Any]:
        r = self.result
        latency = None if r.latency is None else _latency_json(r.latency)
        return {
            "number": r.number,
            "state": str(r.state),
            "origin": r.origin,
            "key": r.architecture.key,
            "choices": r.architecture.labels(),
            "accuracy": r.accuracy,
            "loss": r.loss,
            "macs": r.macs,
            "params": r.params,
            "workload": None if r.workload is None else r.workload.to_json(),
            "latency_ms": latency,
            "feasible": self.feasible,
            "on_front": self.on_front,
            "seed": r.seed,
            "seconds": r.seconds,
            "error": r.error,
        }


@dataclass(frozen=True)
class RunView:
    """One run, read from its record at one moment.

    `config` is the run's configuration as JSON; `points` the space's fusion points (name, kind, channels,
    height, width, stride, choices); `baseline` the costs of all-add, None before they were taken.
    """

    path: Path
    config: Mapping[str, Any]
    description: Mapping[str, Any]
    baseline: Costs | None
    constraints: tuple[Constraint, ...]
    results: tuple[TrialResult, ...]
    sessions: tuple[Session, ...]

    @classmethod
    def load(cls, path: Path | str) -> RunView:
        """Read the run in the folder `path`. Raises StoreError as `Store.open` does."""
        folder = Path(path)
        with Store.open(folder / FILE_NAME) as store:
            return cls.of(folder, store)

    @classmethod
    def of(cls, path: Path, store: Store) -> RunView:
        """The run in an open record."""
        baseline = store.get("baseline")
        return cls(
            path=path,
            config=store.get("config"),
            description=store.get("description"),
            baseline=None if baseline is None else Costs(**baseline),
            constraints=tuple(Constraint.from_json(c) for c in store.get("constraints") or ()),
            results=store.results(),
            sessions=store.sessions(),
        )

    def with_result(self, result: TrialResult) -> RunView:
        """The run one event later: `result` added, or in place of the stopped trial of its number."""
        others = [r for r in self.results if r.number != result.number]
        return replace(self, results=tuple(sorted([*others, result], key=lambda r: r.number)))

    @property
    def objectives(self) -> tuple[str, ...]:
        return tuple(self.description["objectives"])

    @cached_property
    def trials(self) -> tuple[TrialView, ...]:
        """Every recorded trial, by number, priced under the run's present budgets."""
        priced = [self._price(result) for result in self.results]
        names = self.objectives
        candidates = [
            i
            for i, view in enumerate(priced)
            if view.feasible
            and view.result.state is TrialState.COMPLETE
            and all(view.objective(name) is not None for name in names)
        ]
        points = [[priced[i].objective(name) or 0.0 for name in names] for i in candidates]
        kept = non_dominated(points, [OBJECTIVES[name] for name in names])
        on_front = {i for i, keep in zip(candidates, kept, strict=True) if keep}
        return tuple(
            TrialView(view.result, view.feasible, i in on_front, view.violations) for i, view in enumerate(priced)
        )

    def _price(self, result: TrialResult) -> TrialView:
        if self.baseline is None:
            return TrialView(result, True if not self.constraints else None, False, {})
        # The baseline's nominal costs are those that the budgets were made with, not a second measurement.
        costs = self.baseline if result.origin == "baseline" else result.costs
        found = violations(self.constraints, costs, self.baseline)
        feasible: bool | None = None
        if any(value > 0 for value in found.values()):
            feasible = False
        elif len(found) == len(self.constraints):
            feasible = True
        return TrialView(result, feasible, False, found)

    @property
    def complete(self) -> tuple[TrialView, ...]:
        return tuple(t for t in self.trials if t.result.state is TrialState.COMPLETE)

    @property
    def feasible(self) -> tuple[TrialView, ...]:
        """Complete trials within every budget."""
        return tuple(t for t in self.complete if t.feasible)

    @property
    def front(self) -> tuple[TrialView, ...]:
        """The front in the run's objectives, most accurate first."""
        return tuple(sorted((t for t in self.trials if t.on_front), key=_rank))

    @property
    def exportable(self) -> tuple[TrialView, ...]:
        """Complete trials whose weights are worth keeping: the baseline, and the front of what is feasible in
        accuracy, multiply-adds and latency together, whatever the objectives."""
        rivals = [t for t in self.feasible if t.objective("latency_ms") is not None]
        names = ("accuracy", "macs", "latency_ms")
        points = [[t.objective(name) or 0.0 for name in names] for t in rivals]
        kept = non_dominated(points, [OBJECTIVES[name] for name in names])
        wide = {t.result.number for t, keep in zip(rivals, kept, strict=True) if keep}
        return tuple(t for t in self.complete if t.on_front or t.result.number in wide or t.result.origin == "baseline")

    @property
    def baseline_trial(self) -> TrialView | None:
        """The trained all-add network, None before it is complete."""
        return next((t for t in self.complete if t.result.origin == "baseline"), None)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do under the run's configuration: enough trained, or no architecture left."""
        trained = self.count(TrialState.COMPLETE) + self.count(TrialState.FAILED)
        ended = bool(self.sessions) and self.sessions[-1].outcome == "complete"
        return (trained >= int(self.config["trials"]) or ended) and not self.count(TrialState.STOPPED)

    def count(self, state: TrialState) -> int:
        return sum(result.state is state for result in self.results)

    def select(self, selector: str) -> TrialView:
        """`best | knee | fastest | cheapest` among the feasible, or a trial by its number.

        best: highest accuracy, ties broken by lower validation loss. knee: the front point nearest to the
        ideal. fastest: lowest p50 latency. cheapest: fewest multiply-adds.

        Raises:
            SelectionError: not a selector or a recorded number.
            NothingFeasible: no complete trial is within every budget.
        """
        if selector.isdecimal():
            number = int(selector)
            for trial in self.trials:
                if trial.result.number == number:
                    return trial
            raise SelectionError(
                f"no trial {number} in {self.path}: it has {len(self.trials)} trials, see nas show {self.path}"
            )
        if selector not in SELECTORS:
            raise SelectionError(f"no selection {selector!r}: give a trial's number or {', '.join(SELECTORS)}")
        front = self.front
        if not front:
            raise NothingFeasible(f"no complete trial of {self.path} is within every budget ({self.budget_text()})")
        if selector == "best":
            return front[0]
        if selector == "knee":
            points = [[t.objective(name) or 0.0 for name in self.objectives] for t in front]
            return front[knee(points, [OBJECTIVES[name] for name in self.objectives])]
        metric = "latency_ms" if selector == "fastest" else "macs"
        measured = [t for t in self.feasible if t.objective(metric) is not None]
        return min(measured or front, key=lambda t: (t.objective(metric) or 0.0, _rank(t)))

    def budget_text(self) -> str:
        """The budgets in words, "no budget" when there is none."""
        return ", ".join(str(c) for c in self.constraints) or "no budget"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": {
                "path": str(self.path),
                "config": dict(self.config),
                "objectives": list(self.objectives),
                "constraints": [str(c) for c in self.constraints],
                "baseline": None if self.baseline is None else self.baseline.to_json(),
                "counts": {str(state): self.count(state) for state in TrialState},
                "front": [t.result.number for t in self.front],
            },
            "trials": [t.to_json() for t in self.trials],
        }


def _latency_json(latency: Latency) -> dict[str, Any]:
    return {"p50": latency.p50_ms, "p95": latency.p95_ms, "stable": latency.stable}


def _rank(trial: TrialView) -> tuple[float, float, int]:
    r = trial.result
    return -(r.accuracy or 0.0), r.loss if r.loss is not None else float("inf"), r.number
