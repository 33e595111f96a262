"""Several runs' fronts in one picture, told apart by colour, dashes and marks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from reports.formatting import format_count
from reports.front_picture import span, ticks

WIDTH, HEIGHT = 760, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 62, 24, 16, 48
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("none", "8 4", "2 3", "10 3 2 3")


def fronts(runs: Sequence[dict[str, Any]]) -> str:
    """An SVG element of each run's `front`, a list of [FLOPs, percent]; empty where no run has one."""
    points = [point for run in runs for point in run["front"]]
    if not points:
        return ""
    (x0, x1), (y0, y1) = span([p[0] for p in points]), span([p[1] for p in points])

    def x(value: float) -> float:
        return round(_LEFT + (value - x0) / (x1 - x0) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (y1 - value) / (y1 - y0) * (HEIGHT - _TOP - _BOTTOM), 1)

    bottom = HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" '
        'font-size="12" fill="currentColor"><title>The fronts of the runs</title>',
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{WIDTH - _RIGHT}" fill="none" stroke="currentColor" opacity=".5"/>',
    ]
    for value in ticks(x0, x1, 7):
        parts.append(f'<text x="{x(value)}" y="{bottom + 18}" text-anchor="middle">{format_count(value)}</text>')
    for value in ticks(y0, y1, 6):
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="{WIDTH // 2}" y="{HEIGHT - 10}" text-anchor="middle">FLOPs (multiply-adds)</text>')
    for place, run in enumerate(runs):
        colour, dash = _COLOURS[place % len(_COLOURS)], _DASHES[place % len(_DASHES)]
        front = run["front"]
        if front:
            line = f"M{x(front[0][0])} {y(front[0][1])}" + "".join(f"H{x(a)}V{y(b)}" for a, b in front[1:])
            parts.append(f'<path d="{line}" stroke="{colour}" stroke-width="2" fill="none" stroke-dasharray="{dash}"/>')
        parts += [f'<circle cx="{x(a)}" cy="{y(b)}" r="4" fill="{colour}"/>' for a, b in front]
        level = bottom - 12 - 18 * (len(runs) - 1 - place)
        left = WIDTH - 240
        parts.append(
            f'<path d="M{left} {level - 4}h28" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            f'<text x="{left + 36}" y="{level}">{escape(run["name"][:28])}</text>'
        )
    return "".join([*parts, "</svg>"])
