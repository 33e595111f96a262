"""What a table is made of, how noisy it is and how its looks rank: computed from its trainings, kept with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nas.bench.decomposition import Decomposition, decompose, two_way
from nas.bench.editions import Edition, Schedule
from trials.ranks import kendall_tau, spearman
from trials.readings import Images
from trials.record.training import Identity, Training

#: What is decomposed, in units that are printed: percentage points, nats.
FIGURES: Mapping[str, float] = {"accuracy": 100.0, "loss": 1.0}
#: Fewer architectures than this have no rank agreement worth a figure.
_FEWEST = 5


def datasheet(edition: Edition, trainings: Sequence[Training], images: Mapping[Identity, Images]) -> dict[str, Any]:
    """How many trainings there are of each fidelity, where their differences come from, how looks rank. JSON."""
    return {
        "trainings": {
            schedule.name: {
                "trainings": len(there), "failed": sum(t.error is not None for t in there),
                "architectures": len({t.architecture for t in there}), "seeds": sorted({t.seed for t in there}),
                "train_seconds": round(float(np.median([t.train_seconds for t in there])), 1),
                "images_trained": there[0].epochs * _images_per_epoch(edition),
            }
            for schedule in (*edition.schedules, edition.doubled)
            if (there := of_schedule(trainings, schedule))
        },
        "noise": {
            schedule.name: {
                figure: found.to_json() for figure in FIGURES
                if (found := decomposed(of_schedule(trainings, schedule), figure, images)) is not None
            }
            for schedule in (*edition.schedules, edition.doubled)
        },
        "looks": {
            against.name: looks_against(edition, trainings, against)
            for against in (edition.truth, edition.tuned, edition.doubled)
        },
    }  # fmt: skip


def _images_per_epoch(edition: Edition) -> int:
    return int(edition.settings["train_images"])


def of_schedule(trainings: Sequence[Training], schedule: Schedule) -> list[Training]:
    return [t for t in trainings if (t.start.partition(":")[0], t.epochs) == (schedule.regime, schedule.epochs)]


def figure_of(training: Training, figure: str) -> float:
    """Accuracy in points, or the loss. Raises ValueError where the training failed."""
    value = training.score if figure == "accuracy" else training.loss
    if value is None:
        raise ValueError(f"the training of {training.architecture.key} failed: {training.error}")
    return value * FIGURES[figure]


def decomposed(trainings: Sequence[Training], figure: str, images: Mapping[Identity, Images]) -> Decomposition | None:
    """In the given figure, of the architectures that have each of so many of the first seeds that most is known: a seed
    that has only begun waits. None while there are fewer than 2 × 2."""
    table = {(t.architecture.key, t.seed): t for t in trainings if t.error is None}
    every = sorted({seed for _, seed in table})
    wholes = {tuple(every[:count]): _whole(table, every[:count]) for count in range(2, len(every) + 1)}
    seeds = max(wholes, key=lambda some: (len(wholes[some]) - 1) * (len(some) - 1), default=())
    whole = wholes.get(seeds, [])
    if len(whole) < 2:
        return None
    values = np.array([[figure_of(table[key, seed], figure) for seed in seeds] for key in whole])
    right = None
    if figure == "accuracy" and all(table[key, seed].identity in images for key in whole for seed in seeds):
        right = np.array([[images[table[key, seed].identity].right for seed in seeds] for key in whole])
    found = decompose(values, right)
    return found if found.images is None else _scaled(found)


def _whole(table: Mapping[tuple[str, int], Training], seeds: Sequence[int]) -> list[str]:
    """The architectures that have all of these seeds."""
    return sorted({key for key, _ in table if all((key, seed) in table for seed in seeds)})


def _scaled(found: Decomposition) -> Decomposition:
    assert found.images is not None
    return replace(found, images=found.images * FIGURES["accuracy"])


def means(trainings: Sequence[Training], figure: str) -> dict[str, float]:
    """The mean over seeds by architecture, of those that did not fail; without what a seed does to all alike, where not
    every architecture has every seed."""
    there = {(t.architecture.key, t.seed): figure_of(t, figure) for t in trainings if t.error is None}
    return dict(two_way(there).architectures)


def looks_against(edition: Edition, trainings: Sequence[Training], against: Schedule) -> dict[str, Any]:
    """How one look under one seed ranks architectures beside the mean accuracy of `against`: Spearman's ρ with its 95 %
    interval (Fieller, Hartley and Pearson, 1957) and Kendall's τ, means over the look's seeds, each counting as much as
    it has architectures; higher is better, losses are turned round.

    Where both begin alike, from new weights or from the parent, they share what their seed draws: a look is held
    against the other seeds then.
    """
    found: dict[str, Any] = {}
    long = [t for t in of_schedule(trainings, against) if t.error is None]
    for schedule in (*edition.schedules, edition.doubled):
        there = [t for t in of_schedule(trainings, schedule) if t.error is None]
        alike = schedule.regime == against.regime
        for figure, sign in (("accuracy", 1.0), ("loss", -1.0)):
            agreements = []
            for seed in sorted({t.seed for t in there}):
                truth = means([t for t in long if not (alike and t.seed == seed)], "accuracy")
                look = {t.architecture.key: sign * figure_of(t, figure) for t in there if t.seed == seed}
                both = sorted(truth.keys() & look.keys())
                if len(both) >= _FEWEST:
                    x, y = np.array([look[key] for key in both]), np.array([truth[key] for key in both])
                    agreements.append((float(spearman(x, y)), float(kendall_tau(x, y)), len(both)))
            if agreements:
                counts = [count for *_, count in agreements]
                rho, tau = (float(np.average([one[place] for one in agreements], weights=counts)) for place in range(2))
                low, high = _rho_interval(rho, max(counts))
                found.setdefault(schedule.name, {})[figure] = {
                    "rho": round(rho, 3), "low": round(low, 3), "high": round(high, 3), "tau": round(tau, 3),
                    "architectures": max(counts), "seeds": len(agreements),
                }  # fmt: skip
    return found


def _rho_interval(rho: float, count: int) -> tuple[float, float]:
    """95 %, of Spearman's ρ of so many pairs: its Fisher transform has the variance 1.06 / (n - 3)."""
    middle, half = np.arctanh(np.clip(rho, -0.9999, 0.9999)), 1.96 * np.sqrt(1.06 / max(count - 3, 1))
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))
