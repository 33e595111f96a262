"""A search that was killed and resumed any number of times proposes and promotes what one that never was does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from costless import FormulaEngine, Killed, longer_looks, part, planted_profile, prepared_of, proposals, searched

from nas.registry import PROPOSERS
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.trial import TrialState

SETTINGS: dict[str, Any] = {"space": "resnet8", "trials": 14, "noise_seeds": 3, "seed": 5}
#: What a search may be: rungs, and budgets of each kind, in which much is gated.
KINDS: dict[str, dict[str, Any]] = {
    "flops": {"max_flops": "1.03x", "rungs": [1, 2, 4]},
    "predicted": {"max_latency": "1.07ms", "rungs": [1, 3]},
    "measured": {"max_latency": "1.1ms"},
}
CASES = [
    *((sampler, "flops") for sampler in PROPOSERS),
    ("tpe", "predicted"),
    ("tpe", "measured"),
    ("ehvi", "measured"),
]


def measured_ms(architecture: Architecture) -> float:
    """Few are within 1.1 ms."""
    return 1.0 + sum(0.0 if c.op == "add" else 0.02 + 0.2 * part(p, c) for p, c in architecture.choices.items())


def session(kind: str, settings: dict[str, Any], out: Path, events: int | None) -> RunView:
    """One session, which ends after so many events; None: at its end."""
    profile = None
    prepared = prepared_of(settings, out)
    if kind == "predicted":
        profile = planted_profile(prepared.space)
        prepared = prepared_of(settings, out, profile)
    engine = FormulaEngine(measured_ms if kind == "measured" else None, events)
    return searched(prepared, engine, 1.0 if "max_latency" in settings else None)


def killed_again_and_again(
    kind: str, settings: dict[str, Any], out: Path, events: Iterator[int]
) -> tuple[RunView, int]:
    """The run in the end, and how often it was killed."""
    kills = 0
    while True:
        try:
            return session(kind, settings, out, next(events)), kills
        except Killed:
            kills += 1


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "kind"), CASES)
def test_killed_again_and_again_it_comes_to_the_same(sampler: str, kind: str, memory_path: Path) -> None:
    settings = {**SETTINGS, **KINDS[kind], "sampler": sampler}
    whole = session(kind, settings, memory_path / "whole", None)
    assert whole.count(TrialState.COMPLETE) == 14
    rng = random.Random(sampler + kind)
    events = iter(lambda: rng.choice((1, 1, 2, 3, 6)), None)  # after the first result above all
    found, kills = killed_again_and_again(kind, settings, memory_path / "killed", events)
    assert kills > 5
    assert proposals(found) == proposals(whole)
    assert longer_looks(found) == longer_looks(whole)


@pytest.mark.long
@pytest.mark.slow
def test_beyond_a_hundred_trials_models_are_of_what_was_known_then(memory_path: Path) -> None:
    """Models of many are renewed now and then: a search that is resumed between two of them has the one before."""
    settings = {**SETTINGS, "trials": 112, "rungs": [1, 3], "noise_seeds": 1}
    whole = session("rungs", settings, memory_path / "whole", None)
    events = iter([2 * 104, 2 * 30, 15, 2, 7, *[10_000] * 3])
    found, kills = killed_again_and_again("rungs", settings, memory_path / "killed", events)
    assert kills == 5
    assert proposals(found) == proposals(whole)
    assert longer_looks(found) == longer_looks(whole)
