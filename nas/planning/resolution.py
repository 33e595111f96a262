"""What finals resolve: the smallest gain over all-add that they would find, from how noisy a paired difference is.

Two things make it noisy, as in `reports.paired`: what seeds do, and that the test images are finitely many. The first
is measured by the opening of a search; before, and beside few seeds, stands what FusionBench's trainings show. Of the
second, the share of an accuracy's binomial noise that is left between two networks over the same images is known from
the same trainings (docs/estimates.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reports.noise import NoiseFloor
from trials.estimates.parameters import NOISE_FROM_SCRATCH, NOISE_OF_TUNED, SHARE_FROM_SCRATCH, SHARE_OF_TUNED

#: Points that architectures differ by in the pilot, a standard deviation: a search that resolves less tells nothing.
SPREAD = 0.5
#: What the noise of seeds counts for where some was measured: as so many degrees of freedom.
_PRIOR_DF = 4
#: With this probability a gain of what finals resolve is found.
_POWER = 0.8


@dataclass(frozen=True)
class Noise:
    """In points of score (0..100): of one training beside others under the same seed, by what seeds do (`seed`) and by
    single test images (`image`), each a standard deviation."""

    seed: float
    image: float


def noise_before(from_scratch: bool, test_images: int | None, score: float | None = None) -> Noise:
    """What is expected before any was measured. `test_images` is None, or 0, where no images are counted right or
    wrong; score (0..1) is that of a trained network, where one is known."""
    seed, share = (NOISE_FROM_SCRATCH, SHARE_FROM_SCRATCH) if from_scratch else (NOISE_OF_TUNED, SHARE_OF_TUNED)
    return Noise(seed, share * binomial(score, test_images))


def noise_measured(before: Noise, floor: NoiseFloor | None) -> Noise:
    """The same, drawn towards what seeds were seen to do at the finalists' schedule."""
    if floor is None or floor.score.paired_sd is None:
        return before
    seen, df = 100 * floor.score.paired_sd / math.sqrt(2), floor.score.paired_df
    pooled = (df * seen**2 + _PRIOR_DF * before.seed**2) / (df + _PRIOR_DF)
    return Noise(math.sqrt(pooled), before.image)


def binomial(score: float | None, images: int | None) -> float:
    """Points that one accuracy is moved by for its images are finitely many; 0 where none are counted."""
    p = 0.8 if score is None else min(max(score, 0.02), 0.98)
    return 100 * math.sqrt(p * (1 - p) / images) if images else 0.0


def resolves(noise: Noise, finalists: int, seeds: int, most: int) -> float | None:
    """Points of gain over all-add that so many finalists under so many paired seeds show with a probability of 80 %;
    None where there are none, or one seed."""
    if finalists < 1 or seeds < 2:
        return None
    from scipy.special import stdtrit

    from reports.paired import Plan  # with scipy: takes a while

    of_seeds, of_images = 2 * noise.seed**2 / seeds, 2 * noise.image**2
    variance, left = of_seeds + of_images, finalists * (seeds - 1)
    df = left * (variance / of_seeds) ** 2 if of_seeds else math.inf
    df = min(df, 1e6)
    level = Plan(finalists, seeds, max(most, seeds)).level
    return float((stdtrit(df, 1 - level) + stdtrit(df, _POWER)) * math.sqrt(variance))
