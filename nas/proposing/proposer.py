"""What says which architecture to try next, and why: one interface, and what every one of them is told of a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from nas.proposing.candidates import Candidates
from nas.registry import PROPOSERS, load
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.record.evidence import Evidence
from trials.record.training import Training
from trials.trial import TrialResult


@dataclass(frozen=True)
class Proposal:
    """What to try, and why: origin is `sampler` or `random`."""

    architecture: Architecture
    origin: str


@dataclass(frozen=True)
class Problem:
    """What is searched: a space, under budgets, for objectives. All that is random follows from `seed`. `beliefs` are
    weights of operators that a user believes in, 1 of the others. What is wanted is the score after `epochs` epochs;
    None for those that trials were trained for. `evidence` is what counts of other runs, for those who estimate."""

    space: SearchSpace
    feasibility: Feasibility
    pricing: Pricing
    objectives: tuple[str, ...]
    seed: int
    beliefs: Mapping[str, float] = field(default_factory=dict)
    epochs: int | None = None
    evidence: tuple[Evidence, ...] = ()

    @cached_property
    def candidates(self) -> Candidates:
        """What of the space may be tried at all."""
        return Candidates(self.space, self.feasibility, self.pricing)


class Proposer(Protocol):
    """Proposes architectures of a problem's space; told every result, replayed or new.

    Every one of them is made with a `Problem` alone, and guarantees that

    - it never proposes what was proposed, reserved or told before;
    - the same problem, told the same results in the same order, proposes the same under the same number: a search that
      is resumed proposes what an uninterrupted one would have;
    - what it proposes at random (origin `random`) is within the budgets that are known without measuring;
    - it proposes while something is left: that nothing is, `nothing_left` says where it is proven.

    `opens`: its first proposals are a design of their own, so that a search begins with two controls, not with all.
    """

    @property
    def opens(self) -> bool: ...

    def replay(self, results: Iterable[TrialResult]) -> None:
        """Tell recorded results, in the order of their numbers: some at a time, trainings learnt in between."""

    def reserve(self, architecture: Architecture) -> bool:
        """Take an architecture that was not proposed here (a control); False when it is known already."""

    def propose(self, number: int) -> Proposal | None:
        """What to try as trial `number`; None when nothing was found, see `nothing_left`."""

    def propose_within_budget(self, number: int) -> Proposal | None:
        """A random unseen architecture within the budgets; None when none was found, see `nothing_left`."""

    @property
    def nothing_left(self) -> bool:
        """Whether it is proven that no unseen architecture is within the budgets."""

    def fast_enough(self, architecture: Architecture) -> bool:
        """Whether a prediction of its latency, where there is one, lets it be trained."""

    def tell(self, result: TrialResult) -> None:
        """Learn from a trial that has ended."""

    def learn(self, training: Training) -> None:
        """Learn, where it can, from a training that no trial asked for: a repeated seed, a longer look."""


def make_proposer(name: str, problem: Problem) -> Proposer:
    """The proposer of that name, see `nas.registry.PROPOSERS`."""
    proposer: Proposer = load(PROPOSERS[name])(problem)
    return proposer
