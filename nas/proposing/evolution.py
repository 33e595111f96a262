"""Regularised evolution within the budgets: the best of a few of the living is changed at one place, the oldest dies.

Source: Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019. Population and sample
are small, as budgets are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import optuna

from nas.proposing.proposer import Problem
from nas.proposing.sampler import Sampler, Seen, Told
from nas.proposing.study import Study
from search_spaces.architecture import Architecture

POPULATION, SAMPLE = 10, 3
#: Draws for one architecture that is wanted, before it is given up.
DRAWS = 1000


def parent_of(trained: Sequence[tuple[Architecture, float]], rng: random.Random) -> Architecture | None:
    """Whom to change next, of what was trained so far with its quality, the oldest first; None while the population
    is still to be drawn."""
    living = list(trained)[-POPULATION:]
    if len(living) < POPULATION:
        return None
    return max(rng.sample(living, SAMPLE), key=lambda one: one[1])[0]


def wanted(draw: Callable[[], Architecture], want: Callable[[Architecture], bool]) -> Architecture | None:
    """The first that is wanted of so many draws; None where none was."""
    return next((found for found in (draw() for _ in range(DRAWS)) if want(found)), None)


class EvolutionSampler(Sampler):
    """An Optuna sampler of a problem's architectures, by the objective of quality alone."""

    def choose(self, seen: Seen, rng: random.Random) -> Architecture | None:
        parent = parent_of([(one.architecture, self._quality(one)) for one in seen.told if one.values], rng)
        if parent is not None:
            near = list(self.problem.space.neighbours(parent))
            child = wanted(lambda: rng.choice(near), lambda a: self.problem.candidates(a) and not self.known(a, seen))
            if child is not None:
                return child
        return self.problem.candidates.sample(rng, lambda a: not self.known(a, seen))

    def _quality(self, told: Told) -> float:
        score = told.training.score if told.training is not None and told.within else None
        return -1.0 if score is None else score


class Evolution(Study):
    """One sampler for all proposals, that knows what a search has reserved."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._evolution = self.own(EvolutionSampler(problem))

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        self._evolution.reseed(seed)
        return self._evolution
