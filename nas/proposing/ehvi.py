"""Our own sampler: what promises most within the budgets, by the model of all trainings.

After a well-spread opening two turns alternate. One asks of some ten thousand candidates within the budgets which is
expected to improve the front of *estimated means* most, costs being exact (`nas.proposing.improvement`; over means, for
a lucky score is no quality). The other draws one of the worlds that are still possible and takes what is best in it, so
that the search does not settle on its first guess (Thompson sampling: Thompson 1933; Russo & Van Roy 2014). Which turn
it is follows from how much was proposed. What runs already is believed to come out as it is estimated (the kriging
believer, Ginsbourger, Le Riche & Carraro 2010), so that workers side by side are given different things.

A proposal never depends on time. With few trainings, or nothing else running, it is of all that was told. Of many,
others running, it is by the newest model that was begun beside the trainings some results ago, the more of them the
more others run and the larger it is: so no free worker waits for one. A model of many is renewed with every 3 % more.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import numpy as np
import optuna

from nas.proposing.coded import Coded, Rows, together
from nas.proposing.limits import COMPUTED, rows_of
from nas.proposing.opening import spread_choice
from nas.proposing.promise import Promise
from nas.proposing.proposer import Problem
from nas.proposing.sampler import TOLD, Sampler, Seen, Told, trainings_of
from nas.proposing.study import Study
from nas.proposing.surrogate import Parameters, Surrogate
from nas.proposing.window import Remembered
from search_spaces.architecture import Architecture
from trials.record.training import Training
from trials.seeds import derive
from trials.trial import TrialResult

#: Architectures that are proposed before any is estimated, what was told before among them.
OPENING = 5
#: Of a space that is too large to be looked at whole: uniform draws, and parents with random changes of two of each.
DRAWN, PARENTS, PAIRS = 4_000, 12, 400
#: From so many trials on a model takes longer than a free worker should wait; it is renewed at each growth.
SLOW, RENEWAL = 100, 1.03
#: How many results a model may take, for each other trial that runs: one for so many trials.
LAG = 125
#: Trainings that a model is conditioned on at the most: of no trial up to half of them, of trials the best and newest.
CAPACITY = 1_000


def renewed_at(trials: int) -> int:
    """How many trials the model of so many is of: all while they are few."""
    last = min(trials, SLOW)
    while (following := max(last + 1, int(last * RENEWAL))) <= trials:
        last = following
    return last


class EHVISampler(Sampler):
    """An Optuna sampler of a problem's architectures."""

    def __init__(self, problem: Problem, seed: int | None = None) -> None:
        super().__init__(problem, seed)
        self._coded = Coded(problem.space, problem.feasibility, problem.candidates.predicted)
        self._parameters = Parameters()
        self._models: dict[int, Future[Promise]] = {}
        self._learnt: list[Training] = []
        #: How many trials were told, and of each model of many how much was learnt beside them when they were so many.
        self._told_so_far, self._learnt_by = 0, dict[int, int]()
        self._beside = ThreadPoolExecutor(1, "model")
        names = [name for name in problem.objectives if name in COMPUTED]
        #: What the front's costs are, see `Coded.costs`; of quality alone the cheaper of equals is the better one.
        self._costs = [COMPUTED.index(name) for name in names] or [0]

    def choose(self, seen: Seen, rng: random.Random) -> Architecture | None:
        rows = np.concatenate([rows_of(seen.told, self._coded), self._coded.rows(seen.running)])
        if self._opens(seen):
            pool = self._candidates(self._coded.baseline, random.Random(derive(self._seed, "near")))
            ranked = pool[spread_choice(self._coded, pool, rows, rng, self._coded.beliefs(self.problem.beliefs, pool))]
        else:
            ranked = self._promise(seen).ranked(rows, front=len(rows) % 2 == 1, rng=rng)
        return self._first_unknown(ranked, seen) or self.problem.candidates.sample(
            rng, lambda a: not self.known(a, seen)
        )

    def learn(self, training: Training) -> None:
        """From a training of no trial, in the order in which they were recorded."""
        if training.score is not None:
            self._learnt.append(training)
            if max(self._models, default=0) <= SLOW:
                self._models.clear()  # a model of few is of all that is known

    def told_another(self) -> None:
        """A trial was told, now or as a search is resumed, in its place among the trainings that are learnt."""
        self._told_so_far += 1
        if self._told_so_far > SLOW and renewed_at(self._told_so_far) == self._told_so_far:
            self._learnt_by[self._told_so_far] = len(self._learnt)

    def ahead(self, study: optuna.Study) -> None:
        """Begin, beside the trainings, the model that later proposals will be by."""
        count = len(study.get_trials(deepcopy=False, states=TOLD))
        if count > SLOW // 2 and renewed_at(count) == count:
            told = self.seen(study, None).told
            if self._estimable(told):
                self._models[count] = self._beside.submit(self._model, told, self._learnt_at(count))

    def _opens(self, seen: Seen) -> bool:
        return len(seen.told) + len(seen.running) < OPENING or not self._estimable(seen.told)

    def _estimable(self, told: Sequence[Told]) -> bool:
        first = next((one.key for one in told if one.training is not None), None)
        return any(one.key != first for one in told if one.training is not None)

    def _first_unknown(self, rows: Rows, seen: Seen) -> Architecture | None:
        found = (self._coded.architecture(row) for row in rows)
        return next((one for one in found if not self.known(one, seen)), None)

    def _promise(self, seen: Seen) -> Promise:
        count, waiting = len(seen.told), len(seen.running)
        if waiting and count > SLOW and self._models:
            ripe = [old for old in self._models if old <= count - waiting * max(1, count // LAG)]
            at = max(ripe) if ripe else min(self._models)
        else:
            at = renewed_at(count)
        if at not in self._models:
            self._models[at] = Future()
            self._models[at].set_result(self._model(seen.told[:at], self._learnt_at(at)))
        for old in [old for old in self._models if old < at]:
            del self._models[old]
        return self._models[at].result()

    def _learnt_at(self, at: int) -> tuple[Training, ...]:
        """What a model of so many trials is made from beside them: of many, what was known as they were so many."""
        return tuple(self._learnt[: self._learnt_by.get(at)])

    def _model(self, told: Sequence[Told], learnt: Sequence[Training]) -> Promise:
        coded, trainings = self._coded, trainings_of(told)
        learnt = learnt[-CAPACITY // 2 :]
        if len(trainings) + len(learnt) > CAPACITY:
            half = (CAPACITY - len(learnt)) // 2
            best = sorted(trainings[:-half], key=lambda one: -(one.score or 0.0))[:half]
            trainings = [*best, *trainings[-half:]]
        start, longest = max(((t.start, t.epochs) for t in trainings), key=lambda fidelity: fidelity[1])
        target, evidence = (start, self.problem.epochs or longest), self.problem.evidence
        model = Surrogate(coded, trainings, target, self._parameters, learnt, evidence)
        trained = coded.within(model.trained)
        best_first = trained[np.argsort(-model.means(trained), kind="stable")]
        pool = self._candidates(best_first[:PARENTS], random.Random(derive(self._seed, "near", len(told))))
        return Promise(coded, model, trained, pool, told, self._costs, self.problem.beliefs)

    def _candidates(self, best: Rows, rng: random.Random) -> Rows:
        """Everything within the budgets of a small space, else uniform draws and what is near the best."""
        found = self._coded.all if self._coded.small else self._uniform
        if not self._coded.small:
            found = together([found, self._coded.within(self._coded.near(best, rng, PAIRS))])
        return found if len(found) else self._coded.baseline  # which is known: nothing else was found

    @cached_property
    def _uniform(self) -> Rows:
        return together([self._coded.drawn(random.Random(derive(self._seed, "uniform")), DRAWN)])


class EHVI(Study):
    """One sampler for all proposals, that begins its models as results are recorded."""

    opens = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._ehvi = self.own(EHVISampler(problem))

    def storage(self) -> optuna.storages.BaseStorage:
        return Remembered()  # the sampler has a window of its own

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        self._ehvi.reseed(seed)
        return self._ehvi

    def learn(self, training: Training) -> None:
        self._ehvi.learn(training)

    def _learn(self, result: TrialResult) -> bool:
        told = super()._learn(result)
        if told:
            self._ehvi.told_another()
        return told

    def tell(self, result: TrialResult) -> None:
        super().tell(result)
        self._ehvi.ahead(self._study)
