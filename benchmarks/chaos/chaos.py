"""All of it, as a table: what was tried, and what came of it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.chaos.broken import KINDS, broken
from benchmarks.chaos.faults import Answers, faults
from benchmarks.chaos.kills import Tally, kills
from benchmarks.chaos.on_ray import ray_kills

_HEAD = "points  searches  lost  twice  zombies  unsound  unfinished  not the same  left behind"


def main(arguments: Sequence[str] = ()) -> None:
    """Searches killed at a thousand instants, and everything under them broken on purpose (an hour)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks chaos", description=main.__doc__)
    parser.add_argument("--points", type=int, default=1000, metavar="N", help="kill points, those with Ray included")
    parser.add_argument("--ray", type=int, default=50, metavar="N", help="of these with a real Ray")
    parser.add_argument("--faults", type=int, default=400, metavar="N", help="at most so many of each fault")
    parser.add_argument("--broken", choices=("all", "local", "none"), default="all", help="engines whose trials break")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    print(f"seed {given.seed}; times are of this machine", flush=True)
    tallies = kills(given.points - given.ray, given.seed, _say) if given.points > given.ray else {}
    if given.ray:
        tallies |= ray_kills(given.ray, given.seed, _say)
    if tallies:
        show_kills(tallies)
    found: dict[str, Answers] = faults(given.faults, given.seed, _say) if given.faults else {}
    engines = {"all": ("local", "ray"), "local": ("local",), "none": ()}[given.broken]
    for kind, one in KINDS.items():
        for engine in engines:
            if engine in one.engines:
                found[f"{kind}, {engine}"] = broken(kind, engine)
                for note in found[f"{kind}, {engine}"].notes:
                    _say(note)
    if found:
        show_faults(found)
    if given.json is not None:
        killed, answered = ({name: asdict(one) for name, one in part.items()} for part in (tallies, found))
        given.json.write_text(json.dumps({"kills": killed, "faults": answered}))
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")


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
