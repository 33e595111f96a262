"""The front in a terminal: quality against a cost, a character a place."""

from __future__ import annotations

from collections.abc import Sequence

from reports.columns import COSTS
from reports.formatting import format_count, format_ms
from reports.front import non_dominated
from reports.trial_view import TrialView
from reports.view import RunView

#: From what is drawn first to what covers it.
_SIGNS = {"over": "x", "open": "□", "within": "·", "front": "●", "baseline": "★"}
_WORDS = {
    "over": "outside the budgets", "open": "not known", "within": "within", "front": "front", "baseline": "all-add",
}  # fmt: skip
_MARGIN = 9


def front_lines(view: RunView, width: int = 80, height: int = 14, cost: str = "macs") -> list[str]:
    """The completed trials that have the cost, as lines of at most `width` characters; none where there are fewer
    than two."""
    shown = [t for t in view.complete if t.objective(cost) is not None and t.quality is not None]
    if len(shown) < 2:
        return []
    able = [t for t in shown if t.able]
    kept = non_dominated([[t.quality or 0.0, t.objective(cost) or 0.0] for t in able], [True, False])
    front = {t.result.number for t, keep in zip(able, kept, strict=True) if keep}
    across = max(20, width - _MARGIN - 1)
    xs, ys = [t.objective(cost) or 0.0 for t in shown], [100 * (t.quality or 0.0) for t in shown]
    grid = [[" "] * across for _ in range(height)]
    for trial in sorted(shown, key=lambda t: list(_SIGNS).index(_kind(t, view, front))):
        column = _place(trial.objective(cost) or 0.0, xs, across)
        row = height - 1 - _place(100 * (trial.quality or 0.0), ys, height)
        grid[row][column] = _SIGNS[_kind(trial, view, front)]
    lines = []
    for row, cells in enumerate(grid):
        value = max(ys) - (max(ys) - min(ys)) * row / max(1, height - 1)
        label = f"{value:.2f}%" if row % 4 == 0 or row == height - 1 else ""
        lines.append(f"{label:>{_MARGIN - 2}} │{''.join(cells)}".rstrip())
    lines.append(" " * (_MARGIN - 1) + "└" + "─" * across)
    low, high = (format_ms(v) if cost == "latency_ms" else format_count(v) for v in (min(xs), max(xs)))
    between = max(1, across - len(low) - len(high))
    lines.append(" " * _MARGIN + low + COSTS[cost][: between - 2].center(between) + high)
    used = {_kind(t, view, front) for t in shown}
    lines.append(" " * _MARGIN + "   ".join(f"{sign} {_WORDS[kind]}" for kind, sign in _SIGNS.items() if kind in used))
    return lines


def _kind(trial: TrialView, view: RunView, front: set[int]) -> str:
    if view.baseline_trial is not None and trial.result.number == view.baseline_trial.result.number:
        return "baseline"
    if trial.result.number in front:
        return "front"
    return {True: "within", False: "over", None: "open"}[trial.feasible]


def _place(value: float, values: Sequence[float], size: int) -> int:
    low, high = min(values), max(values)
    return size // 2 if high <= low else min(size - 1, int((value - low) / (high - low) * size))
