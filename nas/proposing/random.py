"""Random search: architectures drawn uniformly from within the budgets, none twice."""

from __future__ import annotations

from collections.abc import Iterable

from nas.proposing.known import Known
from nas.proposing.proposer import Problem, Proposal
from search_spaces.architecture import Architecture
from trials.trial import TrialResult


class Random:
    """A `Proposer` that learns nothing but what is known."""

    def __init__(self, problem: Problem) -> None:
        self._known = Known(problem)

    def replay(self, results: Iterable[TrialResult]) -> None:
        for result in results:
            self.tell(result)

    def reserve(self, architecture: Architecture) -> bool:
        return self._known.reserve(architecture)

    def propose(self, number: int) -> Proposal | None:
        return self._known.within_budget(number)

    def propose_within_budget(self, number: int) -> Proposal | None:
        return self._known.within_budget(number)

    def fast_enough(self, architecture: Architecture) -> bool:
        return self._known.fast_enough(architecture)

    def tell(self, result: TrialResult) -> None:
        self._known.learn(result)
