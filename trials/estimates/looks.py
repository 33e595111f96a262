"""Trainings as the arrays that a model is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    points, of one score by the number of its images alone.
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

    @classmethod
    def of(cls, trainings: Sequence[Training], target: Fidelity) -> Looks:
        """Those of them that have a score. `target` is the fidelity whose score is wanted."""
        scored = [t for t in trainings if t.score is not None]
        by_key = {t.architecture.key: t.architecture for t in scored}
        keys, seeds = sorted(by_key), sorted({t.seed for t in scored})
        others = sorted({(t.start, t.epochs) for t in scored} - {target}, key=lambda f: (-f[1], f[0]))
        fidelities = (target, *others)
        rows = []
        for number, t in enumerate(scored):
            where = number, keys.index(t.architecture.key), seeds.index(t.seed)
            first = 2 * fidelities.index((t.start, t.epochs))
            rows.append((100 * (t.score or 0.0), *where, first))
            if t.loss is not None:
                rows.append((-t.loss, *where, first + 1))
        table = np.array(rows, float).reshape(-1, 5)
        places = table[:, 1:].astype(np.int64)
        return cls(
            tuple(by_key[key] for key in keys), tuple(seeds), fidelities, table[:, 0],
            places[:, 0], places[:, 1], places[:, 2], places[:, 3], _binomial(scored),
        )  # fmt: skip

    @property
    def trainings(self) -> int:
        return len(set(self.training.tolist()))


def _binomial(trainings: Sequence[Training]) -> float:
    """The median over trainings, 0 where their images were not counted."""
    found = [
        100 * (max(t.score * (1 - t.score), 0.0) / t.images) ** 0.5
        for t in trainings
        if t.score is not None and t.images
    ]
    return float(np.median(found)) if found else 0.0
