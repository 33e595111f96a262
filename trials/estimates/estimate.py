"""What an estimate is: figures with intervals, as they are told and kept. Free of numpy and scipy."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from search_spaces.architecture import Architecture


@dataclass(frozen=True)
class Interval:
    """A figure in points (0..100), and where it lies with a probability of 90 %."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """One architecture's score at the wanted schedule, a mean over seeds, and its gain over all-add, in points.

    `better` is the probability that it is better than all-add (1/2 for all-add itself).
    """

    score: Interval
    gain: Interval
    better: float

    def to_json(self) -> dict[str, object]:
        """The score 0..1, as everywhere in the record; the gain in points."""
        score = {name: value / 100 for name, value in asdict(self.score).items()}
        return {**score, "gain_points": asdict(self.gain), "better_than_baseline": self.better}


@dataclass(frozen=True)
class Contradiction:
    """An architecture whose score under one seed is off what its loss and all else say, in points; noise would be
    within `noise`."""

    architecture: Architecture
    points: float
    noise: float
