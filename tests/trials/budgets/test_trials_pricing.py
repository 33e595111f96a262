"""What a trial costs by what is known of its latency: predicted, screened, measured for good."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from trials_results import LATENCY, result

from search_spaces import Architecture
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.pricing import Pricing, Source, half_width
from trials.trial import Latency

BASELINE = Costs(9_559_168, 77_754, 1.0)
TRIAL = result(3)


def latency(relative: float, nominal: float = 1.0, spread: float = 0.0, stable: bool = True) -> Latency:
    return replace(
        LATENCY, p50_ms=relative * nominal, p95_ms=1.1 * relative * nominal, nominal_reference_p50_ms=nominal,
        spread=spread, drift=0.0, stable=stable,
    )  # fmt: skip


@dataclass(frozen=True)
class Predicted:
    """A profile of an all-add network of 4 ms whose every prediction is the same."""

    p50_ms: float
    baseline_ms: float = 4.0
    p90_error: float = 0.1

    def predict_ms(self, architecture: Architecture) -> float:
        return self.p50_ms


def pricing(budget: str | None = "1.2x", **changes: object) -> Pricing:
    constraints = () if budget is None else (Constraint.parse("latency_ms", budget),)
    return Pricing(constraints, BASELINE, **changes)  # type: ignore[arg-type]


def test_what_was_measured_for_good_replaces_what_a_worker_screened() -> None:
    screened = replace(TRIAL, latency=latency(1.1))
    assert pricing().latency(screened).source is Source.SCREENED
    assert pricing().price(screened).feasible is True
    measured = pricing(measured={3: (latency(1.3), latency(1.3))})
    assert measured.latency(screened).source is Source.MEASURED
    assert measured.price(screened).feasible is False
    assert measured.violations(screened)["latency_ms"] == pytest.approx(1.3 / 1.2 - 1)


def test_ratios_are_what_is_measured_and_milliseconds_are_told_in_one_figure() -> None:
    # The machine ran at half its pace when the search was over.
    late = pricing(measured={3: (latency(1.1, nominal=2.0),), 4: (latency(1.5, nominal=2.0),)})
    assert late.nominal_ms == 2.0
    assert late.latency(TRIAL).p50_ms == pytest.approx(2.2)
    assert late.latency(replace(result(9), latency=latency(1.15))).p50_ms == pytest.approx(2.3)
    assert late.price(TRIAL).feasible is True
    assert late.price(result(4)).feasible is False
    absolute = replace(late, constraints=(Constraint.parse("latency_ms", "2.1ms"),))
    assert absolute.price(TRIAL).feasible is False


def test_a_figure_that_was_never_steady_does_not_set_the_pace_and_gives_way_to_a_steady_one() -> None:
    rounds = (latency(1.4, nominal=3.0, spread=0.4, stable=False), latency(1.1, nominal=1.0))
    found = pricing(measured={3: rounds})
    assert found.nominal_ms == 1.0
    assert found.latency(TRIAL).p50_ms == pytest.approx(1.1)
    assert found.latency(TRIAL).stable


def test_over_the_budget_is_open_until_the_figure_is_for_good() -> None:
    noisy = latency(1.22, spread=0.2, stable=False)
    assert noisy.p50_ms > 1.2
    assert pricing().price(replace(TRIAL, latency=noisy)).feasible is None
    assert pricing().price(replace(TRIAL, latency=noisy)).crosses
    assert pricing(measured={3: (noisy,)}).price(TRIAL).feasible is None
    assert pricing().price(replace(TRIAL, latency=latency(1.6, spread=0.2, stable=False))).feasible is False
    assert pricing(measured={3: (latency(1.22),)}).price(TRIAL).feasible is False


def test_rounds_that_differ_span_the_interval() -> None:
    figure = pricing(measured={3: (latency(1.16), latency(1.26))}).latency(TRIAL)
    assert (figure.low_ms, figure.p50_ms, figure.high_ms) == pytest.approx((1.16, 1.21, 1.26))
    near = pricing(measured={3: (latency(1.14), latency(1.22))})
    assert near.price(TRIAL).feasible is True
    assert near.price(TRIAL).crosses


def test_a_profile_speaks_for_its_device_and_gates_with_its_own_error() -> None:
    profile = Predicted(5.0)
    found = Pricing((Constraint.parse("latency_ms", "1.2x"),), replace(BASELINE, latency_ms=4.0), profile)
    assert found.gate_ms() == pytest.approx(1.2 * 4.0 * 1.1)
    figure = found.latency(TRIAL)  # what its worker measured here is of another device
    assert (figure.source, figure.p50_ms, figure.p95_ms) == (Source.PREDICTED, 5.0, None)
    assert found.price(TRIAL).feasible is None  # 4 % over, and predictions are 10 % off
    assert replace(found, profile=Predicted(4.7)).price(TRIAL).feasible is True
    assert replace(found, profile=Predicted(6.0)).price(TRIAL).feasible is False
    assert pricing().gate_ms() is None
    assert pricing(None, profile=profile).gate_ms() is None


def test_the_baseline_is_held_to_what_the_budgets_were_made_with() -> None:
    baseline = replace(TRIAL, origin="baseline", latency=latency(1.05))
    assert pricing("1x").violations(baseline) == {"latency_ms": 0.0}
    assert pricing("1x").price(baseline).feasible is True


def test_without_any_figure_feasibility_is_not_known() -> None:
    assert pricing().price(replace(TRIAL, latency=None)).feasible is None
    assert pricing(None).price(replace(TRIAL, latency=None)).feasible is True


def test_the_interval_covers_the_median_of_blocks() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        blocks = rng.normal(1.0, 0.05, size=66)
        p25, p50, p75 = np.percentile(blocks, [25, 50, 75])
        measured = replace(latency(float(p50)), spread=float((p75 - p25) / p50), passes=198)
        inside += abs(p50 - 1.0) <= half_width(measured, 3) * p50
    assert inside / 400 > 0.9
