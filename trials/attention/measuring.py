"""What a trained network's attention weights are over validation images, at each fusion point."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.attention_weights import See, watched
from trials.attention.histograms import BINS, TrialAttention, WeightHistogram
from trials.machine.device import lock_name, synchronise
from trials.machine.quiet import occupied
from trials.training.trainer import Trainer

#: Validation images that are looked at, evenly spaced: a map's every position and channel counts, so these are many
#: millions of weights.
MAX_IMAGES = 1024
#: Weights that are sorted into bins at once: their indices take eight bytes each.
_CHUNK = 1 << 22


@dataclass
class _Tally:
    """What is known of the weights of one part so far, in float64."""

    point: str
    choice: str
    part: str
    upper: float
    counts: torch.Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.int64))
    total: float = 0.0
    squares: float = 0.0

    def add(self, weights: torch.Tensor) -> None:
        for some in torch.split(weights.flatten(), _CHUNK):
            values = some.double()
            bins = (values * (BINS / self.upper)).long().clamp_(0, BINS - 1)
            self.counts += torch.bincount(bins, minlength=BINS).cpu()
            self.total += float(values.sum())
            self.squares += float(values.square().sum())

    def histogram(self) -> WeightHistogram:
        number = int(self.counts.sum())
        mean = self.total / number
        variance = max(self.squares / number - mean**2, 0.0)
        counts = tuple(int(count) for count in self.counts)
        return WeightHistogram(self.point, self.choice, self.part, self.upper, counts, mean, math.sqrt(variance))


def attention_of(number: int, network: nn.Module, architecture: Architecture, trainer: Trainer) -> TrialAttention:
    """The distribution of the attention weights of trial `number`, in evaluation, in float32.

    `network` is the trained one of `architecture`, on the device of the data.

    Raises:
        NonFiniteLoss, ValueError: it computes what is not finite.
    """
    device = next(network.parameters()).device
    tallies: dict[tuple[str, str], _Tally] = {}

    def see(point: str) -> See:
        def tell(part: str, weights: torch.Tensor, upper: float) -> None:
            if (point, part) not in tallies:
                tallies[point, part] = _Tally(point, str(architecture.choices[point]), part, upper)
            tallies[point, part].add(weights)

        return tell

    hold = occupied(synchronise(device), device=lock_name(device))
    with watched(network, architecture, see), hold as machine:
        looked_at = trainer.judging(MAX_IMAGES).evaluate(network, machine).images
    # A network may run its points in another order than it lists them.
    order = {point: index for index, point in enumerate(architecture.choices)}
    histograms = [tally.histogram() for tally in sorted(tallies.values(), key=lambda tally: order[tally.point])]
    return TrialAttention(number, looked_at, trainer.validation_images, tuple(histograms))
