"""Budgets: what is read, what is refused, and how far a cost is from its limit."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.budgets.constraints import Constraint, Costs, violations
from trials.errors import BudgetError

BASELINE = Costs(macs=40_000_000, params=100_000, latency_ms=2.0)
UNMEASURED = Costs(macs=40_000_000, params=100_000)
METRICS = ("macs", "params", "latency_ms")


@pytest.mark.parametrize(
    ("metric", "text", "bound", "relative"),
    [
        ("macs", "40M", 40e6, False),
        ("macs", " 1.5 G ", 1.5e9, False),
        ("macs", "250k", 250e3, False),
        ("macs", "2T", 2e12, False),
        ("macs", "12345678", 12345678, False),
        ("macs", "4e7", 4e7, False),
        ("macs", "1.05x", 1.05, True),
        ("params", "0.5M", 5e5, False),
        ("params", ".5M", 5e5, False),
        ("params", "1x", 1.0, True),
        ("latency_ms", "3ms", 3.0, False),
        ("latency_ms", "0.5s", 500.0, False),
        ("latency_ms", "800us", 0.8, False),
        ("latency_ms", "2 x", 2.0, True),
    ],
)
def test_a_budget_is_read(metric: str, text: str, bound: float, relative: bool) -> None:
    constraint = Constraint.parse(metric, text)
    assert constraint.metric == metric
    assert constraint.relative is relative
    assert constraint.bound == pytest.approx(bound)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "0x", "0ms", "0M", "-1", "-3ms", "nan", "nanx", "inf", "infms", "1e400", "1e400x", "1e-400x",
     "3 parsecs", "1.5xx", "x", "ms", "M", "1,5x", "1.2.3x", "3ms 4ms", "40MB", "<=40M", "１x", "1_000x", "0x10"],
)  # fmt: skip
def test_what_is_no_budget(metric: str, text: str) -> None:
    with pytest.raises(BudgetError, match=r"give an amount such as .* or a multiple of the all-add baseline") as error:
        Constraint.parse(metric, text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("macs", "3ms"), ("params", "3s"), ("latency_ms", "3"), ("latency_ms", "3M"), ("macs", "40m"),
        ("macs", "1e300T"), ("latency_ms", "1e308s"), ("latency_ms", "5e-324us"),
    ],
)  # fmt: skip
def test_a_unit_of_another_metric_and_an_amount_out_of_range(metric: str, text: str) -> None:
    with pytest.raises(BudgetError):
        Constraint.parse(metric, text)


@pytest.mark.parametrize(
    ("metric", "option"), [("macs", "--max-flops"), ("params", "--max-params"), ("latency_ms", "--max-latency")]
)
def test_the_error_names_the_option(metric: str, option: str) -> None:
    with pytest.raises(BudgetError, match=option):
        Constraint.parse(metric, "much")


@given(st.sampled_from(METRICS), st.text(max_size=12))
def test_any_text_is_a_budget_or_a_budget_error(metric: str, text: str) -> None:
    try:
        constraint = Constraint.parse(metric, text)
    except BudgetError:
        return
    assert math.isfinite(constraint.bound)
    assert constraint.bound > 0
    assert math.isfinite(constraint.violation(1.0, BASELINE))


@pytest.mark.parametrize(
    ("metric", "text", "limit"),
    [("macs", "30M", 30e6), ("macs", "1.5x", 60e6), ("params", "2x", 200e3), ("latency_ms", "1.05x", 2.1)],
)
def test_the_limit_and_the_sign_of_the_violation(metric: str, text: str, limit: float) -> None:
    constraint = Constraint.parse(metric, text)
    assert constraint.limit(BASELINE) == pytest.approx(limit)
    assert constraint.violation(limit, BASELINE) == pytest.approx(0.0, abs=1e-12)
    assert constraint.violation(limit * 1.25, BASELINE) == pytest.approx(0.25)
    assert constraint.violation(limit / 2, BASELINE) == pytest.approx(-0.5)


def test_the_baseline_meets_a_budget_of_itself() -> None:
    for metric in METRICS:
        assert Constraint.parse(metric, "1x").violation(getattr(BASELINE, metric), BASELINE) <= 0


def test_a_multiple_of_what_was_not_measured() -> None:
    constraint = Constraint.parse("latency_ms", "1.1x")
    with pytest.raises(BudgetError, match=r"latency_ms <= 1\.1x baseline is relative .* was not measured"):
        constraint.limit(UNMEASURED)
    assert Constraint.parse("latency_ms", "3ms").limit(UNMEASURED) == 3.0


def test_violations_of_what_is_known() -> None:
    constraints = tuple(Constraint.parse(*given) for given in (("macs", "0.5x"), ("latency_ms", "1.5x")))
    costs = Costs(macs=30_000_000, params=1, latency_ms=2.0)
    assert violations(constraints, costs, BASELINE) == pytest.approx({"macs": 0.5, "latency_ms": -1 / 3})
    assert violations(constraints, Costs(30_000_000, 1), BASELINE) == pytest.approx({"macs": 0.5})
    assert violations(constraints, costs, UNMEASURED) == pytest.approx({"macs": 0.5})
    assert violations((), costs, BASELINE) == {}


@pytest.mark.parametrize(("metric", "text"), [("macs", "40M"), ("latency_ms", "1.05x")])
def test_json_both_ways(metric: str, text: str) -> None:
    constraint = Constraint.parse(metric, text)
    assert Constraint.from_json(json.loads(json.dumps(constraint.to_json()))) == constraint


def test_a_constraint_as_text() -> None:
    assert str(Constraint.parse("macs", "1.05x")) == "macs <= 1.05x baseline"
    assert str(Constraint.parse("latency_ms", "3ms")) == "latency_ms <= 3"


def test_a_latency_without_a_unit_is_answered_with_its_readings() -> None:
    with pytest.raises(BudgetError, match=r"^'25' of --max-latency has no unit: 25ms or 25x\?$"):
        Constraint.parse("latency_ms", "25")
