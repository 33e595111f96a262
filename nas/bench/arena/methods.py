"""The methods that are compared, by name: one line each to add one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from nas.bench.arena.playing import Brief, Method, Play, play
from nas.bench.arena.worlds import World
from nas.bench.errors import BenchError
from nas.registry import load

_HERE = "nas.bench.arena"


@dataclass(frozen=True)
class Entry:
    """One method: where it is, and how it is made. `about` says in a line what it is. `takes` is the module of a
    library that is not among this package's own, and where it is from. In the whole comparison it plays searches of at
    most `most_looks`, where its own model takes too long."""

    place: str
    about: str
    made_with: tuple[tuple[str, Any], ...] = field(default=())
    takes: tuple[str, str] | None = None
    most_looks: int | None = None

    def lacking(self) -> str:
        """What is to be installed for it; empty where nothing is."""
        if self.takes is None or find_spec(self.takes[0]) is not None:
            return ""
        return f"takes {self.takes[0]}, which is not installed: {self.takes[1]}"

    def play(self, brief: Brief, world: World, realisation: int) -> Play:
        """One search of it."""
        found = load(self.place)
        if self.place == f"{_HERE}.house:House":
            house: Callable[[Brief, World, int], Play] = found(**dict(self.made_with))
            return house(brief, world, realisation)

        def make(brief: Brief) -> Method:
            made: Method = found(brief, **dict(self.made_with))
            return made

        return play(make, brief, world, realisation)


_BY_LOSS = (("figure", "loss"),)
#: In the order in which they are shown.
METHODS: dict[str, Entry] = {
    "nas-ehvi": Entry(f"{_HERE}.house:House", "our search, by its default sampler", (("sampler", "ehvi"),)),
    "nas-tpe": Entry(f"{_HERE}.house:House", "our search, by Optuna's TPE", (("sampler", "tpe"),)),
    "nas-nsga2": Entry(f"{_HERE}.house:House", "our search, by Optuna's NSGA-II", (("sampler", "nsga2"),)),
    "nas-evolution": Entry(f"{_HERE}.house:House", "our search, by regularised evolution", (("sampler", "evolution"),)),
    "nas-random": Entry(f"{_HERE}.house:House", "our search, by its random sampler", (("sampler", "random"),)),
    "optuna-search": Entry(f"{_HERE}.optuna_rivals:OptunaSearch", "Ray's default: TPE told no budget, no gate"),
    "nsga2": Entry(f"{_HERE}.optuna_rivals:NSGA2", "Optuna's, told the budget"),
    "evolution": Entry(f"{_HERE}.rivals:RegularisedEvolution", "regularised evolution within the budget"),
    "local-search": Entry(f"{_HERE}.rivals:LocalSearch", "neighbours within the budget"),
    "halving": Entry(f"{_HERE}.rivals:Halving", "asynchronous successive halving, complete schedules"),
    "random-loss": Entry(f"{_HERE}.rivals:RandomSearch", "uniform draws, ranked by validation loss", _BY_LOSS),
    "evolution-loss": Entry(f"{_HERE}.rivals:RegularisedEvolution", "evolution by validation loss", _BY_LOSS),
    "local-search-loss": Entry(f"{_HERE}.rivals:LocalSearch", "local search by validation loss", _BY_LOSS),
    "halving-loss": Entry(f"{_HERE}.rivals:Halving", "halving by validation loss", _BY_LOSS),
}
_EXTRA = "pip install 'fusion-nas[bench]'"
#: Beside these in the whole comparison, where their libraries are installed. The last two take long to ask.
OPTIONAL: dict[str, Entry] = {
    "nas-rungs": Entry(
        f"{_HERE}.house:House", "our search, with rungs of 1, 3 and 9 epochs",
        (("sampler", "ehvi"), ("rungs", (1, 3, 9))),
    ),
    "moasha": Entry(
        f"{_HERE}.syne_tune_rivals:MOASHA", "Syne Tune's asynchronous multi-objective halving",
        takes=("syne_tune", _EXTRA),
    ),
    "gp": Entry(
        f"{_HERE}.optuna_rivals:GaussianProcess", "Optuna's Gaussian process, told the budget", most_looks=16
    ),
    "primo": Entry(
        f"{_HERE}.neps_rivals:PriMO", "NePS's PriMO, without a prior", takes=("neps", "docs/bench.md says how it is"),
        most_looks=16,
    ),
}  # fmt: skip


def method(name: str) -> Entry:
    """Raises BenchError where there is none of that name."""
    there = METHODS | OPTIONAL
    if name in there:
        return there[name]
    if ":" in name:  # somebody's own
        return Entry(name, "given")
    raise BenchError(f"method {name!r}: expected one of {', '.join(there)}, or MODULE:CLASS of your own")
