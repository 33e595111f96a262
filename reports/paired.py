"""Whether finalists beat the network that they were trained beside: a sequential test over paired seeds and images.

What is compared is the mean over seeds of (finalist − control). Its error has two parts:

- seeds: what is left of a table of networks × seeds when each network's and each seed's mean are taken out, pooled over
  all networks (common random numbers move all networks alike), with (networks − 1)·(seeds − 1) degrees of freedom;
- images: that the test set is finite. What single images do to a difference, the same under every seed, is told apart
  from what they do under one seed alone (which the first part has already) as in any two-way layout of random effects.

Looking again after each further seed, and at several finalists, gives chance more occasions. The level at which one
look at one finalist is read is therefore the one under which, were all networks equal, a winner would be named in
`ALPHA` of all finals by the leading figure, and in as many by the loss: found by simulating the test itself, which
depends on the number of finalists and of looks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.floating]

#: One-sided, of one figure: the leading one and the loss may each name a winner among equals in so many finals.
ALPHA = 0.025
#: Of the leading figure, 0..1: who could gain less than this by another network is not looked at further.
MATTERS = 0.005
#: Further seeds that would narrow an interval by less than this share are not worth their training.
_NARROWER = 0.1
_SIMULATED = 20_000


@dataclass(frozen=True)
class Gain:
    """By how much a finalist is better than the control: more is better, whatever the figure. `seeds_error` and
    `images_error` are the standard errors of the two parts; `low` to `high` holds the gains that cannot be excluded."""

    mean: float
    low: float
    high: float
    seeds: int
    df: float
    seeds_error: float
    images_error: float

    @property
    def wins(self) -> bool:
        return self.low > 0

    @property
    def margin(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Plan:
    """How long the test may go on: `finalists` beside the control, `least` seeds at the first look, `most` at last."""

    finalists: int
    least: int
    most: int

    @property
    def level(self) -> float:
        """The one-sided level of one look at one finalist."""
        return _level(self.finalists, self.least, self.most)


def gains(table: Floats, plan: Plan, by_image: Sequence[Floats | None] | None = None) -> list[Gain | None]:
    """The gain of each finalist; None of one that has fewer than two seeds in common with the control.

    table: [1 + finalists, seeds], the control first; higher is better; NaN what was not trained.
    by_image: of each finalist what `table` is the mean of, finalist − control, [its seeds in common, images], in the
        order of the seeds; None where there is no such thing: then the images' own part is left out.
    """
    table = np.asarray(table, dtype=np.float64)
    residual, left = _residual_variance(table)
    images = [None] * (len(table) - 1) if by_image is None else list(by_image)
    found: list[Gain | None] = []
    parts = [None if each is None or len(each) < 2 else _image_parts(np.asarray(each, np.float64)) for each in images]
    least = max((part[1] for part in parts if part is not None), default=0.0)
    for row, part in zip(table[1:], parts, strict=True):
        differences = (row - table[0])[~np.isnan(row - table[0])]
        seeds = len(differences)
        if seeds < 2 or left < 1:
            found.append(None)
            continue
        # Each seed judges by the same finite set: fewer degrees of freedom than that knows of may not say otherwise.
        of_seeds = max(2 * residual, least) / seeds
        of_images, _, count = part if part is not None else (0.0, 0.0, 0)
        variance = of_seeds + of_images
        df = left if not of_images else variance**2 / (of_seeds**2 / left + of_images**2 / (count - 1))
        half = float(stdtrit(df, 1 - plan.level)) * variance**0.5
        mean = float(differences.mean())
        found.append(Gain(mean, mean - half, mean + half, seeds, float(df), of_seeds**0.5, of_images**0.5))
    return found


def wins_by_loss(figure: Gain | None, loss: Gain | None) -> bool:
    """Whether the loss names a winner: it is lower, and the leading figure does not say the contrary."""
    return figure is not None and loss is not None and loss.wins and figure.high > 0


def unfinished(
    figure: Sequence[Gain | None], loss: Sequence[Gain | None], plan: Plan, matters: float = MATTERS
) -> list[int]:
    """The finalists, by place, that another seed is to be spent on: none once one has won or all are hopeless. Once
    one has won by its loss, only those that can still be expected to win by the figure itself.

    figure, loss: their gains by the leading figure and by the loss so far.
    """
    if _won(figure):
        return []
    decided = any(map(wins_by_loss, figure, loss))
    return [
        place
        for place, (gain, other) in enumerate(zip(figure, loss, strict=True))
        if gain is not None
        and gain.seeds < plan.most
        and gain.high >= matters  # what is less than that, nobody would miss
        and (gain.mean > _margin_after(gain, plan) if decided else _narrows(gain, plan) or _narrows(other, plan))
    ]


def _won(gains: Sequence[Gain | None]) -> bool:
    return any(gain is not None and gain.wins for gain in gains)


def _narrows(gain: Gain | None, plan: Plan) -> bool:
    """Whether more seeds help at all: they do not where the finite test set is what leaves it open."""
    return gain is not None and _margin_after(gain, plan) < (1 - _NARROWER) * gain.margin


def _margin_after(gain: Gain, plan: Plan) -> float:
    """The half width that is to be expected at the last look."""
    of_seeds = gain.seeds_error**2 * gain.seeds / plan.most
    variance = of_seeds + gain.images_error**2
    df = float(plan.finalists * (plan.most - 1))
    if gain.images_error and of_seeds:
        df *= (variance / of_seeds) ** 2
    return float(stdtrit(df, 1 - plan.level) * variance**0.5)


def _residual_variance(table: Floats) -> tuple[float, int]:
    """Of networks × seeds without what is each network's and each seed's, and its degrees of freedom."""
    there = ~np.isnan(table)
    networks, seeds = table.shape
    rows, columns = np.nonzero(there)
    design = np.zeros((len(rows), networks + seeds))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), networks + columns] = 1
    values = table[there]
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    left = len(values) - int(rank)
    return (float(((values - design @ solution) ** 2).sum()) / left if left else 0.0), left


def _image_parts(differences: Floats) -> tuple[float, float, int]:
    """Of [seeds, images]: the variance of their mean that images have under every seed alike, that of one seed's mean
    by what images do under it alone, and how many images there are."""
    seeds, images = differences.shape
    by_image, by_seed, mean = differences.mean(axis=0), differences.mean(axis=1), differences.mean()
    alone = differences - by_seed[:, None] - by_image + mean
    interaction = float((alone**2).sum()) / ((seeds - 1) * max(images - 1, 1))
    common = float(by_image.var(ddof=1)) - interaction / seeds if images > 1 else 0.0
    return max(common, 0.0) / images, interaction / images, images


@cache
def _level(finalists: int, least: int, most: int) -> float:
    """The level of one look at one finalist under which equal networks name a winner in `ALPHA` of all finals."""
    rng = np.random.default_rng([finalists, least, most])
    scores = rng.standard_normal((_SIMULATED, 1 + finalists, most))
    smallest = np.ones(_SIMULATED)
    for seeds in range(least, most + 1):
        seen = scores[:, :, :seeds]
        means = seen.mean(axis=2)
        left = seen - means[:, :, None] - seen.mean(axis=1)[:, None] + means.mean(axis=1)[:, None, None]
        df = finalists * (seeds - 1)
        error = np.sqrt(2 * (left**2).sum(axis=(1, 2)) / df / seeds)
        best = (means[:, 1:].max(axis=1) - means[:, 0]) / error
        smallest = np.minimum(smallest, 1 - stdtr(df, best))
    return float(np.quantile(smallest, ALPHA))
