"""What a proposer knows of ten thousand candidates: their gains over all-add by the model of all trainings.

The model is that of the run's estimates, under its likeliest parameters: these are fitted anew where the trainings have
become a quarter more, and what is known is conditioned on all of them in between, so that a proposal does not wait for
an optimiser. What is fitted to is the first trainings of a run, so that a resumed search fits the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from nas.proposing.coded import Coded, Rows
from trials.estimates.kernel import Numbered, Values, parts_of
from trials.estimates.looks import Fidelity, Looks
from trials.estimates.model import Conditioned, Model
from trials.record.evidence import Evidence
from trials.record.training import Training

#: Trainings that parameters are fitted to at the most.
FITTED = 120
#: Parameters are fitted anew where there are so many times the trainings.
GROWTH = 1.25
#: Candidates that are compared with all trainings at once.
CHUNK = 512


def fitted_to(trainings: int) -> int:
    """To how many of so many trainings parameters were fitted last: all of up to four, then at each growth."""
    last = min(trainings, 4)
    while (following := max(last + 1, int(last * GROWTH))) <= trainings:
        last = following
    return last


class Parameters:
    """The likeliest parameters of the model, kept for the trainings that they were fitted to."""

    def __init__(self) -> None:
        self._kept: dict[tuple[tuple[str, int, int, str], ...], Values] = {}

    def of(
        self,
        coded: Coded,
        trainings: Sequence[Training],
        target: Fidelity,
        beside: Sequence[Training] = (),
        evidence: Sequence[Evidence] = (),
    ) -> Values:
        """Of trials' trainings, and of others: each in the order in which they came."""
        first = [*trainings[: fitted_to(len(trainings))], *beside[: fitted_to(len(beside))]]
        if {(t.start, t.epochs) for t in first} != {(t.start, t.epochs) for t in (*trainings, *beside)}:
            first = [*trainings, *beside]  # a fidelity is new
        identity = tuple(t.identity for t in first)
        if identity not in self._kept:
            looks = Looks.of(first, target, None, evidence).telling(FITTED)
            numbered = coded.numbered(coded.rows(looks.architectures))
            model = Model(looks, parts_of(numbered, numbered, coded.operators))
            self._kept = {identity: model.mode()}
        return self._kept[identity]


class Surrogate:
    """The gains of candidates over all-add, in points, given trainings of at least two architectures: those of trials,
    and others `beside` them; `trained` are theirs. Those of a target that nobody was trained for are what other
    fidelities tell of it. `evidence` of other runs counts as well."""

    def __init__(
        self,
        coded: Coded,
        trainings: Sequence[Training],
        target: Fidelity,
        parameters: Parameters,
        beside: Sequence[Training] = (),
        evidence: Sequence[Evidence] = (),
    ) -> None:
        with threadpool_limits(1, "blas"):  # trainings take the other processors
            here = [*trainings, *beside]
            theta = parameters.of(coded, trainings, target, beside, evidence)
            looks = Looks.of(here, target, None, evidence)
            self._coded = coded
            own = {training.architecture.key for training in here}
            self.trained = coded.rows(one for one in looks.architectures if one.key in own)
            self._there: Numbered = coded.numbered(coded.rows(looks.architectures))
            self._baseline: Numbered = coded.numbered(coded.baseline)
            self._to_baseline = parts_of(self._baseline, self._there, coded.operators)
            among = parts_of(self._there, self._there, coded.operators)
            self._known = Conditioned.on(Model(looks, among), theta)
        self.noise = float(np.exp(theta[self._known.model.layout.noise][0]))
        self.spread = float(np.exp(theta[self._known.model.layout.spread][0]))

    def means(self, rows: Rows) -> Values:
        """[n]."""
        with threadpool_limits(1, "blas"):
            found = [self._known.means_of_differences(self._towards(part)) for part in _chunks(rows)]
        return np.concatenate(found) if found else np.zeros(0)

    def gains(self, rows: Rows) -> tuple[Values, Values]:
        """Means and standard deviations [n]."""
        with threadpool_limits(1, "blas"):
            found = [
                self._known.differences(self._towards(part), 2 - 2 * self._across(part, self._baseline)[:, :, 0])
                for part in _chunks(rows)
            ]
        mean, variance = (np.concatenate([one[k] for one in found]) for k in (0, 1))
        return mean, np.sqrt(variance)

    def joint(self, rows: Rows) -> tuple[Values, Values]:
        """Means [n] and covariances [n, n]."""
        with threadpool_limits(1, "blas"):
            to_baseline = self._across(rows, self._baseline)
            own = parts_of(self._coded.numbered(rows), self._coded.numbered(rows), self._coded.operators)
            own = own - to_baseline - to_baseline.transpose(0, 2, 1) + 1
            return self._known.joint(self._towards(rows), own)

    def _towards(self, rows: Rows) -> Values:
        return self._across(rows, self._there) - self._to_baseline

    def _across(self, rows: Rows, other: Numbered) -> Values:
        return parts_of(self._coded.numbered(rows), other, self._coded.operators)


def _chunks(rows: Rows) -> list[Rows]:
    return [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
