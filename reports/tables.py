"""The rows of the report's tables: the front, every trial, the operators at each fusion point."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

from reports.budgets import over_budget
from reports.drawing import Palette, Strip, merges_text, shape_text
from reports.errors import NothingToSelect
from reports.estimates import gain_text, percent_interval, probability_text, seen_text
from reports.formatting import format_percent, format_points
from reports.latency import latency_label, latency_note
from reports.selecting import selections
from reports.summary import ratio
from reports.trial_view import TrialView
from reports.view import RunView

#: What of an error message goes into the page: a page of 1,000 failures must still open.
_ERROR_CHARACTERS = 1500


@dataclass(frozen=True)
class Row:
    """A trial as a table shows it. What was not measured is None."""

    number: int
    state: str
    origin: str
    strip: Strip
    badges: tuple[str, ...]
    score: float | None
    quality: float | None
    reached: str
    seen: str
    gain: float | None
    gain_text: str
    better: str
    loss: float | None
    macs: int
    macs_ratio: float | None
    params: int
    p50_ms: float | None
    p95_ms: float | None
    latency_ratio: float | None
    latency: str
    latency_note: str
    seconds: float
    note: str
    error: str
    command: str


@dataclass(frozen=True)
class Standing:
    """The mean score of the trials that had one operator at one point; `shade` in 0..1 within the table."""

    mean: float
    n: int
    shade: float


@dataclass(frozen=True)
class PointRow:
    """A fusion point, and how the trials of each operator there did (None: none was trained)."""

    name: str
    kind: str
    merges: str
    shape: str
    stride: str
    standings: tuple[Standing | None, ...]


def front_rows(view: RunView, palette: Palette) -> list[Row]:
    """The front, the highest score first, then the baseline where it is not on it."""
    shown = list(view.front)
    base = view.baseline_trial
    if base is not None and all(t.result.number != base.result.number for t in shown):
        shown.append(base)
    marks = badges(view)
    return [row_of(trial, view, palette, tuple(marks[trial.result.number])) for trial in shown]


def badges(view: RunView) -> dict[int, list[str]]:
    """The selectors that answer with a trial, and `baseline`, by trial number."""
    found: dict[int, list[str]] = defaultdict(list)
    with suppress(NothingToSelect):
        for selector, trial in selections(view).items():
            found[trial.result.number].append(selector)
    if view.baseline_trial is not None:
        found[view.baseline_trial.result.number].append("baseline")
    return found


def export_command(view: RunView, number: int) -> str:
    """The command that exports a trial, safe to paste into a shell."""
    return f"nas export {shlex.quote(str(view.path))} {number} --out model-{number}"


def row_of(trial: TrialView, view: RunView, palette: Palette, marks: tuple[str, ...]) -> Row:
    """A trial as a table shows it, under the names in `marks`."""
    r, figure = trial.result, trial.latency
    base = None if view.baseline_trial is None else view.baseline_trial.result
    costs = view.baseline
    gain = None
    if base is not None and r.score is not None and base.score is not None and r.number != base.number:
        gain = r.score - base.score if trial.gain is None else trial.gain.mean / 100
    is_base = base is not None and base.number == r.number
    said = gain_text(trial) or ("0.00" if is_base else "n/a" if gain is None else format_points(gain))
    error = (r.error or "").strip()
    if len(error) > _ERROR_CHARACTERS:
        # A traceback says what went wrong in its last lines.
        error = "(shortened) …" + error[-_ERROR_CHARACTERS:]
    return Row(
        number=r.number,
        state=str(r.state),
        origin=r.origin,
        strip=palette.strip(r.architecture),
        badges=marks,
        score=r.score,
        quality=trial.quality,
        reached=format_percent(r.score) if trial.estimate is None else percent_interval(trial),
        seen=seen_text(view, trial),
        gain=gain,
        gain_text=said,
        better="" if trial.better is None or is_base else probability_text(trial.better),
        loss=r.loss,
        macs=r.macs,
        macs_ratio=None if costs is None else ratio(r.macs, costs.macs),
        params=r.params,
        p50_ms=None if figure is None else figure.p50_ms,
        p95_ms=None if figure is None else figure.p95_ms,
        latency_ratio=None if figure is None else figure.relative,
        latency=latency_label(figure),
        latency_note=latency_note(trial),
        seconds=r.seconds,
        note=over_budget(trial),
        error=error,
        command=export_command(view, r.number),
    )


def point_rows(view: RunView, operators: Sequence[str]) -> list[PointRow]:
    """Each fusion point in forward order with the mean score of the complete trials by operator."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in view.complete:
        for point, choice in trial.result.architecture.choices.items():
            scores[point, choice.op].append(trial.result.score or 0.0)
    means = {place: fmean(values) for place, values in scores.items()}
    low, high = min(means.values(), default=0.0), max(means.values(), default=0.0)

    def standing(place: tuple[str, str]) -> Standing | None:
        if place not in means:
            return None
        shade = (means[place] - low) / (high - low) if high > low else 0.5
        return Standing(means[place], len(scores[place]), round(shade, 3))

    return [
        PointRow(
            name=str(point.get("name", "")),
            kind=str(point.get("kind", "")),
            merges=merges_text(point),
            shape=shape_text(point),
            stride=str(point.get("stride", "")),
            standings=tuple(standing((str(point.get("name")), op)) for op in operators),
        )
        for point in view.description.get("points") or ()
    ]


def used_operators(view: RunView, palette: Palette) -> tuple[str, ...]:
    """The palette's operators that a complete trial used, in its order."""
    used = {choice.op for trial in view.complete for choice in trial.result.architecture.choices.values()}
    return tuple(op for op in palette.operators if op in used)


def spread_text(rows: Sequence[PointRow]) -> str:
    """The range of the table's means, which its shading spans."""
    means = [s.mean for row in rows for s in row.standings if s is not None]
    if not means:
        return ""
    gap = format_points(max(means) - min(means)).lstrip("+")
    return f"{format_percent(min(means))} (pale) to {format_percent(max(means))} (dark), {gap} points apart"
