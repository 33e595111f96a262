"""Runs, trials and spaces as a person reads them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from reports.budgets import missed_text
from reports.effort import effort_story
from reports.errors import NothingToSelect
from reports.estimates import gain_text, percent_interval, probability_text, seen_text
from reports.evidence import evidence_story
from reports.formatting import (
    format_bytes,
    format_count,
    format_duration,
    format_ms,
    format_percent,
    format_size,
    format_time,
)
from reports.front_text import front_lines
from reports.keeping import at_a_look, failed_sentence, looked_at_story
from reports.latency import interval_text, latency_label, latency_note, latency_story
from reports.lines import choices_text, headline
from reports.noise import advice_text, counted
from reports.precision import precision_story
from reports.regime import regime_story
from reports.scores import figures_text
from reports.selecting import selections
from reports.status import status_json
from reports.summary import fixed_seconds
from reports.trial_view import TrialView
from reports.trust import trust_story
from reports.verdict import verdict_of
from reports.view import RunView
from trials.tasks.metrics import ALL_FIGURES
from trials.trial import TrialResult, TrialState

#: Seconds of waiting that are worth a word.
_TOLD_S = 0.5


def trials_table(trials: tuple[TrialView, ...], score_label: str, width: int) -> Table:
    """Every trial on a line, the front marked; a narrow terminal gets fewer columns, and always the choices."""
    columns = [
        ("trial", 0, lambda t: str(t.result.number)),
        ("state", 0, lambda t: str(t.result.state)),
        ("origin", 150, lambda t: t.result.origin),
        (score_label, 0, lambda t: format_percent(t.result.score)),
        ("longest", 110 if any(trial.longer for trial in trials) else math.inf, _longest),
        ("estimate", 70, percent_interval),
        ("on all-add", 100, lambda t: gain_text(t) or ("n/a" if t.gain is None else "")),
        ("P(better)", 120, lambda t: "n/a" if t.better is None else probability_text(t.better)),
        ("loss", 150, lambda t: "n/a" if t.result.loss is None else f"{t.result.loss:.4f}"),
        ("FLOPs", 0, lambda t: format_count(t.result.macs)),
        ("params", 130, lambda t: format_count(t.result.params)),
        ("p50", 70, lambda t: latency_label(t.latency)),
        ("p95", 130, lambda t: format_ms(t.latency.p95_ms if t.latency else None)),
        ("time", 110, lambda t: format_duration(t.result.seconds)),
        ("", 90, lambda t: "front" if t.on_front else missed_text(t)),
    ]
    shown: list[tuple[str, Callable[[TrialView], str]]] = []
    shown += [(name, text) for name, least, text in columns if width >= least]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name, _ in shown:
        table.add_column(name, justify="left" if name in ("state", "origin", "") else "right", no_wrap=True)
    table.add_column("choices", overflow="fold", min_width=16)
    for trial in trials:
        style = "bold" if trial.on_front else "bright_black" if trial.result.state is not TrialState.COMPLETE else ""
        note = trial.result.error or choices_text(trial.result.architecture)
        table.add_row(*(text(trial) for _, text in shown), note, style=style)
    return table


def _longest(trial: TrialView) -> str:
    """What its longest look came to: `71.20% of 9`; empty where there was one look."""
    return "" if trial.longer is None else f"{format_percent(trial.longer.score)} of {trial.longer.epochs}"


def print_run(console: Console, view: RunView) -> None:
    """The trials of a run and its selections."""
    console.print(trials_table(view.trials, view.score_label, console.width))
    for line in front_lines(view, min(console.width, 100)):
        console.print(line, markup=False, highlight=False)
    console.print(f"\nbudgets: {view.budget_text()}; objectives: {', '.join(view.objectives)}")
    if any(t.latency is not None and not t.latency.stable for t in view.trials):
        console.print("~ a latency that was measured on a machine that was not quiet")
    for sentence in (*regime_story(view), *precision_story(view), *(latency_story(view) if view.complete else ())):
        console.print(sentence, highlight=False, markup=False)
    try:
        found = selections(view)
    except NothingToSelect as error:
        console.print(str(error), markup=False)
        return
    for selector, trial in found.items():
        console.print(f"{selector:<9} trial {trial.result.number}: {headline(view, trial)}", highlight=False)
    for sentence in (*evidence_story(view), *trust_story(view), *_verdict(view)):
        console.print(sentence, highlight=False, markup=False)


def _verdict(view: RunView) -> list[str]:
    """What the finalists say, where they are through."""
    found = verdict_of(view)
    return [] if found is None else [f"verdict: {found.text}"]


def _waiting(result: TrialResult) -> str:
    waited = 0.0 if result.timing is None else result.timing.wait_s
    return "" if waited < _TOLD_S else f", {format_duration(waited)} waiting for others on the machine"


def print_trial(console: Console, view: RunView, trial: TrialView) -> None:
    """One trial in full."""
    r = trial.result
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows: list[tuple[str, str]] = [
        ("trial", f"{r.number} ({r.state}, {r.origin}), architecture {r.architecture.key}"),
        ("result", headline(view, trial)),
        ("feasible", {True: "yes", False: "no", None: "not known"}[trial.feasible]),
        ("on front", "yes" if trial.on_front else "no"),
        ("parameters", f"{r.params:,}"),
        ("FLOPs", f"{r.macs:,} multiply-adds"),
        ("time", f"{format_duration(r.seconds)}, {format_duration(r.train_seconds)} of it training{_waiting(r)}"),
        ("seed", str(r.seed)),
    ]
    if r.workload is not None:
        w = r.workload
        rows.insert(6, ("of these", f"{w.elementwise_ops:,} pooling, norms and elementwise"))
        rows.insert(7, ("moved", f"{format_bytes(w.bytes_moved)}, nothing fused"))
        memory = f"{format_bytes(w.inference_bytes)} at the peak of inference"
        rows.insert(8, ("activations", f"{memory}, {format_bytes(w.training_bytes)} saved in training, an image"))
    if r.correct is not None and r.images is not None:
        rows.append(("validation", f"{r.correct:,} of {r.images:,} right, loss {r.loss:.4f}"))
    if trial.longer is not None:
        loss = "" if trial.longer.loss is None else f", loss {trial.longer.loss:.4f}"
        rows.append(("longest look", f"{seen_text(view, trial)}{loss}"))
    if r.tempered_loss is not None:
        rows.append(("tempered", f"loss {r.tempered_loss:.4f} at its own temperature, {r.temperature:.2f}"))
    if trial.fails_longer is not None:
        rows.append(("longer look", f"of {trial.fails_longer.epochs} epochs failed: {trial.fails_longer.error}"))
    if figures := figures_text(trial):
        rows.append(("figures", figures))
    if trial.latency is not None:
        figure, note = trial.latency, f"; {latency_note(trial)}" if latency_note(trial) else ""
        p50 = f"p50 {latency_label(figure)} (likely {interval_text(figure)})"
        rows.append(("latency", f"{p50}, p95 {format_ms(figure.p95_ms)}; {figure.source}{note}"))
    rows += [("beside", text) for text in _comparisons(view, trial)]
    for metric, value in trial.violations.items():
        # What is asked of a figure is missed by what it lacks.
        asked, beyond = ("asked", -value) if metric in ALL_FIGURES else ("budget", value)
        rows.append((f"{asked} {metric}", f"{beyond:+.1%} of the limit"))
    if r.failure is not None:
        rows.append(("failure", str(r.failure)))
    if r.attempts > 1:
        earlier = r.environment.get("earlier_attempts", ["out of memory beside other trials, then alone"])
        rows.append(("attempts", f"{r.attempts}: {'; '.join(earlier)}"))
    if r.error:
        rows.append(("error", r.error))
    rows += [(point, label) for point, label in r.architecture.labels().items()]
    for name, text in rows:
        table.add_row(name, text)
    console.print(table, markup=False, highlight=False)


def _comparisons(view: RunView, trial: TrialView) -> list[str]:
    """A trial beside all-add and the best, by its estimate."""
    if trial.estimate is None or view.model is None:
        return []
    found, best = [], next(iter(view.front), None)
    if gain_text(trial) and trial.better is not None:
        better = probability_text(trial.better)
        found.append(f"all-add: {gain_text(trial)} points (90 %), better with a probability of {better}")
    if best is not None and best.result.number != trial.result.number:
        p = float(view.model.better_than([trial.result.architecture], best.result.architecture)[0])
        found.append(f"the best (trial {best.result.number}): better with a probability of {probability_text(p)}")
    return found


def print_summary(console: Console, view: RunView) -> None:
    """What a search came to, in a few lines."""
    counts = ", ".join(f"{view.count(state)} {state}" for state in TrialState if view.count(state))
    lines = [f"\n{len(view.trials)} trials: {counts}; {len(view.front)} on the front"]
    for selector, trial in selections(view).items():
        lines.append(f"{selector:<9} trial {trial.result.number}: {headline(view, trial)}")
    images = view.description["data"].get("val")
    each = f", of which one image is {100 / images:.2g} points" if images and view.task == "classification" else ""
    lines += evidence_story(view)
    lines += trust_story(view) or [
        f"{view.score_label} is of one seed on the validation split{each}: small differences may be noise; nas noise "
        "measures that"
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _trained(status: Mapping[str, Any]) -> str:
    wanted = status["wanted"]
    return str(status["trained"]) if wanted is None else f"{status['trained']} of {wanted}"


def print_status(console: Console, view: RunView, active: bool, told: RunView | None = None) -> None:
    """`status_json` in a few lines, of its arguments."""
    told = told or at_a_look(view)
    status = status_json(view, active, told)
    counts = ", ".join(f"{number} {state}" for state, number in status["counts"].items())
    state = "searching" if active else "complete" if status["complete"] else "stopped"
    console.print(f"{view.path}: {state}, {_trained(status)} trials trained ({counts})", soft_wrap=True)
    if status["failures"]:
        kinds = ", ".join(f"{number} {kind}" for kind, number in status["failures"].items())
        console.print(f"failed: {kinds}; the reasons are in nas show {view.path}", soft_wrap=True, markup=False)
    console.print(
        f"space {view.description['space']['name']} ({format_size(view.description['size'])} architectures), "
        f"data {view.description['data']['name']}, {view.budget_text()}",
        soft_wrap=True,
    )
    if told.front:
        console.print(f"best: trial {told.front[0].result.number}, {headline(told, told.front[0])}", soft_wrap=True)
        console.print(f"front: {counted(len(told.front), 'trial')}", soft_wrap=True)
    console.print(
        f"started {format_time(status['started_at'])}, {counted(status['sessions'], 'session')}, "
        f"{format_duration(status['session_seconds'])} in ended ones",
        soft_wrap=True,
    )
    for sentence in effort_story(view):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    fixed = fixed_seconds(view)
    if fixed is not None:
        console.print(f"a trial costs {fixed:.3f} s (median) beside measuring, training and evaluating", soft_wrap=True)
    sentences = (
        *regime_story(view),
        *precision_story(view),
        *evidence_story(told),
        *trust_story(told),
        *_verdict(told),
    )
    failed = [] if view.estimating_failed is None else [failed_sentence(view.estimating_failed)]
    for sentence in (*sentences, *failed, *looked_at_story(view, told)):
        console.print(sentence, soft_wrap=True, markup=False)
    if view.advice is not None:
        console.print(advice_text(view.advice), soft_wrap=True)
