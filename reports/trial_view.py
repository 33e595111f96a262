"""One trial of a run as people and programs read it: priced under the run's budgets, and estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trials.budgets.pricing import LatencyFigure
from trials.record.training import Training
from trials.tasks.metrics import ALL_FIGURES
from trials.trial import AttentionByEpoch, TrialResult, TrialState

if TYPE_CHECKING:
    from trials.estimates.estimate import Estimate, Interval

#: objective -> whether more is better
OBJECTIVES = dict.fromkeys(ALL_FIGURES, True) | {"macs": False, "latency_ms": False, "params": False}


@dataclass(frozen=True)
class TrialView:
    """A recorded trial and what the run's budgets and rivals make of it.

    `feasible` is None while a constrained cost is not known, or not well enough: `open` names those; `on_front` is
    True for feasible complete trials that no other one dominates in the run's objectives. `latency` is the best figure
    there is, and `crosses` says that its interval lies on both sides of the budget. `estimate` is of its score, None
    where all that was trained tells nothing beyond the score itself, or was not asked. `longer` is the longest training
    of its architecture under its seed that has a score, where that is longer than its own; `fails_longer` one that
    failed by its own fault, which keeps it off the front. Where all-add has no score (`baseline_known`), a gain over
    it would have nothing measured to stand on: there is none.
    """

    result: TrialResult
    feasible: bool | None
    on_front: bool
    violations: Mapping[str, float]
    latency: LatencyFigure | None
    crosses: bool
    metric: str
    estimate: Estimate | None = None
    longer: Training | None = None
    fails_longer: Training | None = None
    open: tuple[str, ...] = ()
    baseline_known: bool = True

    @property
    def longest(self) -> TrialResult | Training:
        """Its longest look, with what it came to."""
        return self.longer or self.result

    @property
    def longest_attention(self) -> AttentionByEpoch | None:
        """How its attention weights moved in its longest look for which that was recorded."""
        return self.longest.attention or self.result.attention

    @property
    def quality(self) -> float | None:
        """What it is ranked by, 0..1: its estimate where there is one, else its score."""
        return self.result.score if self.estimate is None else self.estimate.score.mean / 100

    @property
    def able(self) -> bool:
        """Whether it may be recommended: complete, within every budget, and no longer training of it failed."""
        return self.result.state is TrialState.COMPLETE and bool(self.feasible) and self.fails_longer is None

    @property
    def gain(self) -> Interval | None:
        """Its estimated gain over all-add, in points."""
        return None if self.estimate is None or not self.baseline_known else self.estimate.gain

    @property
    def better(self) -> float | None:
        """The probability that it is better than all-add."""
        return None if self.estimate is None or not self.baseline_known else self.estimate.better

    def objective(self, name: str) -> float | None:
        """The trial's value of an objective, None where it was not measured."""
        if name == "latency_ms":
            return None if self.latency is None else self.latency.p50_ms
        if name == self.metric and self.estimate is not None:
            return self.quality
        value = self.result.figure(name) if name in ALL_FIGURES else getattr(self.result, name)
        return None if value is None else float(value)

    def to_json(self) -> dict[str, Any]:
        r = self.result
        return {
            "number": r.number,
            "state": str(r.state),
            "origin": r.origin,
            "key": r.architecture.key,
            "choices": r.architecture.labels(),
            "score": r.score,
            "estimate": self._estimate_json(),
            "figures": dict(r.figures),
            "loss": r.loss,
            "epochs": r.epochs,
            "longest": {"epochs": self.longest.epochs, "score": self.longest.score, "loss": self.longest.loss},
            "tempered_loss": r.tempered_loss,
            "temperature": r.temperature,
            "macs": r.macs,
            "params": r.params,
            "workload": None if r.workload is None else r.workload.to_json(),
            "latency_ms": None if self.latency is None else _latency_json(self.latency),
            "feasible": self.feasible,
            "crosses_budget": self.crosses,
            "on_front": self.on_front,
            "seed": r.seed,
            "seconds": r.seconds,
            "timing": None if r.timing is None else r.timing.to_json() | {"fixed_s": r.timing.fixed_s},
            "error": r.error,
            "fails_longer": None
            if self.fails_longer is None
            else {"epochs": self.fails_longer.epochs, "error": self.fails_longer.error},
            "failure": None if r.failure is None else str(r.failure),
            "attempts": r.attempts,
        }

    def _estimate_json(self) -> dict[str, object] | None:
        if self.estimate is None:
            return None
        unknown = {} if self.baseline_known else {"gain_points": None, "better_than_baseline": None}
        return self.estimate.to_json() | unknown


def _latency_json(figure: LatencyFigure) -> dict[str, Any]:
    return {
        "p50": figure.p50_ms,
        "p95": figure.p95_ms,
        "interval": [figure.low_ms, figure.high_ms],
        "source": str(figure.source),
        "stable": figure.stable,
    }


def rank(trial: TrialView) -> tuple[float, float, int]:
    """A key: the best by estimate or score first, of equals the one of the lower loss."""
    r = trial.result
    return -(trial.quality or 0.0), r.loss if r.loss is not None else float("inf"), r.number
