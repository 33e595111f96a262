"""Which of the architectures that were looked at to look at for longer: what a longer look may change, not the rank.

By the model of all trainings, long and short. Two turns alternate, as in our own sampler: what is expected to improve
the best of the others, and what the front of the others, costs being known; in both by all that is not known yet of the
score after the longest schedule. So what is looked at again may be ahead for all that is known: it is neither what was
lucky while everything like it was not, nor what is known well enough to be second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.proposing.coded import Coded
from nas.proposing.ehvi import renewed_at
from nas.proposing.improvement import Steps, expected_improvement
from nas.proposing.proposer import Problem
from nas.proposing.surrogate import Parameters, Surrogate
from reports.front import non_dominated
from reports.trial_view import OBJECTIVES, TrialView
from reports.view import RunView
from trials.estimates.kernel import Values


class Promoter:
    """Chooses among trials, by a model that is renewed as trainings come, of many with every few per cent more."""

    def __init__(self, problem: Problem, longest: int) -> None:
        """`longest`: epochs of the schedule whose score is wanted."""
        self._coded = Coded(problem.space, problem.feasibility)
        self._longest, self._evidence = longest, problem.evidence
        self._parameters = Parameters()
        self._model: tuple[int, Surrogate] | None = None

    def choose(self, candidates: Sequence[TrialView], view: RunView, turn: int) -> TrialView:
        """One of the candidates, which are complete trials of the run."""
        if len(candidates) == 1:
            return candidates[0]
        rivals = [trial for trial in view.complete if trial.feasible is not False and trial.fails_longer is None]
        mean, sd = self._surrogate(view).gains(self._coded.rows(t.result.architecture for t in rivals))
        numbers = [trial.result.number for trial in rivals]
        places = [numbers.index(trial.result.number) for trial in candidates]
        costs = _costs(rivals, view.objectives) if turn % 2 else None
        found = _of_the_best(mean, sd, places) if costs is None else _of_the_front(costs, mean, sd, places)
        return candidates[int(np.argmax(found))]

    def _surrogate(self, view: RunView) -> Surrogate:
        scored = [(number, training) for number, training in view.in_order() if training.score is not None]
        at = renewed_at(len(scored))
        if self._model is None or self._model[0] != at:
            first = scored[:at]  # whatever has come since: a search that is resumed has the same
            trials = {number: training for number, training in first if number is not None}
            own, beside = [trials[n] for n in sorted(trials)], [t for number, t in first if number is None]
            target = own[0].start, self._longest
            self._model = at, Surrogate(self._coded, own, target, self._parameters, beside, self._evidence)
        return self._model[1]


def _of_the_best(mean: Values, sd: Values, places: Sequence[int]) -> Values:
    """[candidates]: how much each is expected to improve the best of all others."""
    best, second = np.sort(mean)[::-1][:2]
    others = np.where(mean == best, second, best)
    return expected_improvement(mean, sd, others)[places]


def _of_the_front(costs: Values, mean: Values, sd: Values, places: Sequence[int]) -> Values:
    """[candidates]: how much each is expected to improve the front of all others; costs [n, costs] from 0 to 1."""
    reference, floor = [1.0 + 1e-6] * costs.shape[1], float(mean.min())

    def steps(among: Sequence[int]) -> Steps:
        points = [(mean[place], *costs[place]) for place in among]
        kept = non_dominated(points, [True, *[False] * costs.shape[1]])
        front = [place for place, keep in zip(among, kept, strict=True) if keep]
        members.update(front)
        return Steps.of(costs[front], mean[front], reference, floor)

    members: set[int] = set()
    everyone = list(range(len(mean)))
    of_all, front = steps(everyone), set(members)
    found = []
    for place in places:
        others = of_all if place not in front else steps([one for one in everyone if one != place])
        found.append(float(others.expected(costs[[place]], mean[[place]], sd[[place]])[0]))
    return np.array(found)


def _costs(trials: Sequence[TrialView], objectives: Sequence[str]) -> Values | None:
    """[trials, costs] from 0 to 1; None where there is no cost among the objectives, or one that is not known."""
    names = [name for name in objectives if not OBJECTIVES.get(name, False)]
    known = [[trial.objective(name) for name in names] for trial in trials]
    if not names or any(value is None for row in known for value in row):
        return None
    costs = np.array(known, float)
    low, span = costs.min(0), costs.max(0) - costs.min(0)
    return np.asarray((costs - low) / np.where(span > 0, span, 1.0))
