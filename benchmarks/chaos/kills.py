"""Where searches are killed: around everything that they write, at random instants, and again and again."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.chaos.deaths import Events, How
from benchmarks.chaos.judging import Findings, Recorded, judged
from benchmarks.chaos.searches import SEARCHES, TRAINED, Ended, run, search

#: Folders in memory, where there is such a place: what is tested is what was written, not the disk.
_MEMORY = Path("/dev/shm")
#: Kills of one search that is killed again and again.
_CHAIN = 5
_HOWS: tuple[How, ...] = ("before", "half")
#: Shares of all points: at events, at random instants, chains, and with real trainings.
_SHARES = {"an event": 0.66, "an instant": 0.2, "again and again": 0.1, "real trainings": 0.04}


@dataclass
class Tally:
    """How many kill points of a kind there were, and what was wrong."""

    points: int = 0
    searches: int = 0
    findings: Findings = field(default_factory=Findings)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        found = data["findings"]
        return cls(data["points"], data["searches"], Findings(**{**found, "notes": tuple(found["notes"])}))

    def add(self, points: int, found: Findings) -> None:
        self.points, self.searches, self.findings = self.points + points, self.searches + 1, self.findings + found

    def __add__(self, more: Tally) -> Tally:
        return Tally(self.points + more.points, self.searches + more.searches, self.findings + more.findings)


@dataclass(frozen=True)
class Reference:
    """A search that nobody killed: what it recorded, what it wrote, and how long it took."""

    recorded: Recorded
    events: tuple[str, ...]
    seconds: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Reference:
        with tempfile.TemporaryDirectory(dir=memory()) as place:
            out = Path(place) / "run"
            ended = run(partial(search, out, settings), Events(out))
            recorded = Recorded.of(out)
            assert ended.code == 0, ended.printed
            assert recorded is not None
            return cls(recorded, ended.events, ended.seconds)


def memory() -> Path | None:
    return _MEMORY if _MEMORY.is_dir() else None


def kills(points: int, seed: int, say: Callable[[str], None]) -> dict[str, list[Callable[[], Tally]]]:
    """By kind, how so many kill points in all are come to, some at a time; each part is the same without the others."""
    return {
        kind: [partial(_kills, kind, some, seed, part, say) for part, some in parted(max(1, round(share * points)))]
        for kind, share in _SHARES.items()
    }


def parted(points: int, some: int = 25) -> Iterator[tuple[int, int]]:
    """Points in parts of some, each with its number."""
    yield from ((first // some, min(some, points - first)) for first in range(0, points, some))


def _kills(kind: str, points: int, seed: int, part: int, say: Callable[[str], None]) -> Tally:
    rng = random.Random(f"{seed} {kind} {part}")
    tally, noted = Tally(), Counter[str]()
    searches = {"a parent and its heirs": TRAINED} if kind == "real trainings" else SEARCHES
    while tally.points < points:
        name = rng.choice(list(searches))
        times = min(_CHAIN, points - tally.points) if kind == "again and again" else 1
        by_event = kind != "an instant" and (kind == "an event" or rng.random() < 0.5)
        found, killed = killed_search(searches[name], _reference(name), rng, times, by_event)
        tally.add(killed, found)
        noted.update(f"{name}, {kind}: {note}" for note in found.notes)
    for note, times in noted.most_common(20):
        say(f"{times} times: {note}")
    return tally


@cache
def _reference(name: str) -> Reference:
    return Reference.of(SEARCHES.get(name, TRAINED))


def killed_search(
    settings: Mapping[str, Any], reference: Reference, rng: random.Random, times: int, by_event: bool
) -> tuple[Findings, int]:
    """One search, killed so many times, and gone on with until it ends; what was wrong, and how often it was killed."""
    with tempfile.TemporaryDirectory(dir=memory()) as place:
        out = Path(place) / "run"
        killed: list[Ended] = []
        there: list[Recorded | None] = []
        for one in _deaths(reference, rng, times, by_event):
            ended = one(out, settings)
            if ended.code != 137:
                break  # it was through before, or failed
            killed.append(ended)
            there.append(Recorded.of(out))
        else:
            ended = run(partial(search, out, settings))
        return judged(out, killed, there, ended, reference.recorded), len(killed)


def _deaths(
    reference: Reference, rng: random.Random, times: int, by_event: bool
) -> Iterator[Callable[[Path, Mapping[str, Any]], Ended]]:
    for _ in range(times):
        if by_event:
            yield partial(_at_event, rng.randrange(len(reference.events) // times), rng.choice(_HOWS))
        else:
            yield partial(_after, rng.uniform(0, reference.seconds / times))


def _at_event(at: int, how: How, out: Path, settings: Mapping[str, Any]) -> Ended:
    return run(partial(search, out, settings), Events(out, at, how))


def _after(seconds: float, out: Path, settings: Mapping[str, Any]) -> Ended:
    return run(partial(search, out, settings), after_s=seconds)
