"""The report's figures as plain plotly JSON: two Pareto plots and the training curves.

Plain dictionaries rather than `plotly.graph_objects`, whose import alone takes longer than the whole
page; the tests hold them against plotly's own validation. Colours of text and lines that must follow
the page's light or dark theme are left to its style sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from reports import labels
from reports.drawing import choices_text
from reports.estimates import percent_interval, seen_text
from reports.formatting import capital, format_count, format_ms, format_percent, format_ratio
from reports.front import non_dominated
from reports.latency import latency_label, latency_note
from reports.summary import Limit, limits, over_budget, ratio
from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import TrialState

AXES = {"macs": "FLOPs (multiply-adds)", "latency_ms": "p50 latency (ms)"}
#: From here on, marks are small and see-through so that they do not hide each other.
_CROWD = 200
#: Curves beyond this many would be a tangle.
CURVES = 12
BLUE, _SKY, _VERMILLION, GREY, _ORANGE, _PURPLE = "#0072b2", "#56b4e9", "#d55e00", "#8a93a0", "#e69f00", "#a84d86"


@dataclass(frozen=True)
class Kind:
    """How one kind of trial is marked: its words, and a shape and colour that no other kind shares."""

    words: str
    symbol: str
    colour: str
    size: int
    line: int = 0


KINDS = {
    "gated": Kind("gated: over budget, never trained", "line-ns-open", GREY, 9, 1),
    "unpriced": Kind("trained, budget not checked", "square-open", GREY, 7, 1),
    "infeasible": Kind("trained, over budget", "x-thin-open", _VERMILLION, 8, 2),
    "feasible": Kind("trained, within budget", "circle", _SKY, 7),
    "front": Kind("front of this plot", "circle", BLUE, 10),
    "uniform": Kind("one operator everywhere (control)", "diamond-open", _PURPLE, 15, 2),
    "baseline": Kind("all-add baseline", "star", _ORANGE, 16, 1),
}
#: Whose intervals are drawn: those of all would hide the marks.
_WITH_INTERVAL = ("front", "baseline")


@dataclass(frozen=True)
class Figure:
    """A figure: its plotly specification, what a screen reader is told, the kinds in it, and remarks."""

    id: str
    spec: dict[str, Any]
    description: str
    kinds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def pareto(view: RunView, metric: str) -> Figure | None:
    """Score against a cost, None when no trained trial has that cost."""
    trained = [t for t in view.complete if t.objective(metric) is not None]
    if not trained:
        return None
    gated = [t for t in view.trials if t.result.state is TrialState.GATED and t.objective(metric) is not None]
    bounds = [limit for limit in limits(view) if limit.metric == metric]
    kinds = _sort(view, trained, metric)
    reach = [_y(t) + side for name in _WITH_INTERVAL for t in kinds[name] for side in _reach(t)]
    x_range, y_range = _ranges(trained, gated, bounds, metric, reach)
    kinds["gated"] = [t for t in gated if _x(t, metric) <= x_range[1]]
    hover = _hover(view)
    traces = [_line(kinds["front"], metric)] if kinds["front"] else []
    for name in KINDS:
        traces += _marks(name, kinds.get(name, []), metric, hover)
    told = "estimated" if view.model is not None else "validation"
    layout = base_layout(AXES[metric], f"{told} {view.score_label} (%)", x_range, y_range)
    # Gated trials have no score: their marks sit on an axis of their own, along the bottom.
    layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    shown = [limit for limit in bounds if x_range[0] <= limit.value <= x_range[1]]
    layout["shapes"] = [_budget_line(limit) for limit in shown]
    layout["annotations"] = [_budget_label(limit, x_range) for limit in shown]
    layout["annotations"] += _labels(kinds, trained, metric, shown, x_range, y_range)
    if metric == "macs":
        layout["xaxis"]["exponentformat"] = "SI"
    used = tuple(name for name in KINDS if kinds.get(name))
    against = f"{capital(view.score_label)} against {AXES[metric]}"
    description = f"{against}: {len(trained)} trained trials, {len(kinds['front'])} on the front."
    return Figure(f"pareto-{metric}", {"data": traces, "layout": layout}, description, used, _notes(
        bounds, shown, len(gated) - len(kinds["gated"]), len(view.complete) - len(trained)
    ))  # fmt: skip


def plane_front(trials: Sequence[TrialView], metric: str) -> list[TrialView]:
    """The feasible trials that none dominates in estimate, or score, and `metric`, cheapest first."""
    feasible = [t for t in trials if t.feasible]
    points = [[t.quality or 0.0, _x(t, metric)] for t in feasible]
    kept = [t for t, keep in zip(feasible, non_dominated(points, [True, False]), strict=True) if keep]
    return sorted(kept, key=lambda t: (_x(t, metric), t.quality or 0.0))


def curves(view: RunView) -> Figure | None:
    """Training loss by epoch of the front's trials and the baseline, None where no curve was recorded."""
    base = view.baseline_trial
    rivals = [t for t in view.front if base is None or t.result.number != base.result.number]
    chosen = [t for t in rivals if t.result.curve][:CURVES]
    traces = []
    for trial in reversed(chosen):
        top = trial.result.number == chosen[0].result.number
        traces.append(_curve(trial, BLUE if top else _SKY, 3.0 if top else 1.5, "solid", 1.0 if top else 0.7))
    if base is not None and base.result.curve:
        traces.append(_curve(base, _ORANGE, 2.5, "dash", 1.0))
    if not traces:
        return None
    last = max(point for trace in traces for point in trace["x"])
    layout = base_layout("epoch", "training loss", (0.7, last + 0.3), None)
    layout["margin"]["t"] = 10  # no budget is written above
    layout["xaxis"].update(tickformat="d", dtick=max(1, round(last / 8)), tick0=1)
    return Figure("curves", {"data": traces, "layout": layout}, f"Training loss by epoch of {len(traces)} trials.")


def _x(trial: TrialView, metric: str) -> float:
    return trial.objective(metric) or 0.0


def _y(trial: TrialView) -> float:
    return round(100 * (trial.quality or 0.0), 4)


def _reach(trial: TrialView) -> tuple[float, float]:
    """From its estimate down and up to where it may lie, in points: at most 0, and at least."""
    if trial.estimate is None:
        return 0.0, 0.0
    score = trial.estimate.score
    return round(score.low - score.mean, 4), round(score.high - score.mean, 4)


def _ranges(
    trained: Sequence[TrialView],
    gated: Sequence[TrialView],
    bounds: Sequence[Limit],
    metric: str,
    drawn: Sequence[float],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Axis ranges that show every trained trial and the ends that are drawn of intervals, and of gated trials and
    budgets what does not crowd them."""
    xs, ys = [_x(t, metric) for t in trained], [*(_y(t) for t in trained), *drawn]
    low, high = min(xs), max(xs)
    reach = high + max(high - low, 0.25 * high)
    near = [v for v in (*(_x(t, metric) for t in gated), *(b.value for b in bounds)) if low / 2 <= v <= reach]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.1 * (high - low) or 0.05 * high or 1.0
    x_range = (max(low - margin, 0.0 if low else -margin), high + margin)
    span = max(ys) - min(ys) or 2.0
    # Room above for labels, below for the gated trials' marks.
    return x_range, (min(ys) - (0.16 if gated else 0.1) * span, max(ys) + 0.12 * span)


def _sort(view: RunView, trained: Sequence[TrialView], metric: str) -> dict[str, list[TrialView]]:
    front = plane_front(trained, metric)
    numbers = {t.result.number for t in front}
    base = view.baseline_trial
    return {
        "unpriced": [t for t in trained if t.feasible is None],
        "infeasible": [t for t in trained if t.feasible is False],
        "feasible": [t for t in trained if t.feasible and t.result.number not in numbers],
        "front": front,
        "uniform": [t for t in trained if t.result.origin == "uniform"],
        "baseline": [t for t in trained if base is not None and t.result.number == base.result.number],
    }


def _line(front: Sequence[TrialView], metric: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": "front", "hoverinfo": "skip",
        "x": [_x(t, metric) for t in front], "y": [_y(t) for t in front],
        "line": {"shape": "hv", "color": BLUE, "width": 2},
    }  # fmt: skip


def _marks(
    name: str, trials: Sequence[TrialView], metric: str, hover: Callable[[TrialView], str]
) -> list[dict[str, Any]]:
    if not trials:
        return []
    kind = KINDS[name]
    marker: dict[str, Any] = {"symbol": kind.symbol, "color": kind.colour, "size": kind.size}
    if name == "feasible" and len(trials) > _CROWD:
        marker.update(size=kind.size - 2, opacity=0.7)
    if kind.line:
        marker["line"] = {"width": kind.line, "color": "#5c3d00" if name == "baseline" else kind.colour}
    trace = {
        "type": "scatter", "mode": "markers", "name": kind.words, "meta": name, "marker": marker,
        "x": [_x(t, metric) for t in trials],
        "y": [0.025] * len(trials) if name == "gated" else [_y(t) for t in trials],
        "customdata": [t.result.number for t in trials],
        "text": [hover(t) for t in trials],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    if name == "gated":
        trace["yaxis"] = "y2"
    if name in _WITH_INTERVAL and any(t.estimate is not None for t in trials):
        trace["error_y"] = {
            "type": "data", "symmetric": False, "array": [_reach(t)[1] for t in trials],
            "arrayminus": [-_reach(t)[0] for t in trials], "thickness": 1.2, "width": 3, "color": kind.colour,
        }  # fmt: skip
    return [trace]


def _labels(
    kinds: dict[str, list[TrialView]], trained: Sequence[TrialView], metric: str,
    bounds: Sequence[Limit], x_range: tuple[float, float], y_range: tuple[float, float],
) -> list[dict[str, Any]]:  # fmt: skip
    wanted = [(_x(t, metric), _y(t), "all-add") for t in kinds["baseline"]]
    wanted += [(_x(t, metric), _y(t), _uniform_name(t)) for t in kinds["uniform"]]
    marks = [(_x(t, metric), _y(t)) for t in trained]
    lines = [(limit.value, y_range[0], limit.value, y_range[1]) for limit in bounds]
    for a, b in pairwise(kinds["front"]):
        lines += [(_x(a, metric), _y(a), _x(b, metric), _y(a)), (_x(b, metric), _y(a), _x(b, metric), _y(b))]
    sides = labels.place(wanted, marks, lines, x_range, y_range)
    # Annotations, for plotly sets a trace's text too close to marks of this size.
    return [
        {
            "x": x, "y": y, "text": escape(text), "showarrow": False, "font": {"size": 11}, "borderpad": 0,
            "xanchor": ("right", "center", "left")[side.right + 1], "yanchor": ("top", "middle", "bottom")[side.up + 1],
            "xshift": side.shift[0], "yshift": side.shift[1], "name": "label",
        }
        for (x, y, text), side in zip(wanted, sides, strict=True)
        if side is not None
    ]  # fmt: skip


def _uniform_name(trial: TrialView) -> str:
    return "all-" + "/".join(dict.fromkeys(c.op for c in trial.result.architecture.choices.values()))


def _hover(view: RunView) -> Callable[[TrialView], str]:
    """What a mark says when pointed at. Plotly reads some HTML in it, so everything recorded is escaped."""
    costs = view.baseline

    def text(trial: TrialView) -> str:
        r = trial.result
        flops = format_count(r.macs)
        if costs is not None and costs.macs:
            flops += f" ({format_ratio(ratio(r.macs, costs.macs))} baseline)"
        lines = [f"<b>trial {r.number}</b> ({escape(r.origin)})"]
        if r.score is None:
            lines.append("never trained")
        else:
            loss = "n/a" if r.loss is None else f"{r.loss:.4f}"
            lines.append(f"{view.score_label} {format_percent(r.score)}, loss {loss}")
        if trial.longer is not None:
            lines.append(seen_text(view, trial))
        if trial.estimate is not None:
            lines.append(f"estimate {percent_interval(trial)} (90%)")
        lines.append(f"FLOPs {flops}, params {format_count(r.params)}")
        if trial.latency is not None:
            note = f" ({latency_note(trial)})" if latency_note(trial) else ""
            lines.append(f"latency p50 {latency_label(trial.latency)}, p95 {format_ms(trial.latency.p95_ms)}{note}")
        if over_budget(trial):
            lines.append(over_budget(trial))
        lines += escape(choices_text(r.architecture.choices, "\n")).split("\n")
        return "<br>".join(lines)

    return text


def _budget_line(limit: Limit) -> dict[str, Any]:
    return {
        "type": "line", "x0": limit.value, "x1": limit.value, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"dash": "dash", "width": 1.5, "color": _VERMILLION}, "layer": "below", "name": "budget",
    }  # fmt: skip


def _budget_label(limit: Limit, x_range: tuple[float, float]) -> dict[str, Any]:
    right = limit.value > (x_range[0] + x_range[1]) / 2
    return {
        "x": limit.value, "xref": "x", "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False,
        "xanchor": "right" if right else "left", "text": f"budget {escape(limit.text)}", "font": {"size": 11},
    }  # fmt: skip


def _notes(bounds: Sequence[Limit], shown: Sequence[Limit], hidden: int, unmeasured: int) -> tuple[str, ...]:
    notes = [f"The budget of {limit.text} lies outside the plot." for limit in bounds if limit not in shown]
    if hidden:
        notes.append(f"{hidden:,} gated {'trials lie' if hidden > 1 else 'trial lies'} beyond the right edge.")
    if unmeasured:
        notes.append(f"{unmeasured:,} trained {'trials were' if unmeasured > 1 else 'trial was'} not measured.")
    return tuple(notes)


def _curve(trial: TrialView, colour: str, width: float, dash: str, opacity: float) -> dict[str, Any]:
    points = trial.result.curve
    return {
        "type": "scatter", "mode": "lines+markers" if len(points) < 12 else "lines", "opacity": opacity,
        "name": f"trial {trial.result.number}", "customdata": [trial.result.number] * len(points),
        "x": [p.epoch for p in points], "y": [p.train_loss for p in points], "marker": {"size": 5},
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": f"trial {trial.result.number}, epoch %{{x}}: loss %{{y:.4f}}<extra></extra>",
    }  # fmt: skip


def base_layout(x: str, y: str, x_range: tuple[float, float], y_range: tuple[float, float] | None) -> dict[str, Any]:
    """What the page's figures have in common."""
    axis = {"zeroline": False, "ticks": "outside", "ticklen": 4, "automargin": True, "title": {"standoff": 10}}
    clear, dark = "rgba(0,0,0,0)", "#1c2430"
    layout: dict[str, Any] = {
        "autosize": True, "showlegend": False, "hovermode": "closest", "dragmode": "zoom",
        "margin": {"l": 56, "r": 14, "t": 30, "b": 48}, "paper_bgcolor": clear, "plot_bgcolor": clear,
        "font": {"size": 12, "family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"},
        "hoverlabel": {"align": "left", "bgcolor": dark, "bordercolor": dark, "font": {"color": "#ffffff"}},
        "xaxis": {**axis, "title": {"text": x, "standoff": 10}, "range": list(x_range), "nticks": 7},
        "yaxis": {**axis, "title": {"text": y, "standoff": 8}, "nticks": 7},
    }  # fmt: skip
    if y_range is not None:
        layout["yaxis"]["range"] = list(y_range)
    return layout
