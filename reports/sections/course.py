"""How the search came to where it is, and what that took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from statistics import median
from typing import Any

from reports.blocks import Block, absent, chart, heading, table, text, tiles
from reports.blocks import section as part
from reports.course import course_of
from reports.drawing import choices_text
from reports.effort import effort_story
from reports.formatting import format_duration, format_percent
from reports.noise import counted
from reports.summary import front_volume, sessions, spent
from reports.timeline import timeline_of
from reports.view import RunView
from trials.trial import TrialState

#: Curves beyond this many would be a tangle.
CURVES = 12
#: Bars of the timeline; of more trials, every so many-th is drawn.
BARS = 5_000


def course(view: RunView) -> dict[str, Any]:
    blocks = [*_progress(view), *_rungs(view), *_timeline(view), *_curves(view)]
    blocks += [heading("What the search cost"), tiles(asdict(tile) for tile in spent(view))]
    blocks += _saved(view)
    blocks += [text(sentence) for sentence in effort_story(view)]
    if view.sessions:
        rows = [[s["id"], s["started"], s["wall"], s["outcome"], s["details"]] for s in sessions(view)]
        blocks.append(table(["session", "started", "wall time", "outcome", "details"], rows))
    return part("course", "The course", blocks)


def _progress(view: RunView) -> list[Block]:
    steps = course_of(view)
    if not steps:
        return [absent("No completed trial is within the budgets, so there is no course to draw.")]
    xs: dict[str, list[float | None]] = {
        "trainings": [s.trainings for s in steps],
        "hours of workers": [round(s.worker_hours, 4) for s in steps],
    }
    if all(s.hours is not None for s in steps):
        xs["hours of the clock"] = [round(s.hours or 0.0, 4) for s in steps]
    over = {"trainings": [str(s.trainings) for s in steps], "worker hours": [f"{s.worker_hours:.4f}" for s in steps]}
    if all(s.hours is not None for s in steps):
        over["hours"] = [f"{s.hours:.4f}" for s in steps]

    def own(name: str, values: Iterable[str]) -> tuple[list[str], list[tuple[str, ...]]]:
        """The table of one figure: over what grows, and itself."""
        return [*over, name], list(zip(*over.values(), values, strict=True))

    _, box = front_volume(view)
    last = steps[-1]
    hindsight = "By what is known at the end: earlier estimates are not kept."
    best = [{"name": f"best {view.score_label} (%)", "y": [round(100 * s.best, 4) for s in steps], "step": True}]
    charts = []
    if all(s.volume is not None for s in steps):
        volume = [{"name": "hypervolume", "y": [round(s.volume or 0.0, 5) for s in steps], "step": True}]
        charts.append(chart(
            "lines", "volume", "Hypervolume of the front",
            f"From {steps[0].volume:.3f} to {last.volume:.3f} of 1 after {last.trainings:,} trainings.",
            f"Share of the box that the front dominates (reference: {box}). {hindsight} "
            f"n = {last.trainings:,} trainings.", *own("hypervolume", (f"{s.volume:.4f}" for s in steps)), xs=xs,
            series=volume, unit="share of the box",
        ))  # fmt: skip
    charts.append(chart(
        "lines", "best", "The best so far", f"From {format_percent(steps[0].best)} to {format_percent(last.best)} "
        f"{view.score_label}.", f"The best trial within the budgets, by {_what(view)}. {hindsight}",
        *own(f"best {view.score_label} (%)", (f"{100 * s.best:.3f}" for s in steps)), xs=xs, series=best,
        unit=f"{view.score_label} (%)",
    ))  # fmt: skip
    if last.better is not None:
        better = [{"name": "P(better)", "y": [round(100 * (s.better or 0.0), 2) for s in steps], "step": True}]
        charts.append(chart(
            "lines", "better", "P(the best is better than all-add)",
            f"At the end {100 * last.better:.0f} %.",
            f"Of the best trial so far, by the model of all trainings. {hindsight}",
            *own("P(best better than all-add)", ("" if s.better is None else f"{s.better:.3f}" for s in steps)), xs=xs,
            series=better, unit="%", range=[0, 100],
        ))  # fmt: skip
    return [{"kind": "charts", "charts": charts}]


def _what(view: RunView) -> str:
    return "score" if view.model is None else "estimate"


def _rungs(view: RunView) -> list[Block]:
    if len(view.rungs) < 2 or not view.complete:
        return []
    longest = Counter(trial.longest.epochs for trial in view.complete)
    rows = [
        [str(epochs), str(sum(n for e, n in longest.items() if e >= epochs)), str(longest.get(epochs, 0))]
        for epochs in view.rungs
    ]
    note = "Every rung is a complete schedule, annealed to its end; who is not promoted stays with its shorter look."
    return [
        heading("Rungs"),
        table(["epochs", "architectures looked at for so long", "of these no longer"], rows, note),
    ]


def _timeline(view: RunView) -> list[Block]:
    lanes, bars = timeline_of(view)
    if not bars:
        return []
    busy = sum(bar.end - bar.start for bar in bars)
    whole = max(bar.end for bar in bars) * len(lanes)
    shown = bars[:: 1 + len(bars) // BARS]
    rows = [[b.number, lanes[b.lane], b.process, b.start, b.end, b.state] for b in shown]
    every = f" {len(shown):,} of {len(bars):,} trials are drawn." if len(shown) < len(bars) else ""
    share = format_percent(min(1.0, busy / whole) if whole else None, 0)
    who = (
        "A lane is a worker of a host; one that began when another had ended has its lane."
        if any(bar.process for bar in bars)
        else "The record does not name the workers, so a trial stands in the first lane of its host that was free."
    )
    return [chart(
        "timeline", "timeline", "Who worked when",
        f"{counted(len(lanes), 'lane')} over {format_duration(whole / len(lanes))}.",
        f"From each trial's moment of recording, less the seconds that it held a worker. {who} Lanes were busy for "
        f"{share}.{every}",
        ["trial", "worker", "process", "start (s)", "end (s)", "state"], rows, lanes=lanes,
    )]  # fmt: skip


def _curves(view: RunView) -> list[Block]:
    """Training loss by epoch of the front's trials and the baseline."""
    base = view.baseline_trial
    rivals = [t for t in view.front if base is None or t.result.number != base.result.number]
    chosen = [t for t in rivals if t.result.curve][:CURVES]
    shown = [*chosen, *([base] if base is not None and base.result.curve else [])]
    if not shown:
        return []
    series, rows = [], []
    for trial in shown:
        kind = "baseline" if trial is base else "best" if trial is chosen[0] else "other"
        points = trial.result.curve
        x, y = [p.epoch for p in points], [round(p.train_loss, 5) for p in points]
        name = f"trial {trial.result.number}" + (", all-add" if trial is base else "")
        series.append({"name": name, "x": x, "y": y, "look": kind, "trial": trial.result.number})
        rows += [[trial.result.number, p.epoch, f"{p.train_loss:.5f}"] for p in points]
    first = choices_text(shown[0].result.architecture.choices)
    return [chart(
        "lines", "curves", "Training curves", f"Training loss by epoch of {len(shown)} trials.",
        f"Mean training loss of each epoch, for the trials of the front (at most {CURVES}) and all-add (dashed). Every "
        f"schedule is complete: annealed to its end within the epochs shown. Boldest: {first}.",
        ["trial", "epoch", "training loss"], rows, xs={"epoch": []}, series=series, unit="training loss",
    )]  # fmt: skip


def _saved(view: RunView) -> list[Block]:
    seconds = [t.result.seconds for t in view.complete]
    each = median(seconds) if seconds else None
    gated, failed = view.count(TrialState.GATED), [r for r in view.results if r.state is TrialState.FAILED]
    spared = "" if each is None else f"≈ {format_duration(gated * each)}"
    lost = sum(r.seconds for r in failed)
    retried = sum(r.attempts - 1 for r in view.results)
    ended = ((view.effort_plan or {}).get("ended") or {}).get("text")
    rows = [
        ["saved", "gated: over a budget, never trained", f"{gated:,}", spared],
        ["saved", "early stop", ended or "no", ""],
        ["wasted", "failed", f"{len(failed):,}", format_duration(lost)],
        ["wasted", "retried with nothing beside", f"{retried:,}", "not recorded apart" if retried else "0 s"],
    ]  # fmt: skip
    note = (
        "≈: as many times the median trial. Duplicates are never proposed: what is known is told, not trained, and the "
        "record does not count how often that was."
    )
    return [table(["", "what", "how many", "worker time"], rows, note)]
