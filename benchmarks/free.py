"""Trainings that cost nothing, by the engines as they are: what a worker's bench would come to is answered instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch

from nas.registry import load
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.trial import EpochPoint, TrialJob


def train_nothing(answer: str) -> None:
    """From now on benches of this process load and train nothing: `module:function` says what comes of a job."""
    outcome: Callable[[TrialJob], TrialOutcome] = load(answer)

    def make(bench: Bench, plan: TrialPlan, expendable: bool = False) -> None:
        torch.set_num_threads(1)
        bench.plan, bench.expendable = plan, expendable

    def judge(bench: Bench, job: TrialJob) -> Iterator[EpochPoint | TrialOutcome]:
        ended = outcome(job)
        yield from ended.result.curve
        yield ended

    for name, method in (("__init__", make), ("judge", judge), ("warm_up", lambda bench: None)):
        setattr(Bench, name, method)


@dataclass(frozen=True)
class FreePlan(TrialPlan):
    """A plan that makes the worker it is sent to train nothing. To the engine it is any other."""

    answer: str = ""

    @classmethod
    def of(cls, plan: TrialPlan, answer: str) -> FreePlan:
        return cls(**_own(plan), answer=answer)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (_own(self), self.answer)


def _own(plan: TrialPlan) -> dict[str, Any]:
    return {one.name: getattr(plan, one.name) for one in fields(TrialPlan)}


def _arrived(own: dict[str, Any], answer: str) -> FreePlan:
    train_nothing(answer)
    return FreePlan(**own, answer=answer)
