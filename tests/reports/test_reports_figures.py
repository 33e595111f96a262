"""The figures' specifications, held against plotly's own validation."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest
from reports_records import HOSTILE, MakeRun, realistic_trials, result

from reports import RunView, figures
from trials.trial import TrialState


def trace(figure: figures.Figure | None, kind: str) -> dict[str, Any]:
    assert figure is not None
    return next(t for t in figure.spec["data"] if t.get("meta") == kind)


@pytest.mark.parametrize("metric", ["macs", "latency_ms"])
def test_plotly_accepts_the_plots(run: RunView, metric: str) -> None:
    figure = figures.pareto(run, metric)
    assert figure is not None
    go.Figure(figure.spec)


def test_plotly_accepts_the_curves(run: RunView) -> None:
    figure = figures.curves(run)
    assert figure is not None
    go.Figure(figure.spec)
    assert len(figure.spec["data"]) == len(run.front) + (run.baseline_trial not in run.front)


def test_no_two_kinds_share_a_shape_or_a_colour_where_feasibility_is_told() -> None:
    told = [figures.KINDS[name] for name in ("infeasible", "feasible", "gated")]
    assert len({kind.symbol for kind in told}) == len({kind.colour for kind in told}) == 3
    assert figures.KINDS["infeasible"].symbol != figures.KINDS["front"].symbol
    assert figures.KINDS["infeasible"].colour != figures.KINDS["front"].colour


def test_each_trained_trial_is_drawn_once_by_its_feasibility(run: RunView) -> None:
    figure = figures.pareto(run, "macs")
    drawn = [n for kind in ("infeasible", "feasible", "front") for n in trace(figure, kind)["customdata"]]
    assert sorted(drawn) == [t.result.number for t in run.complete]
    over = [t.result.number for t in run.complete if t.feasible is False]
    assert over
    assert trace(figure, "infeasible")["customdata"] == over


def test_the_line_joins_the_front_of_the_two_axes_shown(run: RunView) -> None:
    figure = figures.pareto(run, "latency_ms")
    assert figure is not None
    line = figure.spec["data"][0]
    assert line["line"]["shape"] == "hv"
    assert line["x"] == sorted(line["x"])
    assert line["y"] == sorted(line["y"])
    assert line["x"] == trace(figure, "front")["x"]


def test_gated_trials_are_a_rug_on_an_axis_of_their_own(run: RunView) -> None:
    figure = figures.pareto(run, "macs")
    rug = trace(figure, "gated")
    assert rug["yaxis"] == "y2"
    assert set(rug["customdata"]) <= {24, 25, 26}
    assert figure is not None
    hidden = 3 - len(rug["customdata"])
    assert not hidden or any("gated" in note for note in figure.notes)


def test_budgets_are_dashed_lines_with_their_value(make_run: MakeRun) -> None:
    budgets = [
        {"metric": "macs", "bound": 1.08, "relative": True},
        {"metric": "latency_ms", "bound": 1.3, "relative": False},
    ]
    view = make_run(realistic_trials(), budgets)
    for metric, text in (("macs", "budget 11.3M (1.08× baseline)"), ("latency_ms", "budget 1.30 ms")):
        figure = figures.pareto(view, metric)
        assert figure is not None
        (line,) = figure.spec["layout"]["shapes"]
        assert line["line"]["dash"] == "dash"
        assert text in [label["text"] for label in figure.spec["layout"]["annotations"]]


def test_a_far_budget_is_told_and_not_drawn(make_run: MakeRun) -> None:
    view = make_run(realistic_trials(), [{"metric": "macs", "bound": 1e9, "relative": False}])
    figure = figures.pareto(view, "macs")
    assert figure is not None
    assert not figure.spec["layout"]["shapes"]
    assert any("1.00G lies outside" in note for note in figure.notes)
    assert max(figure.spec["layout"]["xaxis"]["range"]) < 2e7


def test_the_baseline_and_the_controls_are_labelled(run: RunView) -> None:
    figure = figures.pareto(run, "macs")
    assert figure is not None
    assert trace(figure, "baseline")["marker"]["symbol"] == "star"
    texts = {label["text"] for label in figure.spec["layout"]["annotations"]}
    assert {"all-add", "all-concat", "all-se", "all-iaff"} <= texts


def test_what_is_pointed_at_says_everything_and_is_escaped(make_run: MakeRun) -> None:
    view = make_run([result(0, ["add"] * 3, origin="baseline"), result(1, ["aff"] * 3, origin=HOSTILE)], [])
    figure = figures.pareto(view, "macs")
    assert figure is not None
    text = "".join(t for kind in ("feasible", "front") if kind in figure.kinds for t in trace(figure, kind)["text"])
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    for part in ("trial 1", "accuracy ", "loss ", "FLOPs ", "params ", "latency p50 ", "p95 ", "layer1: aff/4"):
        assert part in text


def test_there_is_no_latency_plot_without_latencies(make_run: MakeRun) -> None:
    view = make_run(realistic_trials(latency=False))
    assert figures.pareto(view, "latency_ms") is None
    assert figures.pareto(view, "macs") is not None


def test_unmeasured_latencies_are_counted_under_the_plot(make_run: MakeRun) -> None:
    view = make_run([result(0, ["add"] * 3), result(1, ["se"] * 3, latency=False)], [])
    figure = figures.pareto(view, "latency_ms")
    assert figure is not None
    assert figure.notes == ("1 trained trial was not measured.",)


def test_one_trial_has_a_plot_with_a_range(make_run: MakeRun) -> None:
    figure = figures.pareto(make_run([result(0, ["add"] * 3, origin="baseline")]), "macs")
    assert figure is not None
    low, high = figure.spec["layout"]["xaxis"]["range"]
    assert low < 10_500_000 < high


def test_nothing_trained_has_no_figure(make_run: MakeRun) -> None:
    view = make_run([result(0, ["add"] * 3, TrialState.GATED)])
    assert figures.pareto(view, "macs") is None
    assert figures.curves(view) is None
