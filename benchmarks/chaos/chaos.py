"""All of it, as a table: what was tried, and what came of it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos.broken import KINDS, broken
from benchmarks.chaos.faults import Answers, faults
from benchmarks.chaos.kills import Tally, kills
from benchmarks.chaos.nodes import losing_node, lost_nodes
from benchmarks.chaos.on_ray import ray_kills
from trials.whole_files import write_whole

_HEAD = "points  searches  lost  twice  zombies  unsound  unfinished  not the same  left behind"


def main(arguments: Sequence[str] = ()) -> None:
    """Searches killed at a thousand instants, and everything under them broken on purpose (an hour)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks chaos", description=main.__doc__)
    parser.add_argument("--points", type=int, default=1000, metavar="N", help="kill points, those with Ray included")
    parser.add_argument("--ray", type=int, default=50, metavar="N", help="of these with a real Ray")
    parser.add_argument("--faults", type=int, default=400, metavar="N", help="at most so many of each fault")
    parser.add_argument("--broken", choices=("all", "local", "none"), default="all", help="engines whose trials break")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures there, and go on with those there")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    print(f"seed {given.seed}; times are of this machine", flush=True)
    kept = Kept(given.json, {name: value for name, value in vars(given).items() if name != "json"})
    killing = kills(given.points - given.ray, given.seed, _say) if given.points > given.ray else {}
    killing |= ray_kills(given.ray, given.seed, _say)
    tallies = {name: kept.tally(name, parts) for name, parts in killing.items() if parts}
    if tallies:
        show_kills(tallies)
    asking = _asking(given.faults, given.seed, given.broken)
    found = {name: kept.answers(name, work) for name, work in asking.items()}
    if found:
        show_faults(found)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")


def _asking(samples: int, seed: int, engines: str) -> dict[str, Callable[[], Answers]]:
    """How each kind of fault is tried: of what a run lies on, of a cluster's nodes, and of trainings."""
    asking = faults(samples, seed) if samples else {}
    if samples and engines == "all":
        asking |= {
            "a node lost": partial(lost_nodes, samples, seed),
            "a node that loses everything": partial(losing_node, samples),
        }
    named = {"all": ("local", "ray"), "local": ("local",), "none": ()}[engines]
    return asking | {
        f"{kind}, {engine}": partial(broken, kind, engine)
        for kind, one in KINDS.items() for engine in named if engine in one.engines
    }  # fmt: skip


class Kept:
    """The figures by kind, in a file that grows with each: what is there of the same `given` is not come to again."""

    def __init__(self, file: Path | None, given: Mapping[str, Any]) -> None:
        self._file = file
        self._found: dict[str, Any] = {"given": dict(given), "kills": {}, "faults": {}}
        if file is not None and file.exists() and (there := json.loads(file.read_text()))["given"] == given:
            self._found = there

    def tally(self, kind: str, parts: Sequence[Callable[[], Tally]]) -> Tally:
        there = self._found["kills"].setdefault(kind, [])
        for part in parts[len(there) :]:
            there.append(asdict(part()))
            self._write()
        whole = sum(map(Tally.from_json, there), Tally())
        _say(f"{kind}: {whole.points} points")
        return whole

    def answers(self, kind: str, work: Callable[[], Answers]) -> Answers:
        if (there := self._found["faults"].get(kind)) is not None:
            return Answers(**there)
        found = work()
        self._found["faults"][kind] = asdict(found)
        self._write()
        for note in found.notes[:5]:
            _say(f"{kind}: {note}")
        _say(f"{kind}: {found.right} of {found.tried} as expected")
        return found

    def _write(self) -> None:
        if self._file is not None:
            write_whole(self._file, json.dumps(self._found))


def show_kills(tallies: Mapping[str, Tally]) -> None:
    """A line a kind: how often a search was killed, and in how many of them something was wrong."""
    print(f"\n{'killed at':<18}{_HEAD}")
    whole = Tally()
    for kind, tally in tallies.items():
        _line(kind, tally)
        whole.points, whole.searches = whole.points + tally.points, whole.searches + tally.searches
        whole.findings += tally.findings
    _line("all", whole)
    print(
        "lost: trainings that were acknowledged and are not recorded; twice: trained or recorded again; zombies:\n"
        "rows that are not over, sessions, processes and actors; unsound: by SQLite's integrity check; not the same:\n"
        "another sequence of proposals, or figures, than of the search that nobody killed; left behind: files"
    )


def _line(kind: str, tally: Tally) -> None:
    f = tally.findings
    print(
        f"{kind:<18}{tally.points:>6}  {tally.searches:>8}  {f.lost:>4}  {f.twice:>5}  {f.zombies:>7}  {f.unsound:>7}  "
        f"{f.unfinished:>10}  {f.other:>12}  {f.rubbish:>11}",
        flush=True,
    )


def show_faults(found: Mapping[str, Answers]) -> None:
    """A line a fault: tried, as expected, otherwise, and what is expected."""
    print(f"\n{'fault':<28} tried  as expected  otherwise   expected")
    for name, one in found.items():
        note = f" (skipped: {one.skipped})" if one.skipped else ""
        print(
            f"{name:<28} {one.tried:>5}  {one.right:>11}  {one.tried - one.right:>9}   {one.expected}{note}", flush=True
        )


def _say(line: str) -> None:
    print(f"  {line}", flush=True)
