"""What operators are worth by a table: a planted effect is found, and nothing is said of too few architectures."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nas.bench import load
from nas.bench.operators import operator_effects
from nas.bench.table import Table
from trials.record.training import Training

#: Points of accuracy above add, at every point.
PLANTED = {"add": 0.0, "concat": 1.0, "se": -0.5, "cbam": 0.25, "aff": 0.0, "iaff": 0.0}


def planted(training: Training) -> Training:
    worth = sum(PLANTED[choice.op] for choice in training.architecture.choices.values())
    return replace(training, score=0.5 + (worth + training.seed) / 100)


def table_of(trainings: list[Training]) -> Table:
    there = load()
    some: Any = SimpleNamespace(header=there.header, points=there.points, trainings=trainings)
    return some


def test_a_planted_effect_is_found_at_both_long_schedules() -> None:
    there = load()
    effects = operator_effects(table_of([planted(training) for training in there.trainings]))
    named = there.header["fidelities"]
    assert named["tuned"] in {effect.fidelity for effect in effects}
    for effect in effects:
        assert effect.points == pytest.approx(PLANTED[effect.operator], abs=1e-6)
        assert effect.low - 1e-6 <= effect.points <= effect.high + 1e-6


def test_of_too_few_architectures_nothing_is_said() -> None:
    there = load()
    tuned = there.header["fidelities"]["tuned"]
    some = [t for t in there.trainings if f"{t.start.partition(':')[0]}-{t.epochs}" == tuned]
    assert operator_effects(table_of(some[:10])) == []
