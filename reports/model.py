"""What a report asks of a run's estimates, told by their model or by what a search kept of it in the record.

A model of many trainings takes seconds to fit, which is too long for a look at how far a run is. So a search leaves in
its record what its model made of each trained architecture and what is said of it, under a stamp of all that the model
was made from. What is kept is what estimating anew would give, to the last digit, or it does not count: another
training, or another way of estimating, has another stamp. For whatever was not kept the model is fitted, when it is
first asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from trials.estimates.estimate import Contradiction, Estimate, Interval
from trials.record.evidence import Evidence
from trials.record.training import Training

if TYPE_CHECKING:
    from trials.estimates.estimates import Best, Estimates
    from trials.estimates.kernel import Values
    from trials.estimates.looks import Fidelity

#: The record's key of what is kept.
KEY = "estimates"
#: That of why they could not be made beside the search, the last time.
FAILED = "estimating_failed"
#: Trainings from which on it is: a model of fewer is fitted at once.
MANY = 200
#: The way in which estimates are made: another number whenever they come out otherwise.
WAY = 1
#: With less than this probability of being better than the best, a trial is told from it.
TOLD_APART = 0.05


@dataclass(frozen=True)
class Facts:
    """What is said of a model. It was conditioned on `own` of the `scored` trainings of the run and those that count as
    such; the estimates are of `epochs` epochs. `leader` is the key of the best architecture within the budgets, and
    `alike` those of the complete trials that are not told from it."""

    own: int
    scored: int
    epochs: int
    seeds_seen: bool
    going_along: float | None
    kinship: Mapping[str, float]
    contradictions: tuple[tuple[str, float, float], ...]
    leader: str | None
    alike: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """What a record holds of a model: its facts, and the estimates by the architectures' keys. It is of the first so
    many `trainings` that were recorded, the finalists' not counted."""

    stamp: str
    trainings: int
    facts: Facts
    estimates: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        rows = {key: [*_numbers(one.score), *_numbers(one.gain), one.better] for key, one in self.estimates.items()}
        return {"stamp": self.stamp, "trainings": self.trainings, "facts": asdict(self.facts), "estimates": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Kept:
        facts = dict(data["facts"])
        facts["contradictions"] = tuple((str(key), off, noise) for key, off, noise in facts["contradictions"])
        facts["alike"] = tuple(facts["alike"])
        rows: Mapping[str, Sequence[float]] = data["estimates"]
        found = {key: Estimate(Interval(*row[:3]), Interval(*row[3:6]), row[6]) for key, row in rows.items()}
        return cls(data["stamp"], int(data["trainings"]), Facts(**facts), found)


def _numbers(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


@dataclass(frozen=True)
class Made:
    """All that a model is made from."""

    trainings: Sequence[Training]
    baseline: Architecture
    target: Fidelity
    evidence: Sequence[Evidence] = ()

    @cached_property
    def stamp(self) -> str:
        """Another one wherever the estimates may be others."""
        found = hashlib.sha256(repr((WAY, self.baseline.key, self.target)).encode())
        for one in self.evidence:
            found.update(repr((one.identity, one.differs)).encode())
            found.update(_digits(one.trainings))
        found.update(_digits(self.trainings))
        return found.hexdigest()

    def fit(self) -> Estimates:
        """Raises NoEstimate where too little was trained."""
        from trials.estimates.estimates import Estimates  # scipy takes a while

        return Estimates(self.trainings, self.baseline, self.target, self.evidence)


def _digits(trainings: Iterable[Training]) -> bytes:
    return "".join(repr((*t.identity, t.score, t.loss, t.tempered_loss, t.images)) for t in trainings).encode()


class Model:
    """The model of a run's trainings: what was `kept` of it, and for all else itself, fitted when it is asked."""

    def __init__(self, made: Made, kept: Kept | None = None, fitted: Estimates | None = None) -> None:
        self.made, self._kept, self._known = made, kept, fitted
        self._alike: dict[tuple[str, ...], tuple[bool, ...]] = {}

    @cached_property
    def fitted(self) -> Estimates:
        """The model itself."""
        return self.made.fit() if self._known is None else self._known

    @property
    def facts(self) -> Facts | None:
        return None if self._kept is None else self._kept.facts

    @property
    def own(self) -> int:
        """Trainings of this run, and those that count as such, that the model was conditioned on."""
        return self.fitted.looks.own if self.facts is None else self.facts.own

    @property
    def scored(self) -> int:
        """Trainings of this run that have a score."""
        return self.fitted.scored if self.facts is None else self.facts.scored

    @property
    def epochs(self) -> int:
        """Of how many epochs its estimates are."""
        return self.fitted.looks.fidelities[0][1] if self.facts is None else self.facts.epochs

    @property
    def seeds_seen(self) -> bool:
        return self.fitted.seeds_seen if self.facts is None else self.facts.seeds_seen

    @property
    def going_along(self) -> float | None:
        return self.fitted.going_along if self.facts is None else self.facts.going_along

    @property
    def kinship(self) -> Mapping[str, float]:
        return self.fitted.kinship if self.facts is None else self.facts.kinship

    def contradictions(self) -> list[Contradiction]:
        if self.facts is None:
            return self.fitted.contradictions()
        wanted = {key for key, _, _ in self.facts.contradictions}
        there = {t.architecture.key: t.architecture for t in self.made.trainings if t.architecture.key in wanted}
        return [Contradiction(there[key], off, noise) for key, off, noise in self.facts.contradictions]

    def not_told_apart(self, architectures: Sequence[Architecture], best: Architecture) -> tuple[bool, ...]:
        """[n]: whether each of these, which were trained, may be better than the best for all that is known."""
        if self.facts is not None and best.key == self.facts.leader:
            alike = set(self.facts.alike)
            return tuple(one.key in alike for one in architectures)
        asked = best.key, *(one.key for one in architectures)
        if asked not in self._alike:
            better = self.fitted.better_than(architectures, best)
            self._alike[asked] = tuple(bool(p >= TOLD_APART) for p in better)
        return self._alike[asked]

    def better_than(self, architectures: Sequence[Architecture], other: Architecture) -> Values:
        return self.fitted.better_than(architectures, other)

    def gains(self, architectures: Sequence[Architecture]) -> tuple[Values, Values]:
        return self.fitted.gains(architectures)

    def best_of(self, architectures: Sequence[Architecture], other: Architecture, worlds: int, seed: int) -> Best:
        return self.fitted.best_of(architectures, other, worlds, seed)


def kept_of(recorded: Mapping[str, Any] | None, made: Made) -> Kept | None:
    """What a record holds, where that is of just these trainings; None where it is not, or holds nothing."""
    if recorded is None or recorded.get("stamp") != made.stamp:
        return None
    try:
        return Kept.from_json(recorded)
    except (LookupError, TypeError, ValueError):
        return None  # what cannot be read of it is made anew
