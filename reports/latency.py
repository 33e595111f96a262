"""Latencies in words: where each comes from, how sure it is, and what the measuring at the end found."""

from __future__ import annotations

from reports.formatting import format_ms
from reports.trial_view import TrialView
from reports.view import RunView
from trials.budgets.pricing import LatencyFigure, Source


def latency_label(figure: LatencyFigure | None) -> str:
    """The p50, marked ~ where it was never steady and ≈ where it is predicted."""
    if figure is None:
        return format_ms(None)
    mark = "≈" if figure.source is Source.PREDICTED else "" if figure.stable else "~"
    return f"{mark}{format_ms(figure.p50_ms)}"


def interval_text(figure: LatencyFigure) -> str:
    """`1.07 to 1.12 ms`."""
    return f"{format_ms(figure.low_ms).removesuffix(' ms')} to {format_ms(figure.high_ms)}"


def latency_note(trial: TrialView) -> str:
    """What must be known of a trial's latency beside the figure; empty for a steady one within its budget."""
    figure = trial.latency
    if figure is None:
        return ""
    notes = []
    if figure.source is Source.PREDICTED:
        notes.append("predicted")
    if not figure.stable:
        notes.append("unstable")
    if trial.crosses:
        notes.append(f"likely {interval_text(figure)}, which crosses the budget")
    return ", ".join(notes)


def latency_story(view: RunView) -> list[str]:
    """How the latencies of a run came about, in sentences."""
    sources = [trial.latency.source for trial in view.complete if trial.latency is not None]
    counted = {source: sources.count(source) for source in Source}
    story = []
    if view.profile is not None:
        told = view.profile.describe()
        story.append(
            f"Latency is that of {told['device']} ({told['target']}), by a device profile of {told['measured']}; on "
            f"held-out architectures its predictions were off by {told['held-out error']}, by FLOPs only "
            f"{told['FLOPs only']}. Candidates were gated where the prediction was over the budget by more than that."
        )
    if counted[Source.MEASURED]:
        rounds = sorted(len(view.measured[t.result.number]) for t in view.complete if t.result.number in view.measured)
        times = f"{rounds[0]}" if rounds[0] == rounds[-1] else f"{rounds[0]} to {rounds[-1]}"
        story.append(
            f"{_networks(counted[Source.MEASURED])} measured for good, with no trial running, beside the all-add "
            f"network, {times} time{'' if times == '1' else 's'} each."
        )
    off = len(view.taken_off)
    if counted[Source.MEASURED] and any(c.metric == "latency_ms" for c in view.constraints):
        names = ", ".join(f"trial {trial.result.number}" for trial in view.taken_off)
        story.append(
            f"This took {off} candidate{'s' if off > 1 else ''} off the front: {names}."
            if off
            else "This took no candidate off the front."
        )
    if counted[Source.SCREENED]:
        story.append(
            f"{_networks(counted[Source.SCREENED])} timed by the worker that trained it, before training, while every "
            "other trial on the machine stood still."
        )
    if (untimed := len(view.complete) - len(sources)) and sources:
        story.append(
            f"{_networks(untimed)} not timed: no budget and no objective asked for it before the training, and the "
            "measuring at the end is of the front."
        )
    if view.final_stage is not None and view.final_stage.get("skipped"):
        story.append(f"The front was not measured: {view.final_stage['skipped']}.")
    crossing = [trial for trial in view.front if trial.crosses]
    if crossing:
        names = ", ".join(f"trial {trial.result.number}" for trial in crossing)
        story.append(f"Too near to the budget to be told from it: {names}.")
    return story


def _networks(count: int) -> str:
    return "One network was" if count == 1 else f"{count:,} networks were"
