"""Trainings that cost nothing, by the engines as they are: what a worker's bench would come to is answered instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class FreePlan(TrialPlan):
    """A plan that makes the worker it is sent to train nothing. To the engine it is any other."""

    _answer: str

    @classmethod
    def of(cls, plan: TrialPlan, answer: str) -> FreePlan:
        return _filled(plan.__dict__, answer)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (dict(self.__dict__), self._answer)


def _filled(fields: dict[str, Any], answer: str) -> FreePlan:
    plan = FreePlan.__new__(FreePlan)
    plan.__dict__.update(fields, _answer=answer)
    return plan


def _arrived(fields: dict[str, Any], answer: str) -> FreePlan:
    train_nothing(answer)
    return _filled(fields, answer)
