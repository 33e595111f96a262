"""What is asked of a run, as a person reads it in a terminal: noise, trust, ablations, attention weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from reports.ablation import ABLATION_COLUMNS, ABLATION_LEGEND, Ablation, ablation_rows, ablation_story
from reports.attention import ATTENTION_COLUMNS, ATTENTION_LEGEND, attention_rows, attention_words
from reports.finalists import finals_of
from reports.noise import NOISE_COLUMNS, NOISE_LEGEND, NoiseFloor, advice_text, noise_floors, noise_rows
from reports.regime import regime_story
from reports.trust import AGREEMENT_COLUMNS, AGREEMENT_LEGEND, agreement_rows, trust_of, trust_story
from reports.verdict import FINAL_COLUMNS, final_rows, finals_story, verdict_of
from reports.view import RunView
from trials.attention.histograms import TrialAttention


def print_noise(console: Console, floors: Sequence[NoiseFloor], advice: Mapping[str, Any] | None) -> None:
    """A line for each fidelity and metric, and the recommendation."""
    if not floors:
        console.print("the noise is not measured yet: the baseline has fewer than two seeds")
        return
    print_table(console, NOISE_COLUMNS, noise_rows(floors))
    console.print(NOISE_LEGEND)
    if advice is not None:
        console.print(advice_text(advice))


def print_trust(console: Console, view: RunView) -> None:
    """The noise where it is known, the agreements, and what follows for the ranking."""
    floors, trust = noise_floors(view), trust_of(view)
    if floors:
        print_noise(console, floors, view.advice)
        console.print()
    if trust is not None and trust.agreements:
        print_table(console, AGREEMENT_COLUMNS, agreement_rows(trust))
        console.print(AGREEMENT_LEGEND)
        console.print()
    for sentence in (*regime_story(view), *trust_story(view)):
        console.print(sentence, markup=False)


def print_ablation(console: Console, ablation: Ablation) -> None:
    """A line for each comparison, and what follows."""
    print_table(console, ABLATION_COLUMNS, ablation_rows(ablation))
    console.print(ABLATION_LEGEND, highlight=False, markup=False)
    console.print()
    for sentence in ablation_story(ablation):
        console.print(sentence, highlight=False, markup=False)


def print_attention(console: Console, found: Sequence[TrialAttention]) -> None:
    """A line for each part of each fusion, trial by trial."""
    for one in found:
        console.print(attention_words(one), highlight=False, markup=False)
        if one.histograms:
            print_table(console, ATTENTION_COLUMNS, attention_rows(one))
        console.print()
    if not found:
        console.print("no trial of the front has kept its weights: name one that has")
    elif any(one.histograms for one in found):
        console.print(ATTENTION_LEGEND, highlight=False, markup=False)


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table of texts."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_finalists(console: Console, view: RunView) -> None:
    """The finalists of a run, beside all-add, and the verdict."""
    finals, verdict = finals_of(view), verdict_of(view)
    if finals is not None:
        print_table(console, FINAL_COLUMNS, final_rows(finals))
        for sentence in finals_story(finals):
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if verdict is not None:
        console.print(verdict.text, markup=False, highlight=False, soft_wrap=True)
