"""What is worth shipping, and the front: the trials that a reader acts on, each with the command that exports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reports.blocks import Block, absent, chart, lead, section
from reports.budgets import budget_words, limits
from reports.drawing import Palette
from reports.estimates import trainings_text
from reports.formatting import capital, format_count, format_ms, format_ratio
from reports.tables import Row, badges, front_rows, row_of
from reports.verdict import verdict_of
from reports.view import RunView
from trials.trial import TrialState

#: What a selector is called, in the order in which they are shown.
SELECTED = {
    "verdict": "the verdict's", "knee": "knee", "best": "most accurate", "fastest": "fastest",
    "cheapest": "fewest FLOPs",
}  # fmt: skip


def ship(view: RunView, palette: Palette) -> list[Block]:
    """The trials to choose from under the verdict, each within every budget."""
    found = badges(view)
    judged = verdict_of(view)
    if judged is not None and judged.trial is not None:
        found[judged.trial].insert(0, "verdict")
    trials = {t.result.number: t for t in view.trials}
    names = {n: [SELECTED[m] for m in SELECTED if m in marks] for n, marks in found.items()}
    order = sorted((n for n in names if names[n]), key=lambda n: [list(SELECTED.values()).index(m) for m in names[n]])
    rows = [row_of(trials[number], view, palette, tuple(names[number])) for number in order]
    if not rows:
        return []
    return [_architectures("ship", "What to ship", rows, view, _ship_note(view))]


def _ship_note(view: RunView) -> str:
    within = "every one within the budgets" if view.constraints else "there is no budget"
    made = "Score on the validation split, of one training each"
    if view.model is not None:
        made = (
            f"Scores and gains are estimates from {trainings_text(view)}, ± where each lies with a "
            "probability of 90 %; "
            "P: how probably it is better than all-add"
        )
    device = view.latency_target or (view.profile.describe()["device"] if view.profile is not None else None)
    timed = "" if not any(t.latency for t in view.complete) else f" Latency is of one image{_on(device, view)}."
    return f"{made}; {within} ({budget_words(view)}).{timed}"


def _on(device: str | None, view: RunView) -> str:
    found = device or next((str(r.environment["device"]) for r in view.results if r.environment.get("device")), None)
    return "" if found is None else f" on {found}"


def front(view: RunView, palette: Palette) -> dict[str, Any]:
    """The chart of all trials, and what is selected in it."""
    if not view.complete:
        return section("pareto", "Pareto front", [absent("No trial has been completed, so there is nothing to plot.")])
    told = "estimated" if view.model is not None else "validation"
    feasible, infeasible = len(view.feasible), sum(t.feasible is False for t in view.complete)
    unknown = len(view.complete) - feasible - infeasible
    alt = (
        f"{capital(view.score_label)} against cost of {len(view.complete):,} trained trials: "
        f"{len(view.front):,} on the "
        f"front, {feasible:,} within the budgets, {infeasible:,} outside"
        + (f", {unknown:,} of which that is not known." if unknown else ".")
    )
    notes = [_front_note(view)]
    if unknown:
        notes.append(
            f"Open squares: {unknown:,} of which it is not known whether they are within the budgets, for a figure was "
            "not measured, or not well enough; they stand on no front."
        )
    if (gated := view.count(TrialState.GATED)) > 0:
        notes.append(f"{gated:,} gated trials were never trained and are ticks along the bottom.")
    untimed = sum(t.latency is None for t in view.complete)
    if 0 < untimed < len(view.complete):
        notes.append(f"{untimed:,} trained {'trials were' if untimed > 1 else 'trial was'} not timed.")
    blocks = [
        lead(
            "Each mark is one architecture; higher is better, further left is cheaper. Drag a budget's line and the "
            "front under it is answered at once, from what was trained. Select marks to compare them."
        ),
        chart("front", "front-chart", f"{capital(told)} {view.score_label} and cost", alt, " ".join(notes)),
        {"kind": "shortlist"},
    ]
    if all(t.latency is None for t in view.complete):
        blocks.append(
            absent(f"Latency was not measured in this run, so {view.score_label} against latency is not shown.")
        )
    return section("pareto", "Pareto front", blocks)


def _front_note(view: RunView) -> str:
    outside = [f"{limit.text}" for limit in limits(view)]
    budgets = f" Budgets: {', '.join(outside)}." if outside else ""
    if view.model is None:
        return f"Scores of one training each on the validation split, n = {len(view.complete):,}.{budgets}"
    return (
        f"Estimates by a Gaussian model of {trainings_text(view)}, scores and losses together; bars are intervals of "
        f"90 %, drawn for the front, the baseline and what is selected. n = {len(view.complete):,} trials. The line "
        f"joins the trials within the budgets that no other one beats on both axes.{budgets}"
    )


def front_table(view: RunView, palette: Palette) -> dict[str, Any]:
    rows = front_rows(view, palette)
    if not rows:
        why = "no trial has been completed" if not view.complete else "no trained one is within the budgets"
        return section("front", "The front", [absent(f"No architecture is on the front: {why}.")])
    if view.front:
        count = f"{len(view.front)} {'architecture' if len(view.front) == 1 else 'architectures'}"
        note = f"{count} on the front, the highest {view.score_label} first. "
    else:
        note = "No trained architecture is within the budgets; the baseline is shown for reference. "
    note += (
        "Differences (Δ) and ratios are to the all-add baseline. Each cell of a strip is a fusion point, in forward "
        "order, grouped by stage."
    )
    return section("front", "The front", [_architectures("front", "The front", rows, view, note)])


def _architectures(key: str, title: str, rows: Sequence[Row], view: RunView, note: str) -> Block:
    return {
        "kind": "architectures", "key": key, "title": title, "score_label": capital(view.score_label),
        "note": note, "rows": [_told(row, view) for row in rows],
    }  # fmt: skip


def _told(row: Row, view: RunView) -> dict[str, Any]:
    """A row as texts, with the numbers that it is sorted by."""
    base = view.baseline_trial
    beside = "" if row.latency_ratio is None else format_ratio(row.latency_ratio)
    return {
        "number": row.number, "badges": list(row.badges), "note": row.note, "strip": asdict(row.strip),
        "quality": row.quality, "reached": row.reached, "seen": row.seen if view.model is not None else "",
        "gain": row.gain, "gain_text": row.gain_text, "better": row.better,
        "macs": row.macs, "macs_text": format_count(row.macs),
        "macs_ratio": "" if row.macs_ratio is None else format_ratio(row.macs_ratio),
        "params": row.params, "params_text": format_count(row.params),
        "p50_ms": row.p50_ms, "p50_text": row.latency, "p95_ms": row.p95_ms, "p95_text": format_ms(row.p95_ms),
        "latency_note": ", ".join(part for part in (beside, row.latency_note) if part),
        "command": row.command, "is_baseline": base is not None and base.result.number == row.number,
    }  # fmt: skip
