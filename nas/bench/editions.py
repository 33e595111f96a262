"""What FusionBench trains: the task, the schedules, the architectures, and in which order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nas.settings.errors import ConfigError
from nas.trainings.trainings import Wanted
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.seeds import derive

#: Architectures of which all schedules are trained before the next ones begin: what is cut off there lacks little.
BLOCK = 7


@dataclass(frozen=True)
class Schedule:
    """A fidelity: so many complete epochs from new weights, or from one trained all-add parent."""

    regime: Literal["scratch", "inherit"]
    epochs: int

    @property
    def name(self) -> str:
        """`scratch-18`"""
        return f"{self.regime}-{self.epochs}"

    @classmethod
    def parse(cls, name: str) -> Schedule:
        """The inverse of `name`. Raises ConfigError for anything else."""
        regime, _, epochs = name.partition("-")
        if regime not in ("scratch", "inherit") or not epochs.isdecimal() or int(epochs) < 1:
            raise ConfigError(f"fidelity {name!r}: expected a start and epochs, such as scratch-18 or inherit-3")
        return cls("scratch" if regime == "scratch" else "inherit", int(epochs))


@dataclass(frozen=True)
class Edition:
    """One table: what is trained of it, on which device.

    settings: of the search that its trainings are those of, without data and without what depends on the schedule.
    looks: cheap schedules; `truth` is what they are held against, and `tuned` the long fine-tuning beside it.
    doubled: twice the truth, of all-add and of each operator everywhere, for whether ranks hold there.
    architectures: all uniform ones, all one-point changes of all-add, then uniform draws up to so many; None: all.
    one_point_changes: without them, draws follow the uniform ones: where there are many points, changes of one would be
        all that a sample holds, and draws tell of every point at once.
    """

    name: str
    settings: Mapping[str, Any]
    parent_epochs: int
    looks: tuple[Schedule, ...]
    tuned: Schedule
    truth: Schedule
    doubled: Schedule
    seeds: int
    doubled_seeds: int
    architectures: int | None
    one_point_changes: bool = True

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Of every architecture, the cheapest first."""
        return (*self.looks, self.tuned, self.truth)


@dataclass(frozen=True)
class Row:
    """One training that a table wants."""

    schedule: Schedule
    wanted: Wanted


_TASK = {
    "space": "resnet8", "image_size": 32, "train_images": 10_000, "val_fraction": 0.4, "engine": "local",
    "export": "none", "finalists": "none", "seed": 0,
}  # fmt: skip
#: By the pilot (benchmarks/results/pilot-resnet8-cifar10.txt): 10,000 images tell; at nine epochs from scratch accuracy
#: had an intra-class correlation of .43, so the truth is twice that long, on twice the validation images, of which
#: whose prediction flips from seed to seed made up a third of the noise there and nearly all of it in short looks.
EDITIONS = {
    "cpu": Edition(
        "cpu", {**_TASK, "device": "cpu"}, 12, (Schedule("inherit", 1), Schedule("inherit", 3)),
        Schedule("inherit", 9), Schedule("scratch", 18), Schedule("scratch", 36), 3, 2, 60,
    ),
    "gpu": Edition(
        "gpu", {**_TASK, "device": "cuda"}, 12, (Schedule("inherit", 1), Schedule("inherit", 3)),
        Schedule("inherit", 9), Schedule("scratch", 18), Schedule("scratch", 36), 3, 2, None,
    ),
    # ResNet-20 takes some three times as long: a sample under two seeds, and nothing of it twice as long.
    "nine-point": Edition(
        "nine-point", {**_TASK, "space": "resnet20", "device": "cpu"}, 12,
        (Schedule("inherit", 1), Schedule("inherit", 3)), Schedule("inherit", 9), Schedule("scratch", 18),
        Schedule("scratch", 36), 2, 0, 40, one_point_changes=False,
    ),
}  # fmt: skip


def edition_named(name: str) -> Edition:
    """Raises ConfigError where there is none of that name."""
    if name not in EDITIONS:
        raise ConfigError(f"edition {name!r}: expected one of {', '.join(EDITIONS)}")
    return EDITIONS[name]


def rows(edition: Edition, space: SearchSpace) -> Iterator[Row]:
    """All that the edition wants, the most telling first, so that the table can be used wherever it is cut off.

    Of each block of architectures its looks with its truth; a whole seed of everything before the next, but for the
    uniform ones, which are trained under two seeds at once: from then on it is known how noisy everything is.
    """
    architectures, alike = architectures_of(edition, space), len(uniform(space))
    blocks = [architectures[start : start + BLOCK] for start in range(0, len(architectures), BLOCK)]
    early = [(seed, block) for number, block in enumerate(blocks) if number * BLOCK < alike for seed in range(2)]
    later = [(seed, block) for seed in range(edition.seeds) for block in blocks]
    for seed, block in [*early, *(one for one in later if one not in early)]:
        for schedule in edition.schedules if seed < edition.seeds else ():
            for architecture in block:
                yield Row(schedule, Wanted(architecture, seed, schedule.epochs))
    for seed in range(edition.doubled_seeds):
        for architecture in uniform(space):
            yield Row(edition.doubled, Wanted(architecture, seed, edition.doubled.epochs))


def architectures_of(edition: Edition, space: SearchSpace) -> list[Architecture]:
    """In the order in which they are trained."""
    wanted = space.size if edition.architectures is None else min(edition.architectures, space.size)
    changed = space.neighbours(space.baseline) if edition.one_point_changes else ()
    found = dict.fromkeys([*uniform(space), *changed])
    number = 0
    while len(found) < wanted:
        found.setdefault(space.sample(random.Random(derive(0, "fusionbench", number))))
        number += 1
    return list(found)[:wanted]


def uniform(space: SearchSpace) -> list[Architecture]:
    """All-add, and each operator with each ratio wherever it is on offer."""
    found = []
    for op in space.operators:
        ratios = space.reductions if space.takes_reduction(op) else (None,)
        found += [space.uniform(op, ratio) for ratio in ratios if space.offers(op, ratio)]
    return list(dict.fromkeys(found))
