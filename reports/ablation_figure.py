"""The picture of an ablation: what each point contributes, with its interval, beside what it costs."""

from __future__ import annotations

from html import escape
from typing import Any

from reports.ablation import Ablation, Contribution, points_interval, signed_count, signed_ms
from reports.figures import BLUE, GREY, Figure, base_layout

#: Of a point's name so many characters stand beside its row, the last ones, which tell points of a stage apart.
_NAME = 14
#: Pixels of a point's row, and of what stands above and below the rows.
_ROW, _FRAME = 30, 96


def contributions(ablation: Ablation) -> Figure | None:
    """Points in forward order from the top: score on the left, FLOPs on the right; None where none is trained."""
    points = [c for c in ablation.of_role("without") if c.score is not None]
    if not points:
        return None
    # By place and not by name: two points of a user's network may look alike once they are escaped.
    rows = list(range(len(points)))
    hover = [_hover(c) for c in points]
    layout = base_layout("score (points)", "", (0.0, 0.0), (len(points) - 0.5, -0.5))
    del layout["xaxis"]["range"]
    layout["xaxis"].update(domain=[0, 0.6], zeroline=True, zerolinewidth=2, zerolinecolor=GREY, rangemode="tozero")
    layout["xaxis2"] = {
        **layout["xaxis"], "domain": [0.68, 1], "nticks": 4, "exponentformat": "SI",
        "title": {"text": "FLOPs", "standoff": 10},
    }  # fmt: skip
    layout["yaxis"].update(tickvals=rows, ticktext=[escape(_end(c.name)) for c in points], fixedrange=True)
    layout["margin"]["t"] = 10
    layout["height"] = _FRAME + _ROW * len(points)
    number, traces = ablation.plan.trial, [_gains(points, rows, hover), _costs(points, rows, hover)]
    description = f"What {len(points)} fusions of trial {number} contribute to the score, and cost in FLOPs."
    return Figure(f"ablation-{number}", {"data": traces, "layout": layout}, description)


def _gains(points: list[Contribution], rows: list[int], hover: list[str]) -> dict[str, Any]:
    gains = [c.score for c in points if c.score is not None]
    return {
        "type": "scatter", "mode": "markers", "name": "score", "x": [100 * gain.mean for gain in gains], "y": rows,
        "error_x": {"type": "data", "array": [100 * (gain.high - gain.mean) for gain in gains], "color": GREY,
                    "thickness": 2, "width": 5},
        "marker": {"size": 10, "color": [BLUE if gain.distinguishable else GREY for gain in gains],
                   "symbol": ["circle" if gain.distinguishable else "circle-open" for gain in gains],
                   "line": {"width": 2}},
        "text": hover, "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _costs(points: list[Contribution], rows: list[int], hover: list[str]) -> dict[str, Any]:
    return {
        "type": "bar", "orientation": "h", "name": "FLOPs", "x": [c.macs for c in points], "y": rows, "width": 0.5,
        "xaxis": "x2", "marker": {"color": GREY}, "text": hover, "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _end(name: str) -> str:
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _hover(c: Contribution) -> str:
    """Plotly reads some HTML in it, so what is recorded is escaped."""
    lines = [f"<b>{escape(c.words)}</b>", f"score {points_interval(c.score)} points: {c.verdict}"]
    lines.append(f"FLOPs {signed_count(c.macs)}, params {signed_count(c.params)}")
    if c.latency_ms is not None:
        lines.append(f"p50 {signed_ms(c.latency_ms)}")
    return "<br>".join(lines)
