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
from trials.record.evidence import Evidence, apart
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
    score at fidelity i, 2i + 1 its loss, at each network's own temperature where all of a fidelity have it. Output 0 is
    what is estimated. `scales` [outputs] are what losses spread, shifts and noise included, and 1 of scores.

    `others` are the other runs whose trainings are among them under fidelities of their own, `source` [fidelities]
    which of them a fidelity is of, from 1 on: 0 are those of this run, whose `seeds` alone are named. `binomials`
    [1 + others] are the standard deviations, in points, of one score by the number of its images alone.
    """

    architectures: tuple[Architecture, ...]
    seeds: tuple[int, ...]
    fidelities: tuple[Fidelity, ...]
    figures: Values
    training: NDArray[np.int64]
    architecture: NDArray[np.int64]
    seed: NDArray[np.int64]
    output: NDArray[np.int64]
    binomials: tuple[float, ...]
    scales: Values
    others: tuple[Evidence, ...] = ()
    source: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        trainings: Sequence[Training],
        target: Fidelity,
        most: int | None = None,
        evidence: Sequence[Evidence] = (),
    ) -> Looks:
        """Those of them that have a score, at most `most`, and all `evidence`. `target` is the fidelity whose score is
        wanted."""
        same, others = apart(evidence, trainings)
        scored = sorted((t for t in (*trainings, *same) if t.score is not None), key=lambda t: t.identity)
        if most is not None and len(scored) > most:
            scored = _worth_conditioning_on(scored, most)
        groups = [scored, *(sorted(one.trainings, key=lambda t: t.identity) for one in others)]
        by_key = {t.architecture.key: t.architecture for group in groups for t in group}
        key_places = {key: place for place, key in enumerate(sorted(by_key))}
        seeds = sorted({t.seed for t in scored})
        seed_places = {seed: place for place, seed in enumerate(dict.fromkeys([*seeds, *_seeds(groups[1:])]))}
        fidelities: list[tuple[int, Fidelity]] = [(0, target)]
        for source, group in enumerate(groups):
            there = {(t.start, t.epochs) for t in group} - ({target} if source == 0 else set())
            fidelities += [(source, one) for one in sorted(there, key=lambda f: (-f[1], f[0]))]
        outputs = {one: 2 * place for place, one in enumerate(fidelities)}
        tempered = _tempered(groups)
        rows = []
        for number, (source, t) in enumerate((source, t) for source, group in enumerate(groups) for t in group):
            where = number, key_places[t.architecture.key], seed_places[t.seed]
            first = outputs[source, (t.start, t.epochs)]
            rows.append((100 * (t.score or 0.0), *where, first))
            loss = t.tempered_loss if (source, t.start, t.epochs) in tempered else t.loss
            if loss is not None:
                rows.append((-loss, *where, first + 1))
        table = np.array(rows, float).reshape(-1, 5)
        places = table[:, 1:].astype(np.int64)
        return cls(
            tuple(by_key[key] for key in key_places), tuple(seeds), tuple(one for _, one in fidelities), table[:, 0],
            places[:, 0], places[:, 1], places[:, 2], places[:, 3], tuple(_binomial(group) for group in groups),
            _scales(table[:, 0], places[:, 3], 2 * len(fidelities)), tuple(others),
            tuple(source for source, _ in fidelities),
        )  # fmt: skip

    @property
    def trainings(self) -> int:
        return int(self.training.max(initial=-1)) + 1

    @property
    def own(self) -> int:
        """Trainings that are not of the `others`."""
        return self.trainings - sum(len(one.trainings) for one in self.others)

    def telling(self, most: int) -> Looks:
        """At most `most` of the trainings, to fit parameters to: those of the architectures that were trained most
        often, for they tell what seeds do, and a spread sample of the others. Of other runs' at most half, or what is
        left by this run's own."""
        if self.trainings <= most:
            return self
        first = np.unique(self.training, return_index=True)[1]  # each training's first row
        often = np.bincount(self.architecture[first])[self.architecture[first]]
        shuffled = np.random.default_rng(0).permutation(len(first))
        order = shuffled[np.argsort(-often[shuffled], kind="stable")]
        elsewhere = order >= self.own
        room = min(int(elsewhere.sum()), max(most // 2, most - self.own))
        chosen = np.concatenate([order[~elsewhere][: most - room], order[elsewhere][:room]])
        kept = np.isin(self.training, chosen)
        rows = {name: getattr(self, name)[kept] for name in ("figures", "architecture", "seed", "output", "training")}
        return replace(self, **rows)


def worth_conditioning_on(trainings: Sequence[Training], most: int) -> list[Training]:
    """At most `most` of trainings with a score, in the order of their identities: those that tell most."""
    scored = sorted(trainings, key=lambda t: t.identity)
    return scored if len(scored) <= most else _worth_conditioning_on(scored, most)


def _tempered(groups: Sequence[Sequence[Training]]) -> set[tuple[int, str, int]]:
    """The fidelities of each run whose losses all have their temperature taken out: of the others none is, for two
    kinds of loss are no one figure."""
    found: set[tuple[int, str, int]] = set()
    lacking: set[tuple[int, str, int]] = set()
    for source, group in enumerate(groups):
        for t in group:
            if t.loss is not None:
                (lacking if t.tempered_loss is None else found).add((source, t.start, t.epochs))
    return found - lacking


def _seeds(groups: Sequence[Sequence[Training]]) -> list[int]:
    return sorted({t.seed for group in groups for t in group})


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
