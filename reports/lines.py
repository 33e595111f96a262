"""A trial in one line of text: what it chose, and what came of it."""

from __future__ import annotations

from reports.estimates import gain_text, percent_interval, seen_text
from reports.formatting import format_count, format_percent, format_points, format_ratio
from reports.latency import latency_label, latency_note
from reports.trial_view import TrialView
from reports.view import RunView
from search_spaces.architecture import Architecture


def choices_text(architecture: Architecture) -> str:
    """The choices in forward order; equal ones in a row are counted: `add x3, aff/4`."""
    runs: list[tuple[str, int]] = []
    for label in architecture.labels().values():
        if runs and runs[-1][0] == label:
            runs[-1] = label, runs[-1][1] + 1
        else:
            runs.append((label, 1))
    return ", ".join(label if count == 1 else f"{label} x{count}" for label, count in runs)


def headline(view: RunView, trial: TrialView) -> str:
    """Estimate or score and costs of a trial beside the trained baseline's."""
    r = trial.result
    reached = f"{format_percent(r.score)} {view.score_label}"
    if trial.estimate is not None:
        reached = f"{percent_interval(trial)} {view.score_label} ({seen_text(view, trial)})"
    text = f"{reached}, {format_count(r.macs)} FLOPs"
    if trial.latency is not None:
        text += f", {latency_label(trial.latency)}"
    base = view.baseline_trial
    if base is None or base.result.score is None or r.score is None or base.result.number == r.number:
        return text
    gain, cost = gain_text(trial) or format_points(r.score - base.result.score), format_ratio(r.macs / base.result.macs)
    text += f"; {gain} points on all-add at {cost} FLOPs"
    if trial.latency is not None:
        text += f" and {format_ratio(trial.latency.relative)} latency"
    if trial.crosses:
        text += f" ({latency_note(trial)})"
    return text
