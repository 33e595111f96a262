"""The front as a picture that stands still: SVG for notebooks and texts, drawn from a report's document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from reports import labels
from reports.document import Document
from reports.formatting import capital, format_count
from reports.front import non_dominated

WIDTH, HEIGHT = 760, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 62, 30, 16, 48
#: Marks beside the front at the most: of more, every so many-th.
MARKS = 1_500
_BLUE, _SKY, _VERMILLION, _ORANGE, _GREY = "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#8a93a0"


@dataclass(frozen=True)
class Mark:
    """A completed trial on the plane: a cost, its quality in percent with its interval, and what it is."""

    number: int
    x: float
    y: float
    low: float
    high: float
    feasible: bool | None
    front: bool
    name: str


def marks_of(document: Document, cost: str | None = None) -> tuple[list[Mark], str, str]:
    """The completed trials that have a cost (the first that the document has, where none is asked for), the key of
    that cost and what it is called."""
    axes = document["axes"]
    axis = next((a for a in axes if a["key"] == cost), axes[0] if axes else {"key": "macs", "name": "FLOPs"})
    columns, texts, key = document["trials"]["columns"], document["trials"]["texts"], axis["key"]
    complete = texts.index("complete") if "complete" in texts else -1
    xs, low, high = columns[key] or [], columns["low"], columns["high"]
    quality, feasible = columns["quality"] or [], columns["feasible"] or [None] * len(xs)
    places = [
        place
        for place, state in enumerate(columns["state"] or [])
        if state == complete and xs and quality and xs[place] is not None and quality[place] is not None
    ]
    able = [place for place in places if feasible[place] and not columns["kept_off"][place]]
    on_front = _front([(columns["quality"][place], xs[place]) for place in able])
    front = {place for place, kept in zip(able, on_front, strict=True) if kept}

    def end(column: list[float | None] | None, place: int) -> float:
        value = None if column is None else column[place]
        return 100 * (columns["quality"][place] if value is None else value)

    found = [
        Mark(
            columns["number"][place], xs[place], 100 * columns["quality"][place], end(low, place), end(high, place),
            None if feasible[place] is None else bool(feasible[place]), place in front, _name(document, place),
        )
        for place in places
    ]  # fmt: skip
    return found, key, axis["name"]


def _front(points: Sequence[tuple[float, float]]) -> list[bool]:
    return non_dominated([list(point) for point in points], [True, False])


def _name(document: Document, place: int) -> str:
    """`all-add`, `all-aff` of the baseline and the controls; empty of others."""
    trials = document["trials"]
    origin = trials["columns"]["origin"][place]
    if origin is None or trials["texts"][origin] not in ("baseline", "uniform"):
        return ""
    operators = {trials["choices"][choice]["operator"] for choice in trials["columns"]["architecture"][place]}
    return f"all-{document['palette'][operators.pop()]['operator']}" if len(operators) == 1 else ""


def picture(document: Document, cost: str | None = None) -> str:
    """The front as one SVG element, which needs neither scripts nor fonts. Colours read on light and dark."""
    marks, key, axis = marks_of(document, cost)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" '
        f'font-size="12" fill="currentColor" width="{WIDTH}" height="{HEIGHT}">'
    )
    score = document["run"]["score_label"]
    if not marks:
        return f'{head}<text x="20" y="40">No trial has been completed, so there is nothing to plot.</text></svg>'
    front = sorted((m for m in marks if m.front), key=lambda m: m.x)
    limits = [b["limit"] for b in document["budgets"] if b["metric"] == key and b["limit"] is not None]
    x_range = span([m.x for m in marks] + [v for v in limits if v <= 1.25 * max(m.x for m in marks)])
    y_range = span([m.y for m in marks] + [v for m in front for v in (m.low, m.high)])

    def x(value: float) -> float:
        share = (value - x_range[0]) / (x_range[1] - x_range[0])
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (y_range[1] - value) / (y_range[1] - y_range[0])
        return round(_TOP + share * (HEIGHT - _TOP - _BOTTOM), 1)

    parts = [head, f"<title>{escape(capital(score))} against {escape(axis)} of {len(marks):,} trials</title>"]
    parts += _axes(x_range, y_range, x, y, axis, f"{score} (%)", key)
    for limit in limits:
        if x_range[0] <= limit <= x_range[1]:
            parts.append(
                f'<path d="M{x(limit)} {_TOP}V{HEIGHT - _BOTTOM}" stroke="{_VERMILLION}" stroke-dasharray="6 4"/>'
            )
    others = [m for m in marks if not m.front]
    parts += [_other(m.feasible, x(m.x), y(m.y)) for m in others[:: max(1, len(others) // MARKS)]]
    if front:
        line = f"M{x(front[0].x)} {y(front[0].y)}" + "".join(f"H{x(m.x)}V{y(m.y)}" for m in front[1:])
        parts.append(f'<path d="{line}" stroke="{_BLUE}" stroke-width="2" fill="none"/>')
    for m in front:
        parts.append(f'<path d="M{x(m.x)} {y(m.low)}V{y(m.high)}" stroke="{_BLUE}"/>')
        parts.append(
            f'<circle cx="{x(m.x)}" cy="{y(m.y)}" r="5" fill="{_BLUE}"><title>trial {m.number}: {m.y:.2f} %</title>'
            "</circle>"
        )
    parts += _names(marks, x_range, y_range, x, y)
    return "".join([*parts, "</svg>"])


def _other(feasible: bool | None, x: float, y: float) -> str:
    """A mark beside the front, by shape and colour: within the budgets, over one, or an open square: not known."""
    if feasible is None:
        return f'<path d="M{x - 3:g} {y - 3:g}h6v6h-6z" stroke="{_GREY}" fill="none"/>'
    if feasible:
        return f'<circle cx="{x}" cy="{y}" r="3" fill="{_SKY}"/>'
    return f'<path d="M{x - 3:g} {y - 3:g}l6 6m-6 0l6-6" stroke="{_VERMILLION}" fill="none"/>'


def _names(marks: Sequence[Mark], x_range: Any, y_range: Any, x: Any, y: Any) -> list[str]:
    """The baseline, a star of its own colour, and the controls, by name where there is room."""
    named = sorted((m for m in marks if m.name), key=lambda m: m.name != "all-add")
    sides = labels.place([(m.x, m.y, m.name) for m in named], [(m.x, m.y) for m in marks[:MARKS]], [], x_range, y_range)
    parts = []
    for m, side in zip(named, sides, strict=True):
        fill = _ORANGE if m.name == "all-add" else "none"
        stroke = "#5c3d00" if m.name == "all-add" else "#a84d86"
        parts.append(f'<path d="M{x(m.x)} {y(m.y) - 7}l7 7l-7 7l-7-7z" fill="{fill}" stroke="{stroke}"/>')
        if side is not None:
            right, up = side.shift
            anchor = ("end", "middle", "start")[side.right + 1]
            drop = (10, 4, 0)[side.up + 1]
            parts.append(
                f'<text x="{x(m.x) + right}" y="{y(m.y) - up + drop}" text-anchor="{anchor}" font-size="11">'
                f"{escape(m.name)}</text>"
            )
    return parts


def _axes(x_range: Any, y_range: Any, x: Any, y: Any, across: str, up: str, key: str) -> list[str]:
    bottom = HEIGHT - _BOTTOM
    parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{WIDTH - _RIGHT}" fill="none" stroke="currentColor" opacity=".5"/>']
    for value in ticks(x_range[0], x_range[1], 7):
        text = format_count(value) if key != "latency_ms" else f"{value:g}"
        parts.append(f'<text x="{x(value)}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    for value in ticks(y_range[0], y_range[1], 6):
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
    middle = (WIDTH + _LEFT) // 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>')
    return [*parts, f'<text x="{_LEFT - 8}" y="{_TOP - 12}">{escape(up)}</text>']


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two, at most so many."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= most)
    first = math.ceil(low / step)
    return [round(k * step, 10) for k in range(first, math.floor(high / step) + 1)]


def span(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the largest with room at both ends, also where all are equal."""
    low, high = min(values), max(values)
    room = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room
