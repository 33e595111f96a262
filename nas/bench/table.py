"""What was trained, asked as NATS-Bench is asked: an architecture, a fidelity and a seed give an answer at once.

    from nas.bench import load

    table = load()
    table.query("add,cbam/4,cbam/16", "inherit-3", seed=0).loss

Nothing here is estimated: what was not trained is an error that says what is there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from nas.bench.errors import BenchError
from nas.bench.table_file import Contents, read_table
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.errors import SpaceError
from trials.readings import Images
from trials.record.training import Training

#: The tables of this package: a space, data and the edition of each.
TABLES = {"resnet8-cifar10": Path(__file__).with_name("resnet8-cifar10.zip")}

#: An architecture as it may be given: itself, a label for each point by its name, in the order of the points, or those
#: separated by commas.
Given = Architecture | Mapping[str, str] | Sequence[str] | str


@dataclass(frozen=True)
class Answer:
    """One training that was made. `accuracy` (0..1) and `loss` are those of the validation images, `curve` the training
    loss of each epoch, `train_seconds` what one thread took; `images` what it made of each validation image, of the
    longest schedule from scratch alone. `latency_ms` is the network's p50 by runtime, see `Price`."""

    architecture: Architecture
    fidelity: str
    seed: int
    accuracy: float
    loss: float
    correct: int
    validation_images: int
    images_trained: int
    train_seconds: float
    curve: tuple[float, ...]
    latency_ms: Mapping[str, float]
    images: Images | None = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Without what it made of single images."""
        plain = {name: value for name, value in vars(self).items() if name not in ("architecture", "images")}
        return {"choices": self.architecture.labels(), **plain}


@dataclass(frozen=True)
class Mean:
    """Over the seeds that there are. `error` is the standard error of the accuracy, None of one seed."""

    accuracy: float
    loss: float
    error: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Price:
    """What an architecture costs: multiply-adds, parameters, and p50 milliseconds by the runtime they were measured in,
    one image at a time; none where they were not. On which device, says the table's header under `latencies`."""

    macs: int
    params: int
    latency_ms: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"macs": self.macs, "params": self.params, "latency_ms": dict(self.latency_ms)}


class Table:
    """A table of trainings in memory."""

    def __init__(self, contents: Contents, name: str = "the table") -> None:
        self.name = name
        self._contents = contents

    @classmethod
    def load(cls, path: Path) -> Table:
        """Raises BenchError where the file is damaged, changed, of another schema, or none."""
        return cls(read_table(path), str(path))

    @property
    def header(self) -> Mapping[str, Any]:
        """How it was made: space, data, recipes, versions, and the datasheet."""
        return self._contents.header

    @property
    def trainings(self) -> tuple[Training, ...]:
        """All of them, those that failed too."""
        return self._contents.trainings

    @cached_property
    def points(self) -> Mapping[str, tuple[str, ...]]:
        """The fusion points, each with what it may be."""
        return {point["name"]: tuple(point["choices"]) for point in self.header["points"]}

    @cached_property
    def _trainings(self) -> dict[str, dict[str, dict[int, Training]]]:
        found: dict[str, dict[str, dict[int, Training]]] = {}
        for training in self._contents.trainings:
            if training.error is None:
                start = training.start.partition(":")[0]
                of_architecture = found.setdefault(f"{start}-{training.epochs}", {})
                of_architecture.setdefault(training.architecture.key, {})[training.seed] = training
        return found

    @cached_property
    def _prices(self) -> dict[str, Price]:
        prices = {}
        for one in self.header["architectures"]:
            architecture = Architecture(self.header["space"]["name"], _parsed(one["choices"]))
            latencies = {
                runtime: float(found["architectures"][architecture.key]["p50_ms"])
                for runtime, found in self.header["latencies"].items()
                if architecture.key in found["architectures"]
            }
            prices[architecture.key] = Price(one["macs"], one["params"], latencies)
        return prices

    @property
    def fidelities(self) -> tuple[str, ...]:
        """Those that something was trained at, such as `inherit-3`."""
        return tuple(sorted(self._trainings, key=lambda name: (name.split("-")[0], int(name.split("-")[1]))))

    def architectures(self, fidelity: str | None = None) -> Iterator[Architecture]:
        """What was trained, at the fidelity where one is given, in the table's order. Raises BenchError for one that
        is not there."""
        if fidelity is not None:
            self._of(fidelity)
        seen: set[str] = set()
        for training in self._contents.trainings:
            start = training.start.partition(":")[0]
            here = fidelity in (None, f"{start}-{training.epochs}") and training.error is None
            if here and training.architecture.key not in seen:
                seen.add(training.architecture.key)
                yield training.architecture

    def seeds(self, architecture: Given, fidelity: str) -> tuple[int, ...]:
        """Under which it was trained there. Raises BenchError as `query` does."""
        return tuple(sorted(self._seeds(self.architecture(architecture), fidelity)))

    def query(self, architecture: Given, fidelity: str, seed: int) -> Answer:
        """What came of that training.

        Raises:
            BenchError: no such architecture in the space, or in the table; or it lacks the fidelity or the seed.
        """
        asked = self.architecture(architecture)
        there = self._seeds(asked, fidelity)
        if seed not in there:
            raise BenchError(
                f"seed {seed}: {_short(asked)} was trained at {fidelity} under {', '.join(map(str, sorted(there)))}"
            )
        training = there[seed]
        assert training.score is not None
        assert training.loss is not None
        return Answer(
            asked, fidelity, seed, training.score, training.loss, training.correct or 0, training.images or 0,
            training.epochs * int(self.header["data"]["train"]), training.train_seconds,
            tuple(point.train_loss for point in training.curve), self.price(asked).latency_ms,
            self._contents.images.get(training.identity),
        )  # fmt: skip

    def mean(self, architecture: Given, fidelity: str) -> Mean:
        """Over all seeds of the table. Raises BenchError as `query` does."""
        there = self._seeds(self.architecture(architecture), fidelity)
        scores = [training.score or 0.0 for training in there.values()]
        error = stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else None
        return Mean(fmean(scores), fmean(t.loss or 0.0 for t in there.values()), error, tuple(sorted(there)))

    def price(self, architecture: Given) -> Price:
        """Raises BenchError where the architecture is not in the table."""
        asked = self.architecture(architecture)
        if asked.key not in self._prices:
            raise self._outside(asked)
        return self._prices[asked.key]

    def architecture(self, given: Given) -> Architecture:
        """One of the table's space. Raises BenchError where it is none."""
        points = self.points
        if isinstance(given, Architecture):
            labels: Mapping[str, str] = given.labels()
        elif isinstance(given, Mapping):
            labels = given
        else:
            parts = given.split(",") if isinstance(given, str) else list(given)
            if len(parts) != len(points):
                raise BenchError(
                    f"architecture {given!r}: expected {len(points)} choices, of {', '.join(points)}: "
                    f"such as {','.join(choices[0] for choices in points.values())}"
                )
            labels = dict(zip(points, (part.strip() for part in parts), strict=True))
        if set(labels) != set(points):
            raise BenchError(f"architecture {dict(labels)!r}: expected a choice for each of {', '.join(points)}")
        for name, choices in points.items():
            if labels[name] not in choices:
                near = difflib.get_close_matches(labels[name], choices, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise BenchError(f"{labels[name]!r} is not on offer at {name}: {', '.join(choices)}{hint}")
        return Architecture(self.header["space"]["name"], _parsed({name: labels[name] for name in points}))

    def _of(self, fidelity: str) -> dict[str, dict[int, Training]]:
        if fidelity not in self._trainings:
            raise BenchError(f"{self.name} lacks fidelity {fidelity!r}: it has {', '.join(self.fidelities)}")
        return self._trainings[fidelity]

    def _seeds(self, asked: Architecture, fidelity: str) -> dict[int, Training]:
        there = self._of(fidelity)
        if asked.key not in there:
            raise self._outside(asked, fidelity)
        return there[asked.key]

    def _outside(self, asked: Architecture, fidelity: str | None = None) -> BenchError:
        held = [a.labels() for a in self.architectures(fidelity)]
        labels = asked.labels()
        nearest = min(held, key=lambda other: sum(other[name] != labels[name] for name in labels))
        at = "" if fidelity is None else f" at {fidelity}"
        return BenchError(
            f"{_short(asked)} was not trained{at}: {self.name} holds {len(held)} architectures{at}, the nearest is "
            f"{','.join(nearest.values())}"
        )


@cache
def load(name: str = "resnet8-cifar10") -> Table:
    """A table of this package. Raises BenchError where there is none of that name."""
    if name not in TABLES:
        raise BenchError(f"table {name!r}: this package has {', '.join(TABLES)}; read a file by Table.load")
    return Table(read_table(TABLES[name]), f"the table {name}")


def opened(given: str | None) -> Table:
    """The table in a file; this package's own where none is given. Raises BenchError as `Table.load` does."""
    return load() if given is None else Table.load(Path(given))


def query(architecture: Given, fidelity: str, seed: int) -> Answer:
    """As `Table.query`, of this package's own table."""
    return load().query(architecture, fidelity, seed)


def _parsed(labels: Mapping[str, str]) -> dict[str, FusionChoice]:
    try:
        return {name: FusionChoice.parse(label) for name, label in labels.items()}
    except SpaceError as error:
        raise BenchError(str(error)) from None


def _short(architecture: Architecture) -> str:
    return ",".join(architecture.labels().values())
