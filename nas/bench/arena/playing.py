"""One search that trains nothing: a method asks, a world answers, a simulated clock tells when.

A method of your own is a class with three functions, see `Method`; docs/bench.md enters one in twenty lines.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from nas.bench.arena.worlds import Look, World
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.trial import Costs

Job = TypeVar("Job")
#: How often a method is asked for a training that its images are still enough for.
ASKED = 8


@dataclass(frozen=True)
class Brief:
    """What a method is told of a search.

    `max_macs` is the budget of multiply-adds, None for none; `price` what an architecture costs; `looks` the images
    that a look at each fidelity trains on, the cheapest first, of which `look` is the one that a method takes which
    knows one only; `images` what all looks together may train on; all that is random follows from `seed`.
    """

    space: SearchSpace
    price: Callable[[Architecture], Costs]
    max_macs: float | None
    looks: dict[str, int]
    look: str
    images: int
    workers: int
    seed: int

    def feasible(self, architecture: Architecture) -> bool:
        return self.max_macs is None or self.price(architecture).macs <= self.max_macs


@dataclass(frozen=True)
class Ask:
    """A training that a method wants."""

    architecture: Architecture
    fidelity: str
    seed: int


@dataclass(frozen=True)
class Told:
    """What came of it: accuracy 0..1 and loss on the validation images."""

    ask: Ask
    accuracy: float
    loss: float


class Method(Protocol):
    """Searches. Asked for as many trainings side by side as there are workers, told of each as it ends."""

    def ask(self) -> Ask | None:
        """The next training; None where it wants to wait for those that run, or wants no more."""

    def tell(self, told: Told) -> None: ...

    def recommend(self) -> Architecture | None:
        """The architecture that a user should ship, within the budget; None where it knows none."""

    def verdict(self) -> bool:
        """Whether it says that what it recommends is better than all-add. A method without a test says so of whatever
        it recommends that is not all-add itself."""


@dataclass(frozen=True)
class Event:
    """The end of a training: when, by the simulated clock in seconds, and the images trained on until then."""

    at_seconds: float
    images: int
    ask: Ask
    look: Look


@dataclass(frozen=True)
class Final:
    """What a search's finalists came to: points of accuracy, `low` to `high`, by which the one that its verdict is
    `about` is said to be better than all-add; whether the loss decided; the images that finalists were trained on."""

    about: Architecture
    low: float
    high: float
    by_loss: bool
    images: int


@dataclass(frozen=True)
class Play:
    """One search, as it went. `names_winner`: it says that what it recommends beats all-add; `own_seconds` is what the
    method itself took of this CPU, all searching but no training. `final` is None of what judges no finalists."""

    events: tuple[Event, ...]
    recommended: Architecture | None
    names_winner: bool
    own_seconds: float
    final: Final | None = None


class Clock(Generic[Job]):
    """Workers that take jobs as they get free, and end them in the order of simulated time."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._running: list[tuple[float, int, Job]] = []
        self._begun = 0
        self.now = 0.0

    def run(
        self, next_job: Callable[[], Job | None], seconds: Callable[[Job], float], ended: Callable[[Job], None]
    ) -> None:
        """Until nothing runs and there is no next job. `seconds` is what a job takes."""
        while True:
            while len(self._running) < self._workers and (job := next_job()) is not None:
                heapq.heappush(self._running, (self.now + seconds(job), self._begun, job))
                self._begun += 1
            if not self._running:
                return
            self.now, _, job = heapq.heappop(self._running)
            ended(job)


class Ledger:
    """What a search has trained so far, and what each training came to."""

    def __init__(self, world: World, realisation: int) -> None:
        self.world = world
        self._realisation = realisation
        self.handed_out = 0
        self.ended = 0
        self.events: list[Event] = []

    def look(self, ask: Ask) -> Look:
        return self.world.look(ask.architecture, ask.fidelity, ask.seed, self._realisation)

    def hand_out(self, ask: Ask) -> None:
        self.handed_out += self.world.images(ask.fidelity)

    def end(self, ask: Ask, at_seconds: float) -> Look:
        self.ended += self.world.images(ask.fidelity)
        look = self.look(ask)
        self.events.append(Event(at_seconds, self.ended, ask, look))
        return look


def play(make: Callable[[Brief], Method], brief: Brief, world: World, realisation: int) -> Play:
    """Let a method search until its images are spent. What it asks for and is too dear by now is not trained, and it
    is not told of it. The same method, brief, world and realisation give the same."""
    began = time.process_time()
    method, ledger, clock = make(brief), Ledger(world, realisation), Clock[Ask](brief.workers)

    def next_ask() -> Ask | None:
        if ledger.handed_out + min(brief.looks.values()) > brief.images:
            return None
        for _ in range(ASKED):
            ask = method.ask()
            if ask is None:
                return None
            if ledger.handed_out + world.images(ask.fidelity) <= brief.images:
                ledger.hand_out(ask)
                return ask
        return None

    def ended(ask: Ask) -> None:
        look = ledger.end(ask, clock.now)
        method.tell(Told(ask, look.accuracy, look.loss))

    clock.run(next_ask, lambda ask: ledger.look(ask).seconds, ended)
    recommended = method.recommend()
    return Play(tuple(ledger.events), recommended, method.verdict(), time.process_time() - began)


def brief_of(world: World, max_macs: float | None, look: str, images: int, workers: int, seed: int) -> Brief:
    """What a method is told of a search in a world. `max_macs` is relative to all-add's where it is below 100.

    The truth is a look where it is the one that is taken.
    """
    limit = max_macs
    if max_macs is not None and max_macs < 100:
        limit = max_macs * world.price(world.space.baseline).macs
    costs = {name: world.images(name) for name in world.fidelities}
    looks = {name: cost for name, cost in costs.items() if cost < costs[world.truth] or name == look}
    return Brief(world.space, world.price, limit, looks, look, images, workers, seed)
