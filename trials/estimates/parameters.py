"""The parameters of the model of all trainings: where each stands, and what is believed of them before any is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trials.estimates.kernel import PARTS, Values
from trials.estimates.looks import Looks

#: The medians of log-normal priors, in points of score: what architectures differ by, what a seed moves all by, and the
#: noise of a look, by whether it grew up from nothing. Measured on FusionBench, docs/estimates.md.
SPREAD, SHIFT, NOISE_FROM_SCRATCH, NOISE_OF_TUNED = 0.5, 0.3, 0.3, 0.06
#: As much of the noise that single images make alone is left in a comparison over the same images, at the median.
SHARE_FROM_SCRATCH, SHARE_OF_TUNED = 0.7, 0.25
#: Means and standard deviations of the other priors: of logarithms, of atanhs of correlations (of an output with what
#: all show; of the noise of score and loss), of the mixtures' logits.
WIDE, NOISE_WIDE, GOING_ALONG, TOGETHER = 1.0, 0.4, (1.0, 0.6), (0.7, 0.5)
MIXED, MIXED_OWN = ((0.0, 0.0, 0.0, 0.0, 0.5), 0.7), ((0.0, 0.0, 0.0, 0.0, 1.5), 0.7)
#: How far what another run shows goes along with what this one does, likewise: of the same data otherwise trained, and
#: of other data or another network, of which little is known before trainings of this run tell. And the logits of their
#: mixture beside this run's: apart altogether, runs were not seen to go along that do; as one, what misleads made
#: intervals too narrow.
RELATED, OF_OTHER_DATA = (1.0, 0.6), (0.5, 0.7)
OTHERWISE_MIXED = 0.7


@dataclass(frozen=True)
class Layout:
    """Where each parameter stands in the vector: log spreads, log shifts, log noises, atanh of the correlations with
    what all show [outputs each], atanh of the noise's correlation between score and loss, both mixtures' logits. Where
    there are other runs, their mixture's logits beside the first, and atanh of how far what each of them shows goes
    along with what this one does [others]."""

    outputs: int
    others: int = 0

    @property
    def spread(self) -> slice:
        return slice(0, self.outputs)

    @property
    def shift(self) -> slice:
        return slice(self.outputs, 2 * self.outputs)

    @property
    def noise(self) -> slice:
        return slice(2 * self.outputs, 3 * self.outputs)

    @property
    def correlation(self) -> slice:
        return slice(3 * self.outputs, 4 * self.outputs)

    @property
    def together(self) -> int:
        return 4 * self.outputs

    @property
    def mixture(self) -> slice:
        return slice(4 * self.outputs + 1, 4 * self.outputs + 1 + len(PARTS))

    @property
    def own_mixture(self) -> slice:
        return slice(4 * self.outputs + 1 + len(PARTS), 4 * self.outputs + 1 + 2 * len(PARTS))

    @property
    def other_mixture(self) -> slice:
        first = 4 * self.outputs + 1 + 2 * len(PARTS)
        return slice(first, first + (len(PARTS) if self.others else 0))

    @property
    def kinship(self) -> slice:
        return slice(self.size - self.others, self.size)

    @property
    def size(self) -> int:
        return 4 * self.outputs + 1 + 2 * len(PARTS) + (len(PARTS) + self.others if self.others else 0)


@dataclass(frozen=True)
class Prior:
    """Independent normal distributions of the parameters."""

    mean: Values
    sd: Values

    def log(self, theta: Values) -> float:
        return float(-0.5 * (((theta - self.mean) / self.sd) ** 2).sum())

    def gradient(self, theta: Values) -> Values:
        return -(theta - self.mean) / self.sd**2


def prior_of(looks: Looks, layout: Layout) -> Prior:
    """What is believed of the parameters for these looks."""
    mean, sd = np.zeros(layout.size), np.full(layout.size, WIDE)
    starts = [start for start, _ in looks.fidelities]
    noises = [_noise(start, looks.binomials[source]) for start, source in zip(starts, looks.source, strict=True)]
    for output in range(layout.outputs):
        score = output % 2 == 0
        mean[layout.spread][output] = np.log(SPREAD if score else 0.7 * looks.scales[output])
        mean[layout.shift][output] = np.log(SHIFT if score else 0.4 * looks.scales[output])
        mean[layout.noise][output] = np.log(noises[output // 2] if score else 0.4 * looks.scales[output])
    mean[layout.correlation], sd[layout.correlation] = GOING_ALONG
    mean[layout.together], sd[layout.together] = TOGETHER
    sd[layout.noise] = NOISE_WIDE
    mean[layout.mixture], sd[layout.mixture] = MIXED
    mean[layout.own_mixture], sd[layout.own_mixture] = MIXED_OWN
    if looks.others:
        sd[layout.other_mixture] = OTHERWISE_MIXED
    for place, other in enumerate(looks.others):
        mean[layout.kinship][place], sd[layout.kinship][place] = OF_OTHER_DATA if other.other_data else RELATED
    return Prior(mean, sd)


def _noise(start: str, binomial: float) -> float:
    """Points that a look's score is off by, of images each of which is right or wrong."""
    if start == "scratch":
        return max(NOISE_FROM_SCRATCH, SHARE_FROM_SCRATCH * binomial)
    return max(NOISE_OF_TUNED, SHARE_OF_TUNED * binomial)
