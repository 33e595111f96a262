"""Trainings as the arrays that a model is fitted to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture
from trials.estimates.kernel import Values
from trials.record.training import Training

#: A fidelity: from what a training starts, and its epochs.
Fidelity = tuple[str, int]
#: Points of accuracy that seeds and images move a score by at the least, whatever the seeds that were seen.
LEAST_NOISE = 0.01


@dataclass(frozen=True)
class Looks:
    """n trainings with a score, and what each has to say.

    figures [rows]: scores in points (0..100) and negated losses, more is better, a row each; of which training, which
    of the distinct `architectures`, which seed and which output a row is. An output is a figure at a fidelity: 2i the
    score at fidelity i, 2i + 1 its loss. Output 0 is what is estimated. `binomial` is the standard deviation, in
    points, of one score by the number of its images alone; `scales` [outputs] are what losses spread, shifts and noise
    included, and 1 of scores.
    """

    architectures: tuple[Architecture, ...]
    seeds: tuple[int, ...]
    fidelities: tuple[Fidelity, ...]
    figures: Values
    training: NDArray[np.int64]
    architecture: NDArray[np.int64]
    seed: NDArray[np.int64]
    output: NDArray[np.int64]
    binomial: float
    scales: Values

    @classmethod
    def of(cls, trainings: Sequence[Training], target: Fidelity, most: int | None = None) -> Looks:
        """Those of them that have a score, at most `most`. `target` is the fidelity whose score is wanted."""
        scored = sorted((t for t in trainings if t.score is not None), key=lambda t: t.identity)
        if most is not None and len(scored) > most:
            scored = _worth_conditioning_on(scored, most)
        by_key = {t.architecture.key: t.architecture for t in scored}
        seeds = sorted({t.seed for t in scored})
        key_places = {key: place for place, key in enumerate(sorted(by_key))}
        seed_places = {seed: place for place, seed in enumerate(seeds)}
        others = sorted({(t.start, t.epochs) for t in scored} - {target}, key=lambda f: (-f[1], f[0]))
        fidelities = (target, *others)
        rows = []
        for number, t in enumerate(scored):
            where = number, key_places[t.architecture.key], seed_places[t.seed]
            first = 2 * fidelities.index((t.start, t.epochs))
            rows.append((100 * (t.score or 0.0), *where, first))
            if t.loss is not None:
                rows.append((-t.loss, *where, first + 1))
        table = np.array(rows, float).reshape(-1, 5)
        places = table[:, 1:].astype(np.int64)
        return cls(
            tuple(by_key[key] for key in key_places), tuple(seeds), fidelities, table[:, 0],
            places[:, 0], places[:, 1], places[:, 2], places[:, 3],
            _binomial(scored), _scales(table[:, 0], places[:, 3], 2 * len(fidelities)),
        )  # fmt: skip

    @property
    def trainings(self) -> int:
        return int(self.training.max(initial=-1)) + 1

    def telling(self, most: int) -> Looks:
        """At most `most` of the trainings, to fit parameters to: those of the architectures that were trained most
        often, for they tell what seeds do, and a spread sample of the others."""
        if self.trainings <= most:
            return self
        first = np.unique(self.training, return_index=True)[1]  # each training's first row
        often = np.bincount(self.architecture[first])[self.architecture[first]]
        shuffled = np.random.default_rng(0).permutation(len(first))
        chosen = shuffled[np.argsort(-often[shuffled], kind="stable")][:most]
        kept = np.isin(self.training, chosen)
        rows = {name: getattr(self, name)[kept] for name in ("figures", "architecture", "seed", "output", "training")}
        return replace(self, **rows)


def _worth_conditioning_on(trainings: Sequence[Training], most: int) -> list[Training]:
    """At most `most` of them, in their order: all of architectures that were trained more than once, then the best by
    score and by loss in turns, for half, and a spread sample of the others, so that they are not all good ones."""
    often = Counter(t.architecture.key for t in trainings)
    repeated = [place for place, t in enumerate(trainings) if often[t.architecture.key] > 1]
    places = range(len(trainings))
    by_score = sorted(places, key=lambda place: -(trainings[place].score or 0.0))
    losses = [math.inf if t.loss is None else t.loss for t in trainings]
    by_loss = sorted(places, key=losses.__getitem__)
    best = [place for pair in zip(by_score, by_loss, strict=True) for place in pair]
    spread = np.random.default_rng(0).permutation(len(trainings)).tolist()
    half = max(len(repeated[:most]), most // 2)
    chosen: set[int] = set()
    for order, size in ((repeated, most), (best, half), (spread, most)):
        for place in order:
            if len(chosen) >= size:
                break
            chosen.add(place)
    return [trainings[place] for place in sorted(chosen)]


def _scales(figures: Values, output: NDArray[np.int64], outputs: int) -> Values:
    found = np.ones(outputs)
    for one in range(1, outputs, 2):
        here = figures[output == one]
        if len(here) > 1 and here.std(ddof=1) > 0:
            found[one] = here.std(ddof=1)
    return found


def _binomial(trainings: Sequence[Training]) -> float:
    """The median over trainings, 0 where their images were not counted."""
    found = [
        100 * (max(t.score * (1 - t.score), 0.0) / t.images) ** 0.5
        for t in trainings
        if t.score is not None and t.images
    ]
    return float(np.median(found)) if found else 0.0
