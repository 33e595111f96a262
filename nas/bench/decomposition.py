"""Where the differences among a table's figures come from: architectures, seeds, both together, the finite test set.

Of architectures × seeds, each once: y = mean + architecture + seed + (architecture × seed), by the mean squares of the
two-way layout; the intra-class correlation is ICC(3,1) of Shrout and Fleiss, Psychological Bulletin 1979, of figures
that are paired by seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trials.ranks import kendall_tau

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Decomposition:
    """Standard deviations, in the figure's own unit, of one figure at one fidelity.

    `architecture`, of the architectures themselves; `seed`, what a seed does to all of them alike; `interaction`, what
    is left, which a paired look is uncertain by. Of the interaction, `images` is due to the finite validation set: how
    single images turn from seed to seed; None where they were not read. `between_seeds` is the mean Kendall τ of two
    seeds' rankings, NaN of fewer than two.
    """

    architectures: int
    seeds: int
    mean: float
    architecture: float
    seed: float
    interaction: float
    icc: float
    between_seeds: float
    images: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            name: None if isinstance(value, float) and value != value else value for name, value in asdict(self).items()
        }


def decompose(values: Values, right: NDArray[np.bool_] | None = None) -> Decomposition:
    """Of values [architectures, seeds], at least 2 × 2; `right` [architectures, seeds, images], where the figure is
    their mean.

    Raises ValueError for fewer.
    """
    rows, columns = values.shape
    if rows < 2 or columns < 2:
        raise ValueError(f"{rows} architectures under {columns} seeds: a decomposition takes at least two of each")
    effects, shifts = values.mean(1) - values.mean(), values.mean(0) - values.mean()
    left = values - values.mean() - effects[:, None] - shifts
    noise = float((left**2).sum()) / ((rows - 1) * (columns - 1))
    architecture = max(0.0, float(effects.var(ddof=1)) - noise / columns)
    seed = max(0.0, float(shifts.var(ddof=1)) - noise / rows)
    total = architecture + noise
    pairs = [float(kendall_tau(values[:, i], values[:, j])) for i in range(columns) for j in range(i)]
    return Decomposition(
        rows, columns, float(values.mean()), architecture**0.5, seed**0.5, noise**0.5,
        architecture / total if total > 0 else float("nan"), float(np.mean(pairs)),
        None if right is None else finite_images(right),
    )  # fmt: skip


def finite_images(right: NDArray[np.bool_]) -> float:
    """The standard deviation that the mean over so many images has by theirs alone, of [architectures, seeds, images]:
    architecture and seed taken out image by image."""
    rows, columns, images = right.shape
    squares = np.zeros(())
    for part in np.array_split(np.arange(images), max(1, rows * columns * images // 4_000_000)):
        there = right[:, :, part].astype(np.float64)
        left = there - there.mean(1, keepdims=True) - there.mean(0, keepdims=True) + there.mean((0, 1))
        squares = squares + (left**2).sum()
    return float((squares / ((rows - 1) * (columns - 1))) ** 0.5 / images)


@dataclass(frozen=True)
class TwoWay:
    """y = architecture + seed + what is left, by least squares, where not every architecture has every seed.

    `architectures` by key, at the mean over the seeds; `seeds`, what each does to all alike, around 0; `left` by
    (key, seed); `free`, the degrees of freedom of what is left.
    """

    architectures: Mapping[str, float]
    seeds: Mapping[int, float]
    left: Mapping[tuple[str, int], float]
    free: int


def two_way(figures: Mapping[tuple[str, int], float]) -> TwoWay:
    """Of figures by (key, seed)."""
    if not figures:
        return TwoWay({}, {}, {}, 0)
    keys, seeds = sorted({key for key, _ in figures}), sorted({seed for _, seed in figures})
    rows, columns = ({one: place for place, one in enumerate(every)} for every in (keys, seeds))
    design = np.zeros((len(figures), len(keys) + len(seeds)))
    for place, (key, seed) in enumerate(figures):
        design[place, rows[key]] = design[place, len(keys) + columns[seed]] = 1
    values = np.array(list(figures.values()))
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    effects, shifts = solution[: len(keys)], solution[len(keys) :]
    return TwoWay(
        dict(zip(keys, (effects + shifts.mean()).tolist(), strict=True)),
        dict(zip(seeds, (shifts - shifts.mean()).tolist(), strict=True)),
        dict(zip(figures, (values - design @ solution).tolist(), strict=True)), len(values) - int(rank),
    )  # fmt: skip
