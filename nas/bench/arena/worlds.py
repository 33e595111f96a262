"""What a search finds when it trains nothing: the table's world, and two in which the truth is planted.

An answer is the figure of its architecture, what its seed does to all alike, and a deviation: the two are drawn from
those that were measured, whole (accuracy and loss of every fidelity together), so that they are as noisy and go
together as really they do. Figures of architectures that the table lacks are its model's, with the residual that some
architecture of the table has when it is left out of it; they are told from measured ones, and counted. A figure is what
seeds come to on average, so that the noise of the few that were trained is taken out of both (see `_Own`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.bench.arena.model import Fitted, fit, shared_parts
from nas.bench.decomposition import two_way
from nas.bench.editions import Schedule
from nas.bench.errors import BenchError
from nas.bench.table import Table
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.costs import CostTable
from trials.estimates.kernel import Values
from trials.record.training import Training
from trials.seeds import derive
from trials.trial import Costs

#: Architectures with every fidelity, and deviations of them, that a world takes at the least.
FEWEST_ARCHITECTURES, FEWEST_DEVIATIONS = 5, 8
FIGURES = ("accuracy", "loss")


@dataclass(frozen=True)
class Look:
    """What a training would have come to: accuracy (0..1), loss, seconds of one thread; whether the architecture's own
    figure at this fidelity was measured."""

    accuracy: float
    loss: float
    seconds: float
    measured: bool


@dataclass(frozen=True, eq=False)
class World:
    """Every architecture of a space with its true figures, and what makes looks at them noisy.

    figures: [architectures, outputs], `outputs` being (fidelity, figure), in the order of `architectures`. shifts
    [seeds, outputs] are what a seed does to all alike, deviations [n, outputs] what is left. `epoch_seconds` are one
    thread's. `planted`: the choice at a point, and the points of accuracy that it is worth at the truth.
    """

    name: str
    space: SearchSpace
    costs: CostTable
    fidelities: tuple[str, ...]
    truth: str
    images_per_epoch: int
    validation_images: int
    architectures: tuple[Architecture, ...]
    figures: Values
    measured: NDArray[np.bool_]
    shifts: Values
    deviations: Values
    epoch_seconds: Values
    planted: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {architecture.key: place for place, architecture in enumerate(self.architectures)}

    def look(self, architecture: Architecture, fidelity: str, seed: int, realisation: int) -> Look:
        """A training under a seed. Seeds have effects of their own in each `realisation` of the world's noise."""
        place, first = self._places[architecture.key], 2 * self._fidelity(fidelity)
        shift = self.shifts[derive(realisation, "shift", seed) % len(self.shifts)]
        drawn = self.deviations[derive(realisation, "deviation", seed, architecture.key) % len(self.deviations)]
        accuracy, loss = (self.figures[place] + shift + drawn)[first : first + 2]
        seconds = self.epoch_seconds[place] * Schedule.parse(fidelity).epochs
        return Look(float(np.clip(accuracy, 0, 1)), float(loss), float(seconds), bool(self.measured[place, first]))

    def true_accuracy(self, architecture: Architecture) -> float:
        """The mean of what is true, of the longest schedule from scratch where nothing else was asked, 0..1."""
        return float(self.figures[self._places[architecture.key], 2 * self._fidelity(self.truth)])

    def images(self, fidelity: str) -> int:
        """That a look trains on."""
        return Schedule.parse(fidelity).epochs * self.images_per_epoch

    def price(self, architecture: Architecture) -> Costs:
        return self.costs(architecture)

    def _fidelity(self, name: str) -> int:
        if name not in self.fidelities:
            raise BenchError(f"fidelity {name!r}: this world has {', '.join(self.fidelities)}")
        return self.fidelities.index(name)

    def judged_by(self, fidelity: str | None) -> World:
        """The world whose truth is what this fidelity comes to; the same one for None. Raises BenchError where it has
        no such fidelity."""
        return self if fidelity is None else replace(self, truth=self.fidelities[self._fidelity(fidelity)])

    def null(self) -> World:
        """All architectures equal at every fidelity, the noise as it is."""
        equal = np.broadcast_to(self.figures.mean(0), self.figures.shape)
        return replace(self, name="null", figures=equal)

    def known(self, planted: Mapping[tuple[str, str], float]) -> World:
        """As `null`, but for (point, operator): points of accuracy that it is worth at the truth.

        Looks show it by as much as the table's looks spread beside its truth.
        """
        spread = self.figures.std(0)
        slopes = np.zeros_like(spread)
        true = 2 * self._fidelity(self.truth)
        for output in range(len(slopes)):
            sign = 1.0 if output % 2 == 0 else -1.0
            slopes[output] = sign * spread[output] / spread[true] if spread[true] > 0 else 0.0
        gains = np.array(
            [
                sum(gain for (point, op), gain in planted.items() if a.choices[point].op == op) / 100
                for a in self.architectures
            ]
        )
        return replace(self, name="known", figures=self.null().figures + gains[:, None] * slopes, planted=dict(planted))


def table_world(table: Table, fidelities: Sequence[str] | None = None) -> World:
    """The world of a table; of these fidelities, all of its own where None.

    Raises BenchError where it has too few architectures with all of them, or too few under two seeds.
    """
    space = SearchSpace.from_json({k: v for k, v in table.header["space"].items() if k != "fingerprint"})
    names, truth = _fidelities(table, fidelities)
    trainings = _by_fidelity(table, names)
    outputs = [_effects(trainings[name], figure) for name in names for figure in FIGURES]
    whole = sorted(set.intersection(*(set(effects.figures) for effects in outputs)))
    if len(whole) < FEWEST_ARCHITECTURES:
        raise BenchError(
            f"{table.name} has {len(whole)} architectures with every one of {', '.join(names)}; a world takes at least "
            f"{FEWEST_ARCHITECTURES}: go on with nas bench build"
        )
    deviations = _deviations(outputs)
    if len(deviations) < FEWEST_DEVIATIONS:
        raise BenchError(
            f"{table.name} has {len(deviations)} trainings that tell its noise (an architecture with every one of "
            f"{', '.join(names)} under two seeds); a world takes at least {FEWEST_DEVIATIONS}: go on with nas bench "
            "build"
        )
    architectures = tuple(space.enumerate())
    figures, measured = _completed(space, architectures, outputs, whole)
    return World(
        "table", space, CostTable(space), tuple(names), truth, int(table.header["data"]["train"]),
        int(table.header["data"]["val"]), architectures,
        figures, measured, _shifts(outputs), deviations, _epoch_seconds(table, space, architectures),
    )  # fmt: skip


def _fidelities(table: Table, given: Sequence[str] | None) -> tuple[list[str], str]:
    of_table = table.header["fidelities"]
    truth: str = of_table["truth"]
    names = [*of_table["looks"], of_table["tuned"], truth] if given is None else list(dict.fromkeys([*given, truth]))
    lacking = [name for name in names if name not in table.fidelities]
    if lacking:
        raise BenchError(f"{table.name} lacks fidelity {', '.join(lacking)}: it has {', '.join(table.fidelities)}")
    return names, truth


def _by_fidelity(table: Table, names: Sequence[str]) -> dict[str, list[Training]]:
    found: dict[str, list[Training]] = {name: [] for name in names}
    for training in table.trainings:
        name = f"{training.start.partition(':')[0]}-{training.epochs}"
        if name in found and training.error is None:
            found[name].append(training)
    return found


@dataclass(frozen=True)
class _Effects:
    """One figure at one fidelity, by y = architecture + seed + deviation: least squares where not all seeds are there.

    `inflation` makes up for what the deviations have lost to the effects that were fitted; `seeds` counts them.
    """

    figures: Mapping[str, float]
    seeds: Mapping[str, int]
    shifts: Mapping[int, float]
    deviations: Mapping[tuple[str, int], float]
    inflation: float

    def noise(self, key: str) -> float:
        """The variance of an architecture's figure, by those of its seeds' deviations; 0 where none are known."""
        spread = np.mean(np.square(list(self.deviations.values()))) if self.deviations else 0.0
        return float(self.inflation**2 * spread / self.seeds[key])


@dataclass(frozen=True)
class _Own:
    """Without noise, of each architecture that was trained: its figure, and its residual for those that were not.

    How much of a residual is noise is what the model expects of it: the noise's share of its variance. That much is
    taken off a figure (its posterior mean: Rasmussen and Williams, Gaussian Processes, 2006, 2.25), and a residual is
    made smaller by as much as noise has made all of them larger.
    """

    figures: Mapping[str, float]
    residuals: Mapping[str, float]

    @classmethod
    def of(cls, effects: _Effects, keys: Sequence[str], fitted: Fitted) -> _Own:
        noise = np.clip(np.array([effects.noise(key) for key in keys]) / fitted.variances, 0.0, 1.0)
        figures = np.array([effects.figures[key] for key in keys]) - noise * fitted.residuals
        residuals = (1 - noise) ** 0.5 * fitted.residuals
        return cls(dict(zip(keys, figures, strict=True)), dict(zip(keys, residuals, strict=True)))


def _effects(trainings: Sequence[Training], figure: str) -> _Effects:
    there = {(t.architecture.key, t.seed): (t.score if figure == "accuracy" else t.loss) or 0.0 for t in trainings}
    found = two_way(there)
    counts = Counter(key for key, _ in there)
    deviations = {one: left for one, left in found.left.items() if counts[one[0]] > 1}
    inflation = (len(deviations) / found.free) ** 0.5 if found.free > 0 else 1.0
    return _Effects(found.architectures, counts, found.seeds, deviations, inflation)


def _shifts(outputs: Sequence[_Effects]) -> Values:
    """[seeds, outputs], of the seeds that every output has; as far apart as seeds are of which these are a sample."""
    seeds = sorted(set.intersection(*(set(effects.shifts) for effects in outputs)))
    shifts = np.array([[effects.shifts[seed] for effects in outputs] for seed in seeds])
    return shifts * (len(seeds) / (len(seeds) - 1)) ** 0.5 if len(seeds) > 1 else shifts


def _deviations(outputs: Sequence[_Effects]) -> Values:
    """[n, outputs], of each architecture under each seed that every output has."""
    common = sorted(set.intersection(*(set(effects.deviations) for effects in outputs)))
    return np.array([[e.inflation * e.deviations[one] for e in outputs] for one in common]).reshape(
        len(common), len(outputs)
    )


def _completed(
    space: SearchSpace, architectures: Sequence[Architecture], outputs: Sequence[_Effects], whole: Sequence[str]
) -> tuple[Values, NDArray[np.bool_]]:
    """Figures [architectures, outputs], and which of them were measured."""
    by_key = {architecture.key: architecture for architecture in architectures}
    figures = np.zeros((len(architectures), len(outputs)))
    measured = np.zeros(figures.shape, bool)
    donors = [derive(0, "donor", architecture.key) % len(whole) for architecture in architectures]
    for output, effects in enumerate(outputs):
        known = [by_key[key] for key in sorted(effects.figures)]
        values = np.array([effects.figures[architecture.key] for architecture in known])
        fitted: Fitted = fit(shared_parts(known, known), values)
        own = _Own.of(effects, [architecture.key for architecture in known], fitted)
        predicted = fitted.predict(shared_parts(architectures, known))
        for place, architecture in enumerate(architectures):
            measured[place, output] = architecture.key in effects.figures
            figures[place, output] = own.figures.get(
                architecture.key, predicted[place] + own.residuals[whole[donors[place]]]
            )
    return figures, measured


def _epoch_seconds(table: Table, space: SearchSpace, architectures: Sequence[Architecture]) -> Values:
    """One thread's seconds an epoch of each: the median of its trainings, or by what its choices take."""
    rates: dict[str, list[float]] = {}
    for training in table.trainings:
        if training.error is None:
            rates.setdefault(training.architecture.key, []).append(training.train_seconds / training.epochs)
    by_key = {architecture.key: architecture for architecture in architectures}
    known = [by_key[key] for key in sorted(rates)]
    values = np.array([np.log(np.median(rates[architecture.key])) for architecture in known])
    predicted = fit(shared_parts(known, known), values).predict(shared_parts(architectures, known))
    measured = dict(zip((a.key for a in known), values, strict=True))
    return np.exp([measured.get(a.key, one) for a, one in zip(architectures, predicted, strict=True)])
