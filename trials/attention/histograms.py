"""The distribution of attention weights over validation images, as recorded: fixed bins, mean and spread. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trials.errors import StoreDamaged

#: Of equal width, over the whole scale of the weights; a multiple of 20, so that `END` falls between two.
BINS = 40
#: This share of the scale at either end counts as saturated.
END = 0.05
_AT_END = round(BINS * END)


@dataclass(frozen=True)
class WeightHistogram:
    """The weights that one part of one fusion computed: `counts` in `BINS` equal bins from 0 to `upper`.

    What is above `upper` is in the last bin, and as it is in `mean` and `std`.
    """

    point: str
    choice: str
    part: str
    upper: float
    counts: tuple[int, ...]
    mean: float
    std: float

    def __post_init__(self) -> None:
        if len(self.counts) != BINS or min(self.counts) < 0 or not sum(self.counts):
            raise ValueError(f"histogram of {self.part} at {self.point}: expected {BINS} counts that are not all 0")
        if not (self.upper > 0 and self.std >= 0 and all(map(math.isfinite, (self.upper, self.mean, self.std)))):
            raise ValueError(f"histogram of {self.part} at {self.point}: a figure is not finite or below 0")

    @property
    def low(self) -> float:
        """The share of weights in the lowest `END` of the scale: below .05 for a gate."""
        return sum(self.counts[:_AT_END]) / sum(self.counts)

    @property
    def high(self) -> float:
        """The share in the highest `END`: above .95 for a gate."""
        return sum(self.counts[-_AT_END:]) / sum(self.counts)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "counts": list(self.counts), "below_5_percent": self.low, "above_95_percent": self.high}


@dataclass(frozen=True)
class TrialAttention:
    """The histograms of a trial's trained network, in forward order, over `images` of `of_images` validation images.

    Without histograms, no operator of it computes attention weights.
    """

    number: int
    images: int
    of_images: int
    histograms: tuple[WeightHistogram, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "trial": self.number,
            "images": self.images,
            "of_images": self.of_images,
            "histograms": [histogram.to_json() for histogram in self.histograms],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrialAttention:
        """The inverse of `to_json`. Raises ValueError when the shape is not that of one."""
        try:
            return cls(
                int(data["trial"]), int(data["images"]), int(data["of_images"]),
                tuple(_histogram(part) for part in data["histograms"]),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not the JSON of attention histograms: {error!r}") from None


def _histogram(data: Mapping[str, Any]) -> WeightHistogram:
    point, choice, part = (str(data[name]) for name in ("point", "choice", "part"))
    upper, mean, std = (float(data[name]) for name in ("upper", "mean", "std"))
    return WeightHistogram(point, choice, part, upper, tuple(int(count) for count in data["counts"]), mean, std)


def recorded_histograms(data: Mapping[str, Any], path: Path) -> dict[int, TrialAttention]:
    """Those of a run's record, by trial. Raises StoreDamaged, naming the run's folder."""
    try:
        found = [TrialAttention.from_json(one) for one in data.values()]
    except ValueError as error:
        raise StoreDamaged(f"{path}: its attention histograms are damaged: {error}") from None
    return {one.number: one for one in found}
