"""What a run comes to, in words and single figures: verdict, tiles, budgets, where the time went."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from reports.budgets import METRICS, budget_words, format_cost, limits, over_budget
from reports.errors import NothingToSelect
from reports.estimates import (
    assumed_seeds,
    gain_text,
    percent_interval,
    probability_text,
    sure_of_gain,
    trainings_text,
)
from reports.formatting import (
    MISSING,
    format_count,
    format_duration,
    format_percent,
    format_ratio,
    format_time,
)
from reports.front import hypervolume
from reports.trial_view import OBJECTIVES, TrialView
from reports.verdict import verdict_by_estimates, verdict_of
from reports.view import RunView
from trials.data.findings import sentences
from trials.tasks.metrics import ALL_FIGURES
from trials.trial import TrialState

#: Two seeds of one network differ by about this much, where `nas noise` has not measured it: a smaller gain of one seed
#: shows nothing.
SEED_NOISE = 0.007


@dataclass(frozen=True)
class Tile:
    """One figure of the head: `title` explains it to whoever asks."""

    label: str
    value: str
    note: str = ""
    title: str = ""


@dataclass(frozen=True)
class Verdict:
    """The run in one line, and what keeps that line honest."""

    headline: str
    caveat: str


def ratio(value: float | None, reference: float | None) -> float | None:
    """value / reference, None where either is not known or the reference is 0."""
    return None if value is None or not reference else value / reference


def best(view: RunView) -> TrialView | None:
    """The trial of the highest score within every budget, None when there is none."""
    try:
        return view.select("best")
    except NothingToSelect:
        # The front needs every objective; a latency may be missing where the score is there.
        feasible = view.feasible
    return max(feasible, key=lambda t: (t.quality or 0.0, -t.result.number), default=None)


def verdict(view: RunView) -> Verdict:
    """What the finalists say of the search; without any, the best feasible architecture against the all-add baseline,
    claiming no more than was seen."""
    selected, judged = _by_selection(view), verdict_of(view)
    if judged is not None and judged.gain is not None:
        return Verdict(f"{judged.text}.", f"When it was selected: {selected.headline} {selected.caveat}")
    # Where the finalists could not be judged, the text says why.
    caveat = selected.caveat if judged is None else f"{judged.text}. {selected.caveat}"
    estimated = verdict_by_estimates(view)
    if estimated is None:
        return Verdict(selected.headline, caveat)
    return Verdict(f"{estimated.text}.", f"{selected.headline} {caveat}")


def _by_selection(view: RunView) -> Verdict:
    if not view.complete:
        return Verdict("No trial has been completed yet, so there is nothing to compare.", "")
    winner = best(view)
    if winner is None:
        return Verdict(_nothing_feasible(view), "")
    base = view.baseline_trial
    name = f"Trial {winner.result.number}"
    reached = f"{_reached(winner)} validation {view.score_label}"
    if base is not None and base.result.number == winner.result.number:
        within = " within the budgets" if view.constraints else ""
        where = f"trial {base.result.number}, {reached}"
        line = f"No architecture{within} had a higher {view.score_label} than the all-add baseline ({where})."
        return Verdict(line, _caveat(view, None))
    costs = _cost_ratios(winner, view)
    if base is None or base.result.score is None:
        line = f"{name} has the highest {view.score_label} within the budgets: {reached}{costs}."
        return Verdict(line, "The all-add baseline was not trained, so no gain can be stated. " + _caveat(view, None))
    gain = (winner.quality or 0.0) - (base.quality or 0.0)
    direction = "above" if gain >= 0 else "below"
    beside = gain_text(winner).lstrip("+−") or f"{100 * abs(gain):.2f}"
    line = f"{name} reaches {reached}, {beside} points {direction} the all-add baseline ({_reached(base)}){costs}."
    return Verdict(line, _caveat(view, gain))


def _reached(trial: TrialView) -> str:
    """Its estimate, or its score where there is none."""
    return format_percent(trial.result.score) if trial.estimate is None else percent_interval(trial)


def _cost_ratios(trial: TrialView, view: RunView) -> str:
    if view.baseline is None:
        return ""
    flops = ratio(trial.result.macs, view.baseline.macs)
    latency = None if trial.latency is None else trial.latency.relative
    parts = [f"{format_ratio(flops)} its FLOPs"] if flops else []
    parts += [f"{format_ratio(latency)} its p50 latency"] if latency else []
    return f", at {' and '.join(parts)}" if parts else ""


def _caveat(view: RunView, gain: float | None) -> str:
    text = _estimated_caveat(view)
    if text is None:
        text = _assumed_caveat(gain) if view.task == "classification" else _UNKNOWN_NOISE
    images = next((t.result.images for t in view.complete if t.result.correct is not None), None)
    if images:
        text += f" One of the {images:,} validation images is {100 / images:.2g} points."
    return text


def _estimated_caveat(view: RunView) -> str | None:
    """What the intervals are and what they say of the best beside the baseline; None where nothing was estimated."""
    winner, base = best(view), view.baseline_trial
    if view.model is None or winner is None or winner.estimate is None:
        return None
    text = f"Estimated from {trainings_text(view)}, in scores and losses, with intervals of 90 %."
    if base is not None and winner.better is not None and base.result.number != winner.result.number:
        text += f" It is better than all-add with a probability of {probability_text(winner.better)}"
        text += "." if sure_of_gain(view) else ": not sure enough to be called a gain."
    return text if view.model.seeds_seen else f"{text} {assumed_seeds(view)}"


_UNKNOWN_NOISE = (
    "Each architecture was trained once, and what seeds alone would change was not measured: nas noise does that."
)


def _assumed_caveat(gain: float | None) -> str:
    noise = f"{100 * SEED_NOISE:.1f} points"
    text = (
        f"Each architecture was trained once. Differences under about {noise} are within seed noise unless "
        "repeated seeds show otherwise"
    )
    if gain is None:
        return f"{text}."
    if abs(gain) < SEED_NOISE:
        return f"{text}, and this difference of a single seed is among them."
    return f"{text}. This difference is larger, but of a single seed: repeat it over several before relying on it."


def _nothing_feasible(view: RunView) -> str:
    line = f"No trained architecture is within the budgets ({budget_words(view)})."
    priced = [t for t in view.complete if over_budget(t)]
    if priced:
        nearest = min(priced, key=lambda t: max(t.violations.values()))
        line += f" The nearest is trial {nearest.result.number}: {over_budget(nearest)}."
    elif view.baseline is None:
        line += " The costs of the all-add baseline, which the budgets are held against, are not in the record."
    return line


def data_findings(view: RunView) -> list[str]:
    """What the record says is wrong with the data, a sentence each."""
    return sentences((view.description.get("data") or {}).get("findings") or {})


_LEFT_OUT = {
    "unreadable": "left out, as it cannot be read",
    "dropped": "left out, as it is bad",
    "left_out": "left out with a bad annotation",
}


def _each_of(finding: Mapping[str, Any]) -> str:
    """All that the record has of what was left out, by name."""
    examples = list(finding.get("examples") or ())
    more = int(finding.get("images", 0)) - len(examples)
    return "; ".join([*examples, *([f"and {more:,} more"] if more > 0 else [])])


def data_facts(view: RunView) -> dict[str, Any]:
    """What the record says of the data, findings in words, and the classes last: they may be a thousand words."""
    data = dict(view.description.get("data") or {})
    findings = data.pop("findings", None)
    if findings is not None:
        data["equal images, unreadable files"] = "; ".join(data_findings(view)) or "none found"
        data |= {said: left for kind, said in _LEFT_OUT.items() if (left := _each_of(findings.get(kind) or {}))}
    return dict(sorted(data.items(), key=lambda item: item[0] == "classes"))


def tiles(view: RunView) -> tuple[Tile, ...]:
    """The head's figures."""
    volume, box = front_volume(view)
    wall, open_sessions = wall_seconds(view)
    unended = f"{open_sessions} of {len(view.sessions)} sessions without a recorded end" if open_sessions else ""
    names = " and ".join(METRICS.get(name, name) for name in view.objectives)
    return (
        Tile("trained", f"{view.count(TrialState.COMPLETE):,}", f"{len(view.feasible):,} within the budgets"),
        Tile("gated", f"{view.count(TrialState.GATED):,}", "never trained", "Over a budget, so not trained."),
        Tile("failed", f"{view.count(TrialState.FAILED):,}", _failures(view)),
        Tile("stopped", f"{view.count(TrialState.STOPPED):,}", "run again on resuming"),
        Tile("on the front", f"{len(view.front):,}", "", f"Non-dominated in {names}, within every budget."),
        Tile("hypervolume", "n/a" if volume is None else f"{volume:.3f}", f"of 1, from {box}" if box else "", _VOLUME),
        Tile("wall time", format_duration(wall), unended, "All sessions with a recorded end, added up."),
    )


def _failures(view: RunView) -> str:
    kinds = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in view.failures.items())
    return kinds or "reasons in All trials"


_VOLUME = (
    "The share of the box that the front dominates. The box runs from 0 to 1 in each figure of quality and, for each "
    "cost, from 0 to the reference point: the budget, or 1.1 times the largest cost of a feasible trial where there is "
    "no budget."
)


def front_volume(view: RunView) -> tuple[float | None, str]:
    """The front's hypervolume as a share of the box up to the reference point, and that point in words."""
    front, names = view.front, view.objectives
    if not front or any(name not in OBJECTIVES for name in names):
        return None, ""
    reference, words = reference_point(view)
    points = [[trial.objective(name) or 0.0 for name in names] for trial in front]
    box = math.prod(bound or 1.0 for bound in reference)
    return hypervolume(points, reference, [OBJECTIVES[name] for name in names]) / box, ", ".join(words)


def reference_point(view: RunView) -> tuple[list[float], list[str]]:
    """What a front's hypervolume is held against, objective by objective, and that in words."""
    reference, words = [], []
    for name in view.objectives:
        if name in ALL_FIGURES:
            reference.append(0.0)
            words.append(f"{METRICS[name]} 0")
            continue
        budgets = [limit.value for limit in limits(view) if limit.metric == name]
        largest = max((t.objective(name) or 0.0 for t in view.feasible), default=0.0)
        reference.append(min(budgets) if budgets else 1.1 * largest)
        words.append(f"{METRICS[name]} {format_cost(name, reference[-1])}")
    return reference, words


def wall_seconds(view: RunView) -> tuple[float | None, int]:
    """The wall time of the sessions that recorded their end, and the number of those that did not."""
    ended = [s.ended_at - s.started_at for s in view.sessions if s.ended_at is not None]
    return (sum(ended) if ended else None), len(view.sessions) - len(ended)


def spent(view: RunView) -> list[Tile]:
    """Where the time went, as far as the record tells."""
    results = view.results
    total, training = sum(r.seconds for r in results), sum(r.train_seconds for r in results)
    figures = [
        Tile("spent in trials", format_duration(total), "all workers added up"),
        Tile("of which training", format_duration(training), f"{format_percent(ratio(training, total), 0)} of it"),
    ]
    if view.parent is not None and view.parent["seconds"]:
        note = "once, before the first trial"
        figures.append(Tile("training what all start from", format_duration(view.parent["seconds"]), note))
    epochs, train = sum(len(r.curve) for r in results), (view.description.get("data") or {}).get("train")
    if isinstance(train, int):
        figures.append(Tile("images trained", format_count(epochs * train), f"{epochs:,} epochs of {train:,} images"))
    rates = [r.images_per_second for r in results if r.images_per_second]
    if rates:
        figures.append(Tile("throughput", f"{format_count(median(rates))}/s", "images a second, median over trials"))
    fixed = fixed_seconds(view)
    if fixed is not None:
        note = "median; the proposal, its way to a worker and back, building and recording"
        figures.append(Tile("fixed cost of a trial", f"{fixed:.3f} s", note))
    gated = view.count(TrialState.GATED)
    seconds = [r.seconds for r in results if r.state is TrialState.COMPLETE]
    if gated and seconds:
        note = f"{gated:,} gated × median trial of {format_duration(median(seconds))}"
        figures.append(Tile("saved by gating (estimate)", format_duration(gated * median(seconds)), note))
    return figures


def fixed_seconds(view: RunView) -> float | None:
    """What a trial costs beside measuring, training and evaluating: the median of the trained ones, None for none."""
    complete = (result for result in view.results if result.state is TrialState.COMPLETE)
    known = [result.timing.fixed_s for result in complete if result.timing is not None]
    return median(known) if known else None


def sessions(view: RunView) -> list[dict[str, str]]:
    """The sessions' rows: when, how long, how they ended, their details."""
    return [
        {
            "id": str(s.id),
            "started": format_time(s.started_at),
            "wall": format_duration(None if s.ended_at is None else s.ended_at - s.started_at),
            "outcome": s.outcome or "no recorded end: running, or killed",
            "details": ", ".join(f"{key} {value}" for key, value in (s.details or {}).items()),
        }
        for s in view.sessions
    ]


def environments(view: RunView) -> list[tuple[int, dict[str, Any]]]:
    """The different environments that trials were measured in, and how many trials each; most trials first."""
    found = ({k: v for k, v in r.environment.items() if k not in ("earlier_attempts", "process")} for r in view.results)
    texts = Counter(tuple((str(k), str(v)) for k, v in sorted(one.items())) for one in found)
    return [(n, dict(items)) for items, n in texts.most_common() if items]


def space_of(view: RunView) -> Mapping[str, Any]:
    """The description's space, empty when it is not there."""
    found: Mapping[str, Any] = view.description.get("space") or {}
    return found


def space_fingerprint(view: RunView) -> str:
    """16 hex digits that change with the space: its own fingerprint, or the hash of its recorded JSON."""
    space, points = space_of(view), view.description.get("points") or ()
    if not space and not points:
        return MISSING
    told = json.dumps({"space": space, "points": points}, sort_keys=True, default=str)
    return str(space.get("fingerprint") or hashlib.sha256(told.encode()).hexdigest()[:16])
