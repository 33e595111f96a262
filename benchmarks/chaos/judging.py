"""What must hold of a search that was killed, read from its files by plain SQLite: no program judges itself."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.searches import STARTS, Ended

#: What is left of a training whose row says that it came to something: architecture, seed, epochs, final; score.
Trained = dict[tuple[str, int, int, bool], float]
_OVER = ("complete", "failed", "gated")
#: Parts of a record's file.
_SUFFIXES = ("", "-wal", "-journal")
#: What a search may leave beside its record: anything else is rubbish of a killed process.
_RUBBISH = "*.new*"


@dataclass(frozen=True)
class Recorded:
    """A record as it lies there. `proposed`: number, origin, architecture and state of its trials; `twice` counts
    trainings with more than one score, `open_rows` trials that are neither over nor gated, `verdict` is what its last
    stage came to, without its time."""

    sound: str
    trained: Trained
    proposed: tuple[tuple[int, str, str, str], ...]
    twice: int
    open_rows: int
    sessions: tuple[str | None, ...]
    verdict: Any

    @classmethod
    def of(cls, folder: Path) -> Recorded | None:
        """Of a copy, so that what a killed writer left is found as it is by the next; None where there is no record."""
        if not (folder / "study.db").exists():
            return None
        with tempfile.TemporaryDirectory() as place:
            for suffix in _SUFFIXES:
                if (part := folder / f"study.db{suffix}").exists():
                    shutil.copy(part, place)
            with closing(sqlite3.connect(Path(place) / "study.db")) as record:
                return cls._read(record)

    @classmethod
    def _read(cls, record: sqlite3.Connection) -> Recorded:
        rows = record.execute(
            "SELECT key, seed, epochs, final, score FROM trainings WHERE score IS NOT NULL"
        ).fetchall()
        proposed = record.execute("SELECT number, origin, key, state FROM trials ORDER BY number").fetchall()
        finals = record.execute("SELECT value FROM meta WHERE key = 'finals'").fetchone()
        verdict = json.loads(finals[0]) if finals is not None and finals[0] else None
        return cls(
            record.execute("PRAGMA integrity_check").fetchone()[0],
            {(key, seed, epochs, bool(final)): score for key, seed, epochs, final, score in rows},
            tuple(proposed),
            len(rows) - len({row[:4] for row in rows}),
            sum(state not in _OVER for *_, state in proposed),
            tuple(outcome for (outcome,) in record.execute("SELECT outcome FROM sessions ORDER BY id")),
            verdict and {key: value for key, value in verdict.items() if not key.endswith("_at")},
        )


@dataclass(frozen=True)
class Findings:
    """What was wrong with one search; all of it is to be zero, empty or true."""

    lost: int = 0
    twice: int = 0
    zombies: int = 0
    unsound: int = 0
    unfinished: int = 0
    other: int = 0
    rubbish: int = 0
    notes: tuple[str, ...] = ()

    def __add__(self, more: Findings) -> Findings:
        return Findings(
            self.lost + more.lost, self.twice + more.twice, self.zombies + more.zombies, self.unsound + more.unsound,
            self.unfinished + more.unfinished, self.other + more.other, self.rubbish + more.rubbish,
            self.notes + more.notes,
        )  # fmt: skip

    @property
    def clean(self) -> bool:
        return self == Findings()


def judged(
    folder: Path, killed: Sequence[Ended], there: Sequence[Recorded | None], last: Ended, expected: Recorded | None
) -> Findings:
    """Of a search that was `killed`, once or again, and then came to its end in `last`.

    `there` is what was recorded after each kill; `expected` the record of the same search that nobody killed, None
    where that may differ, as with several workers.
    """
    found, notes = Recorded.of(folder), []
    if last.code or found is None:
        tail = last.printed.strip().splitlines()[-3:]
        return Findings(
            unfinished=1, lost=sum(len(one.jobs("safe")) for one in killed) if found is None else 0,
            notes=(f"{'hung' if last.hung else f'exit code {last.code}'}: {' | '.join(tail)}",),
        )  # fmt: skip
    every = (*killed, last)
    safe = {_identity(one): one["score"] for ended in every for one in ended.said if _is_safe(one)}
    lost = sum(found.trained.get(identity) != score for identity, score in safe.items() if score is not None)
    twice = found.twice
    for before, ended in zip(there, every[1:], strict=True):
        again = set(ended.jobs("begun")) & set(before.trained if before else ())
        twice += len(again)
    left = [pid for ended in every for pid in ended.left]
    # One that was killed when all was done has no outcome, and never will: there was nothing left to go on with.
    over = found.sessions[-1:] == ("complete",) or "is complete" in last.printed
    zombies = found.open_rows + len(left) + (not over)
    other = 0
    if expected is not None:
        for name in ("proposed", "trained", "verdict"):
            if (own := getattr(found, name)) != (theirs := getattr(expected, name)):
                other = 1
                notes.append(f"{name}: {_first_difference(own, theirs)}")
                break
    rubbish = [str(path.relative_to(folder)) for path in folder.rglob(_RUBBISH)]
    notes += [f"left behind: {', '.join(rubbish)}"] * bool(rubbish) + [f"still there: {left}"] * bool(left)
    notes += [f"zombies: {found.open_rows} rows, sessions {found.sessions}"] * bool(zombies - len(left))
    notes += [f"integrity check: {found.sound}"] * (found.sound != "ok")
    return Findings(lost, twice, zombies, int(found.sound != "ok"), 0, other, len(rubbish), tuple(notes))


def _is_safe(said: Any) -> bool:
    return said["what"] == "safe" and said["origin"] not in STARTS


def _identity(said: Any) -> tuple[str, int, int, bool]:
    return said["key"], said["seed"], said["epochs"], said["final"]


def _first_difference(own: Any, theirs: Any) -> str:
    if isinstance(own, tuple) and isinstance(theirs, tuple):
        pairs = ((a, b) for a, b in zip((*own, None), (*theirs, None), strict=False) if a != b)
        return "{} instead of {}".format(*next(pairs, (own, theirs)))
    if isinstance(own, dict) and isinstance(theirs, dict):
        key = next(key for key in (*own, *theirs) if own.get(key) != theirs.get(key))
        return f"{key}: {own.get(key)} instead of {theirs.get(key)}"
    return f"{own} instead of {theirs}"
