"""Public search methods, written as their papers have them, in the arena's terms."""

from __future__ import annotations

import random
from collections.abc import Callable

from nas.bench.arena.playing import Ask, Brief, Told
from nas.proposing.evolution import parent_of, wanted
from search_spaces.architecture import Architecture
from trials.seeds import derive


class Remembering:
    """Keeps what it was told, and recommends the best of the highest fidelity within the budget, by `figure`."""

    def __init__(self, brief: Brief, figure: str = "accuracy") -> None:
        self.brief = brief
        self.figure = figure
        self.rng = random.Random(derive(brief.seed, "method"))
        self.seen: set[str] = set()
        self.told: list[Told] = []

    def tell(self, told: Told) -> None:
        self.told.append(told)

    def quality(self, told: Told) -> float:
        return told.accuracy if self.figure == "accuracy" else -told.loss

    def best(self) -> Told | None:
        feasible = [told for told in self.told if self.brief.feasible(told.ask.architecture)]
        fidelities = list(self.brief.looks)
        highest = max((fidelities.index(told.ask.fidelity) for told in feasible), default=None)
        there = [told for told in feasible if fidelities.index(told.ask.fidelity) == highest]
        return max(there, key=self.quality, default=None)

    def recommend(self) -> Architecture | None:
        best = self.best()
        return None if best is None else best.ask.architecture

    def verdict(self) -> bool:
        return self.recommend() not in (None, self.brief.space.baseline)

    def look(self, architecture: Architecture) -> Ask:
        """At the fidelity and the seed that all are looked at."""
        self.seen.add(architecture.key)
        return Ask(architecture, self.brief.look, self.brief.seed)

    def drawn(self) -> Architecture | None:
        """A uniform one within the budget that was not seen; None where so many draws found none."""
        return self._wanted(lambda: self.brief.space.sample(self.rng))

    def mutated(self, parent: Architecture) -> Architecture | None:
        """One variable of it changed, within the budget and not seen; None where all of those were."""
        near = list(self.brief.space.neighbours(parent))
        return self._wanted(lambda: self.rng.choice(near))

    def _wanted(self, draw: Callable[[], Architecture]) -> Architecture | None:
        return wanted(draw, lambda found: found.key not in self.seen and self.brief.feasible(found))


class RandomSearch(Remembering):
    """All-add first, then uniform draws within the budget."""

    def ask(self) -> Ask | None:
        found = self.drawn() if self.seen else self.brief.space.baseline
        return None if found is None else self.look(found)


class RegularisedEvolution(Remembering):
    """That of our own proposer (`nas.proposing.evolution`), by either figure."""

    def ask(self) -> Ask | None:
        if not self.seen:
            return self.look(self.brief.space.baseline)
        parent = parent_of([(told.ask.architecture, self.quality(told)) for told in self.told], self.rng)
        found = (None if parent is None else self.mutated(parent)) or self.drawn()
        return None if found is None else self.look(found)


class LocalSearch(Remembering):
    """White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021: goes to the first neighbour
    that is better, from all-add; where none is, to what is best of all that still has unseen ones, else anew."""

    def __init__(self, brief: Brief, figure: str = "accuracy") -> None:
        super().__init__(brief, figure)
        self._at: Told | None = None

    def ask(self) -> Ask | None:
        if not self.seen:
            return self.look(self.brief.space.baseline)
        found = None if self._at is None else self._unseen(self._at.ask.architecture)
        if found is None:
            for told in sorted(self.told, key=self.quality, reverse=True):
                found = self._unseen(told.ask.architecture)
                if found is not None:
                    self._at = told
                    break
        found = found or self.drawn()
        return None if found is None else self.look(found)

    def _unseen(self, architecture: Architecture) -> Architecture | None:
        there = self.brief.space.neighbours(architecture)
        near = [one for one in there if one.key not in self.seen and self.brief.feasible(one)]
        return self.rng.choice(near) if near else None

    def tell(self, told: Told) -> None:
        super().tell(told)
        feasible = self.brief.feasible(told.ask.architecture)
        if feasible and (self._at is None or self.quality(told) > self.quality(self._at)):
            self._at = told


class Halving(Remembering):
    """Li et al., A System for Massively Parallel Hyperparameter Tuning (ASHA), MLSys 2020, over complete schedules: a
    third of each rung's looks goes on to the next, whoever is there to be promoted first; else a uniform draw."""

    eta = 3

    def __init__(self, brief: Brief, figure: str = "accuracy") -> None:
        super().__init__(brief, figure)
        self._rungs: list[list[Told]] = [[] for _ in brief.looks]
        self._promoted: list[set[str]] = [set() for _ in brief.looks]

    def ask(self) -> Ask | None:
        fidelities = list(self.brief.looks)
        for rung in reversed(range(len(fidelities) - 1)):
            there = sorted(self._rungs[rung], key=self.quality, reverse=True)
            for told in there[: len(there) // self.eta]:
                key = told.ask.architecture.key
                if key not in self._promoted[rung]:
                    self._promoted[rung].add(key)
                    return Ask(told.ask.architecture, fidelities[rung + 1], self.brief.seed)
        found = self.drawn() if self.seen else self.brief.space.baseline
        if found is None:
            return None
        self.seen.add(found.key)
        return Ask(found, fidelities[0], self.brief.seed)

    def tell(self, told: Told) -> None:
        super().tell(told)
        self._rungs[list(self.brief.looks).index(told.ask.fidelity)].append(told)
