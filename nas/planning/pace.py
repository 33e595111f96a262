"""How long trainings take, from those that were measured: seconds of an epoch, by architecture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean, stdev

from search_spaces.architecture import Architecture
from trials.record.training import Training


class Pace:
    """Predicts the seconds of trainings. `final_ratio` is how many times a trial's images a finalist is trained on.

    Every training counts in proportion to its images; what one costs beside them (building, evaluating) is in that.
    """

    def __init__(self, final_ratio: float) -> None:
        self._final_ratio = final_ratio
        self._rates: defaultdict[str, list[float]] = defaultdict(list)
        self._assumed: float | None = None

    def assume(self, seconds: float, epochs: int) -> None:
        """What is taken while nothing was measured: that of the network that trials start from."""
        self._assumed = seconds / epochs

    def learn(self, trainings: Iterable[Training]) -> None:
        """Those that ended well."""
        for training in trainings:
            if training.error is None and training.seconds > 0:
                epochs = training.epochs * (self._final_ratio if training.final else 1.0)
                self._rates[training.architecture.key].append(training.seconds / epochs)

    @property
    def measured(self) -> bool:
        """Whether any training was."""
        return bool(self._rates)

    def seconds(self, epochs: int, architecture: Architecture | None = None, final: bool = False) -> float | None:
        """Of a training of so many epochs; of an architecture that was never trained, or is not known yet, rather too
        many than too few: a standard deviation more than the mean. None where nothing is known."""
        images = epochs * (self._final_ratio if final else 1.0)
        mine = self._rates.get(architecture.key) if architecture is not None else None
        if mine:
            return images * fmean(mine)
        typical = self.typical
        return None if typical is None else images * (typical + self._spread)

    @property
    def typical(self) -> float | None:
        """Of an epoch, the mean over architectures."""
        means = self._means
        return fmean(means) if means else self._assumed

    @property
    def _means(self) -> list[float]:
        return [fmean(rates) for rates in self._rates.values()]

    @property
    def _spread(self) -> float:
        means = self._means
        return stdev(means) if len(means) > 1 else 0.0
