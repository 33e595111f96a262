"""What a recorded trial costs under a run's budgets, from all that is known of its latency. Free of torch.

predicted by a device profile  <  screened by the worker that trained it  <  measured alone, when the search was over
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from statistics import fmean, median
from typing import NamedTuple, Protocol

from search_spaces.architecture import Architecture
from trials.budgets.constraints import Constraint, Costs, violations
from trials.trial import Latency, TrialResult


class Source(StrEnum):
    """Where a latency comes from."""

    PREDICTED = "predicted"
    SCREENED = "screened"  # by the worker, before training, while other trials stood still
    MEASURED = "measured"  # in a stage of its own, when no trial trained any more


class Profile(Protocol):
    """What is asked of a `trials.profile.DeviceProfile`."""

    @property
    def baseline_ms(self) -> float: ...
    @property
    def p90_error(self) -> float: ...
    def predict_ms(self, architecture: Architecture) -> float: ...


@dataclass(frozen=True)
class LatencyFigure:
    """A trial's latency in milliseconds, and the interval that its p50 is likely in.

    `p95_ms` is None for a prediction. `baseline_ms` is the p50 of all-add that it is told in. `stable` is False
    for a measurement that drifted or scattered in every attempt.
    """

    p50_ms: float
    p95_ms: float | None
    low_ms: float
    high_ms: float
    baseline_ms: float
    source: Source
    stable: bool = True

    @property
    def relative(self) -> float:
        """p50 in multiples of all-add's."""
        return self.p50_ms / self.baseline_ms


class Priced(NamedTuple):
    """A trial under a run's budgets: its best known latency, the signed violation by metric of every constraint whose
    value and limit are known, by metric whether it is within every budget, and whether its latency's interval lies on
    both sides of its budget.

    A budget is open (None) where a figure is not known, or where a latency that is not measured for good is over it by
    less than it may be wrong.
    """

    latency: LatencyFigure | None
    violations: dict[str, float]
    within: dict[str, bool | None]
    crosses: bool

    @property
    def feasible(self) -> bool | None:
        """Whether the trial is within all budgets; None while that is open."""
        answers = self.within.values()
        return False if False in answers else None if None in answers else True


@dataclass(frozen=True)
class Pricing:
    """The budgets of a run and what its trials' latencies are told by.

    `measured` holds the measurements of the last stage by trial number, in the order they were taken; `block` is
    the number of passes in a block of the protocol. Under a `profile` a latency is that of the profiled device:
    what workers measured on their own does not count.
    """

    constraints: tuple[Constraint, ...]
    baseline: Costs | None
    profile: Profile | None = None
    measured: Mapping[int, Sequence[Latency]] = field(default_factory=dict)
    block: int = 1

    def latency(self, result: TrialResult) -> LatencyFigure | None:
        """The best that is known; None when nothing is."""
        if rounds := self.measured.get(result.number):
            return self._figure(rounds, Source.MEASURED)
        if self.profile is not None:
            relative = self.profile.predict_ms(result.architecture) / self.profile.baseline_ms
            error = self.profile.p90_error
            p50 = relative * (self.nominal_ms or self.profile.baseline_ms)
            return LatencyFigure(p50, None, p50 / (1 + error), p50 * (1 + error), p50 / relative, Source.PREDICTED)
        return None if result.latency is None else self._figure([result.latency], Source.SCREENED)

    @cached_property
    def nominal_ms(self) -> float | None:
        """The all-add network's p50, in which every other is told: as it was alone on the device, else at the start.

        Machines change their pace between one hour and the next, networks beside each other keep their ratio: so
        ratios are measured, and all of a run's milliseconds are these times one figure.
        """
        alone = [m.nominal_reference_p50_ms for rounds in self.measured.values() for m in rounds if m.stable]
        return median(alone) if alone else None if self.baseline is None else self.baseline.latency_ms

    def costs(self, result: TrialResult) -> Costs:
        """Multiply-adds, parameters and the best known p50."""
        figure = self.latency(result)
        return Costs(result.macs, result.params, None if figure is None else figure.p50_ms)

    def violations(self, result: TrialResult) -> dict[str, float]:
        """The signed violation by metric of every constraint whose value and limit are known."""
        return self._violations(result, self.latency(result))

    def price(self, result: TrialResult) -> Priced:
        """All that a run's budgets say of a trial, from one look at its latency."""
        figure = self.latency(result)
        found = self._violations(result, figure)
        return Priced(figure, found, self._within(result, figure, found), self._crosses(result, figure))

    def _within(
        self, result: TrialResult, figure: LatencyFigure | None, found: Mapping[str, float]
    ) -> dict[str, bool | None]:
        answers = {c.metric: found[c.metric] <= 0 if c.metric in found else None for c in self.constraints}
        if answers.get("latency_ms") is False and figure is not None and not for_good(figure):
            lowest = self._violations(result, replace(figure, p50_ms=figure.low_ms))
            answers["latency_ms"] = None if lowest["latency_ms"] <= 0 else False
        return answers

    def _crosses(self, result: TrialResult, figure: LatencyFigure | None) -> bool:
        if figure is None or not any(constraint.metric == "latency_ms" for constraint in self.constraints):
            return False
        ends = [self._violations(result, replace(figure, p50_ms=end)) for end in (figure.low_ms, figure.high_ms)]
        return "latency_ms" in ends[0] and ends[0]["latency_ms"] <= 0 < ends[1]["latency_ms"]

    def gate_ms(self) -> float | None:
        """What a prediction may be at most for its candidate to be trained; None without a budget or a profile."""
        if self.profile is None or self.baseline is None:
            return None
        limits = [c.limit(self.baseline) for c in self.constraints if c.metric == "latency_ms"]
        return limits[0] * (1 + self.profile.p90_error) if limits else None

    def _figure(self, rounds: Sequence[Latency], source: Source) -> LatencyFigure:
        """One figure of measurements of the same network: their mean, and twice its standard error around it."""
        steady = [latency for latency in rounds if latency.stable] or list(rounds)
        nominal = self.nominal_ms or steady[0].nominal_reference_p50_ms
        relative = [latency.p50_ms / latency.nominal_reference_p50_ms for latency in steady]
        p50 = fmean(relative) * nominal
        apart = (max(relative) - min(relative)) / 2 * nominal
        errors = [half_width(m, self.block) * one * nominal for m, one in zip(steady, relative, strict=True)]
        half = max(apart, math.hypot(*errors) / len(errors))
        return LatencyFigure(
            p50_ms=p50,
            p95_ms=p50 * fmean(latency.p95_ms / latency.p50_ms for latency in steady),
            low_ms=max(p50 - half, 0.0),
            high_ms=p50 + half,
            baseline_ms=nominal,
            source=source,
            stable=any(latency.stable for latency in rounds),
        )

    def _violations(self, result: TrialResult, figure: LatencyFigure | None) -> dict[str, float]:
        if self.baseline is None:
            return {}
        baseline = self.baseline
        costs = Costs(result.macs, result.params, None if figure is None else figure.p50_ms)
        if result.origin == "baseline":
            # Its nominal costs are those that the budgets were made with, not one more measurement.
            costs = baseline
        elif figure is not None:
            baseline = replace(baseline, latency_ms=figure.baseline_ms)
        figures = {c: result.figure(c.metric) for c in self.constraints if c.at_least}
        wanting = {c.metric: c.violation(value, baseline) for c, value in figures.items() if value is not None}
        return violations(self.constraints, costs, baseline) | wanting


def for_good(figure: LatencyFigure) -> bool:
    """Whether a latency counts as it is, without its interval."""
    return figure.source is Source.MEASURED and figure.stable


def half_width(latency: Latency, block: int) -> float:
    """Twice the standard error of a p50, as a share of it; of what drifts or scatters too much, more than that."""
    error = 2 * latency.standard_error(block)
    return error if latency.stable else max(error, latency.drift, latency.spread / 2)
