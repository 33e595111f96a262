"""Ablations and attention weights as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from nas.terminal.studies import print_table
from reports.ablation import ABLATION_COLUMNS, ABLATION_LEGEND, Ablation, ablation_rows, ablation_story
from reports.attention import ATTENTION_COLUMNS, ATTENTION_LEGEND, attention_rows, attention_words
from trials.attention.histograms import TrialAttention


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
