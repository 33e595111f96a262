"""What a dry run says of budgets: how much they leave, and which of them binds as far as that is known."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from nas.settings.search import SearchConfig
from nas.terminal.check import _fvcore_text, print_check
from nas.tools.check import binding
from nas.trainings.prepared import prepare
from search_spaces.errors import SpaceError
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.feasibility import Share

BASELINE = Costs(macs=100, params=100, latency_ms=2.0)
SIZE = 14_000_000_000
MEASURED = {"baseline": 2.0, "costliest": 5.0}


def budgets(**given: str) -> tuple[Constraint, ...]:
    return tuple(Constraint.parse(metric, text) for metric, text in given.items())


def measured(**p50_ms: float) -> dict[str, Any]:
    rest = {"macs": 100, "params": 9, "elementwise_ops": 8, "bytes_moved": 7000}
    rest |= {"training_bytes": None, "inference_bytes": 6000}
    return {name: {**rest, "latency_ms": {"p50": ms, "p95": ms, "stable": True}} for name, ms in p50_ms.items()}


def leaves(**part: float) -> dict[str, Share]:
    return {metric: Share(round(value * SIZE), round(value * SIZE), SIZE) for metric, value in part.items()}


@pytest.mark.parametrize(
    ("given", "alone", "p50_ms", "metric", "certain", "over"),
    [
        ({"macs": "1.1x", "params": "2x"}, {"macs": 0.2, "params": 0.9}, {"costliest": 9}, "macs", True, None),
        ({"macs": "1.1x", "params": "2x"}, {"macs": 0.9, "params": 0.2}, {"costliest": 9}, "params", True, None),
        ({"macs": "9x"}, {"macs": 1.0}, {"costliest": 9}, None, True, None),
        ({"macs": "9x", "latency_ms": "2x"}, {"macs": 1.0}, MEASURED, "latency_ms", True, ["costliest"]),
        ({"macs": "1.1x", "latency_ms": "2x"}, {"macs": 0.2}, MEASURED, "macs", False, ["costliest"]),
        ({"macs": "1.1x", "latency_ms": "6ms"}, {"macs": 0.2}, MEASURED, "macs", True, []),
        ({}, {}, {"costliest": 5}, None, True, None),
    ],
)  # fmt: skip
def test_the_budget_that_cuts_most_of_what_is_known_binds(
    given: dict[str, str],
    alone: dict[str, float],
    p50_ms: dict[str, float],
    metric: str | None,
    certain: bool,
    over: list[str] | None,
) -> None:
    found = binding(budgets(**given), leaves(**alone), BASELINE, measured(**p50_ms))
    assert found.pop("latency_drawn") is None
    assert found == {"metric": metric, "certain": certain, "counted": alone, "latency_over": over}


def test_where_a_profile_predicts_latency_binds_by_its_share() -> None:
    constraints = budgets(macs="1.1x", latency_ms="2x")
    found = binding(constraints, leaves(macs=0.2), BASELINE, measured(**MEASURED), 0.05)
    assert found["metric"] == "latency_ms"
    assert found["certain"]
    assert found["counted"] == {"macs": 0.2, "latency_ms": 0.05}
    assert found["latency_drawn"] == 2000
    assert "latency_ms leaves about 5.0% of 2,000 drawn" in printed(1, 1, predicted=0.05)


def printed(at_least: int, at_most: int, predicted: float | None = None) -> str:
    constraints = budgets(macs="1.1x", latency_ms="2x")
    costs = measured(**MEASURED)
    found = {
        "data": {"name": "made-up", "classes": ["a", "b"], "train": 9, "val": 3, "test": None, "findings": {}},
        "not_varied": [{"location": "1.add2", "reason": "a sum with the number 1"}],
        "points": [], "budgets": [str(constraint) for constraint in constraints], "costs": costs,
        "feasible": Share(at_least, at_most, SIZE).to_json(),
        "binding": binding(constraints, leaves(macs=0.008), BASELINE, costs, predicted),
        "latency_of": None, "noise": None, "precision": None, "notes": [], "not_exported": {},
        "counting": {"input_shape": [1, 3, 32, 32], "counter": "fvcore 0.1.5", "products": 4, "products_by_fvcore": 4},
        "images_per_second": {"baseline": 10.0}, "estimated_trial_seconds": 1.0, "estimated_search_seconds": 9.0,
        "estimated_shared_seconds": 0.0, "trials": 9, "workers": 1, "plan": {"text": "9 looks"}, "warnings": [],
    }  # fmt: skip
    text = io.StringIO()
    print_check(Console(file=text, width=200), found)
    return text.getvalue()


def test_the_feasible_part_is_said_in_percent_of_the_space() -> None:
    text = printed(112_000_000, 112_000_000)
    assert "0.8 % of 1.4·10¹⁰ architectures are feasible" in text
    assert "macs <= 1.1x baseline, latency_ms <= 2x baseline: macs binds most, unless latency_ms does" in text
    assert "macs leaves 0.8%; latency_ms is measured trial by trial: of those below, costliest are over it" in text
    assert "not varied: 1\n  a sum with the number 1:\n    1.add2\n" in text
    assert "counted for 1x3x32x32 with fvcore 0.1.5" in text
    assert "7.00kB" in text
    assert "n/a" in text  # the memory of training was not measured


def test_a_count_between_bounds_is_said_as_such() -> None:
    assert "between 0.8 % and 0.9 % of 1.4·10¹⁰ architectures are feasible" in printed(112_000_000, 126_000_000)
    assert "0.8 % of 1.4·10¹⁰ architectures are feasible" in printed(112_000_000, 112_000_009)


def test_a_detector_is_no_classifier() -> None:
    with pytest.raises(SpaceError, match=r"resnet8-fpn-fcos is no classifier, but the task is classification"):
        prepare(SearchConfig(space="resnet8-fpn-fcos"))


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        (4, "fvcore itself counts 4 in the convolutions and products of all-add, as we do"),
        (
            3,
            "fvcore itself counts 3 in the convolutions and products of all-add, we 4: one of us has no count for some",
        ),
        (None, "in the convolutions and products of all-add we count 4; fvcore itself cannot count this network"),
    ],
)
def test_what_fvcore_counts_is_said_as_it_is(theirs: int | None, text: str) -> None:
    assert _fvcore_text({"products": 4, "products_by_fvcore": theirs}).startswith(text)
