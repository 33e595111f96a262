"""How long trainings take, from those that were measured, by architecture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from search_spaces.architecture import Architecture
from trials.record.training import Training

#: A forward pass as a share of a training step.
FORWARD = 1 / 3


@dataclass(frozen=True)
class Work:
    """How many images a look is trained on in an epoch and judged by at its end, and likewise a finalist, who is
    trained on both and judged by the test images."""

    train: int
    val: int
    test: int

    def images(self, epochs: int, final: bool) -> float:
        """That a training takes a step of, those that it is judged by counted as what they take."""
        train, judged = (self.train + self.val, self.test) if final else (self.train, self.val)
        return epochs * train + FORWARD * judged


class Pace:
    """Predicts the seconds of trainings, in proportion to their images."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._rates: defaultdict[str, list[float]] = defaultdict(list)
        self._assumed: float | None = None
        self._beside_s, self._looks = 0.0, 0

    def assume(self, seconds: float, epochs: int) -> None:
        """What is taken while nothing was measured: that of the network that trials start from."""
        self._assumed = seconds / self.work.images(epochs, final=False)

    def learn(self, trainings: Iterable[Training]) -> None:
        """Those that ended well."""
        for training in trainings:
            if training.error is None and training.seconds > 0:
                images = self.work.images(training.epochs, training.final)
                self._rates[training.architecture.key].append(training.seconds / images)

    def wait(self, seconds: float, another: bool) -> None:
        """What a look costs beside its training, proposed by the one driver: `another` says whether it was one more."""
        self._beside_s += seconds
        self._looks += another

    @property
    def beside_s(self) -> float:
        """Of a look, beside its training."""
        return self._beside_s / self._looks if self._looks else 0.0

    @property
    def measured(self) -> bool:
        """Whether any training was."""
        return bool(self._rates)

    @property
    def known(self) -> bool:
        """Whether anything can be said."""
        return self.measured or self._assumed is not None

    def seconds(self, epochs: int, architecture: Architecture | None = None, final: bool = False) -> float:
        """Of a training of so many epochs; of an architecture that was never trained, or is not known yet, rather too
        many than too few: a standard deviation more than the mean. 0 where nothing is known."""
        mine = self._rates.get(architecture.key) if architecture is not None else None
        rate = fmean(mine) if mine else self._typical + self._spread
        return rate * self.work.images(epochs, final)

    def typical(self, epochs: int, final: bool = False) -> float:
        """The mean over architectures; 0 where nothing is known."""
        return self._typical * self.work.images(epochs, final)

    @property
    def image(self) -> float:
        """Seconds of a training step for each of its images."""
        return self._typical

    @property
    def _typical(self) -> float:
        means = self._means
        return fmean(means) if means else self._assumed or 0.0

    @property
    def _means(self) -> list[float]:
        return [fmean(rates) for rates in self._rates.values()]

    @property
    def _spread(self) -> float:
        means = self._means
        return stdev(means) if len(means) > 1 else 0.0
