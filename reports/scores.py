"""The figures of tasks that have several: of the front and the baseline, by size of object and by category."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.formatting import format_ms, format_percent, format_points
from reports.trial_view import TrialView
from reports.view import RunView
from trials.tasks.metrics import FIGURES, label
from trials.tasks.registry import TASKS

#: In a run's folder: validation images, as they are and as its best network sees them.
PICTURE_NAME = "scenes.png"
#: The trials that a table by category has a column for: a line of it is as wide as the page.
_TRIALS_BY_CATEGORY = 5


@dataclass(frozen=True)
class Cell:
    """A figure as text, and the points that it differs by from the baseline's; empty where it is the baseline's."""

    text: str
    gain: str = ""


@dataclass(frozen=True)
class FigureTable:
    """Lines of figures under their columns; `heads` names what each line is of."""

    columns: tuple[str, ...]
    heads: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]


def figure_table(view: RunView) -> FigureTable | None:
    """A line for each trial of the front and the baseline, under the task's figures; None for a task of one figure."""
    names = [name for name in FIGURES[view.task] if any(t.result.figures.get(name) is not None for t in view.complete)]
    if len(names) < 2:
        return None
    shown = _shown(view)
    lines = tuple(tuple(_cell(trial, view, name) for name in names) for trial in shown)
    return FigureTable(tuple(label(name) for name in names), tuple(_head(t, view) for t in shown), lines)


def category_table(view: RunView) -> FigureTable | None:
    """A line for each category, a column for the baseline and the first of the front; None where none is recorded."""
    key = TASKS[view.task].by_category
    shown = _shown(view)[:_TRIALS_BY_CATEGORY]
    categories = list(shown[0].result.figures.get(key, {})) if key is not None and shown else []
    if not categories:
        return None
    lines = tuple(tuple(_cell(trial, view, str(key), category) for trial in shown) for category in categories)
    return FigureTable(tuple(_head(trial, view) for trial in shown), tuple(categories), lines)


def figures_text(trial: TrialView) -> str:
    """`AP 17.4%, AP50 30.1%, …` of one trial; empty where its score is all there is."""
    known = {name: value for name, value in trial.result.figures.items() if isinstance(value, float)}
    return ", ".join(f"{label(name)} {format_percent(value)}" for name, value in known.items())


def picture_of(view: RunView) -> str | None:
    """The picture that `nas search` left in the run's folder, as a data URI; None where there is none."""
    path = view.path / PICTURE_NAME
    if view.seen is None or not path.is_file():
        return None
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def compared_text(view: RunView) -> str:
    """How the pictured images were chosen, in sentences that end in a space; empty where there was no choice."""
    seen = view.seen or {}
    told = seen.get("compared")
    if not told:
        return ""
    by = "F1 of boxes that overlap by half" if view.task == "detection" else "share of pixels that are named rightly"
    kinds = [(told["shown_better"], "gains most"), (told["shown_worse"], "loses most")]
    shown = " and the ".join(f"{count} on which it {what}" for count, what in kinds if count)
    return (
        f"Of {told['images']:,} images trial {seen['trial']} agrees more than all-add with what is annotated on "
        f"{told['better']:,} and less on {told['worse']:,} ({by}). "
    ) + (f"Shown are the {shown}. " if shown else "")


def decoding_text(view: RunView) -> str | None:
    """What decoding takes beside the network's own latency, in a sentence."""
    timed = (view.seen or {}).get("decoding")
    if timed is None:
        return None
    mark = "" if timed["stable"] else "~"
    return (
        f"Decoding and non-maximum suppression are not in a detector's latency: of an image they took "
        f"{mark}{format_ms(timed['p50_ms'])} (p50) behind trial {view.seen['trial'] if view.seen else ''}, on the "
        "machine that the search was started on."
    )


def _shown(view: RunView) -> Sequence[TrialView]:
    """The baseline, then the front."""
    base = view.baseline_trial
    rest = [t for t in view.front if base is None or t.result.number != base.result.number]
    return rest if base is None else [base, *rest]


def _head(trial: TrialView, view: RunView) -> str:
    return f"{trial.result.number} (all-add)" if trial is view.baseline_trial else str(trial.result.number)


def _cell(trial: TrialView, view: RunView, name: str, category: str | None = None) -> Cell:
    value, base = _figure(trial, name, category), view.baseline_trial
    reference = None if base is None or base is trial else _figure(base, name, category)
    gain = "" if value is None or reference is None else format_points(value - reference)
    return Cell(format_percent(value), gain)


def _figure(trial: TrialView, name: str, category: str | None) -> float | None:
    found: Any = trial.result.figures.get(name)
    value: float | None = found if category is None else (found or {}).get(category)
    return value
