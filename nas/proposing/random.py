"""Random search: architectures drawn uniformly from within the budgets, none twice."""

from __future__ import annotations

import random

import optuna

from nas.proposing.proposer import Problem, Proposal
from nas.proposing.sampler import Sampler, Seen
from nas.proposing.study import Study
from search_spaces.architecture import Architecture


class RandomSampler(Sampler):
    """An Optuna sampler of a problem's architectures that learns nothing but what is known."""

    def choose(self, seen: Seen, rng: random.Random) -> Architecture | None:
        return self.problem.candidates.sample(rng, lambda architecture: not self.known(architecture, seen))


class Random(Study):
    """Every proposal is as those at random of any other search."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._random = self.own(RandomSampler(problem))

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        self._random.reseed(seed)
        return self._random

    def propose(self, number: int) -> Proposal | None:
        return self.propose_within_budget(number)
