"""Finished searches of a comparison, one a line, so that a comparison that was ended goes on where it stopped.

A line is written whole and at once; what a kill leaves of one is dropped when the file is opened again. The first line
says of what the searches are: another table, other settings or other versions of what searches are refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from nas.bench.arena.judging import Judged
from nas.bench.errors import BenchError
from nas.bench.table import Table

FORMAT, SCHEMA = "fusion-nas bench searches", 2
NAME = "searches.jsonl"
#: Method, setting, world and seed of a search: its name in the file.
Key = tuple[str, str, str, int]
#: What a search is worth by each fidelity that it is judged by.
ByFidelity = Mapping[str, Judged]


class Kept:
    """The finished searches in a folder. To be used by one process; `close` lets go of the file."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Raises BenchError: the file is in use, damaged, or of another comparison than `identity` says; the folder
        cannot be written to."""
        self._path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self._path.open("a+b")
        except OSError as error:
            raise BenchError(f"{error.filename}: {error.strerror}; give another folder as --out") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise BenchError(
                f"{self._path} is in use by another comparison: wait for it, or give another --out"
            ) from None
        try:
            self.searches = dict(self._read({"format": FORMAT, "schema": SCHEMA, **identity}))
        except BaseException:
            self._file.close()
            raise

    def _read(self, header: Mapping[str, Any]) -> Iterator[tuple[Key, ByFidelity]]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # a kill while a line was written
            self._file.truncate(len(whole))
        lines = whole.splitlines()
        if not lines:
            self._write(header)
            return
        number = 0
        try:
            self._hold(json.loads(lines[0]), header)
            for text in lines[1:]:
                number += 1
                line = json.loads(text)
                judged = {str(truth): _judged(found) for truth, found in line["judged"].items()}
                yield (line["method"], line["setting"], line["world"], int(line["seed"])), judged
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchError(
                f"{self._path}, line {number + 1}: no search can be read ({type(error).__name__}: {error}); take the "
                "line out, or give another --out"
            ) from None

    def _hold(self, there: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        """Raises BenchError where the file is of another comparison."""
        if there.get("format") != FORMAT:
            raise BenchError(f"{self._path} holds no searches of nas bench compare; give another --out")
        for name, wanted in json.loads(json.dumps(header)).items():
            if there.get(name) != wanted:
                raise BenchError(
                    f"{self._path} holds searches of another {name} ({_short(there.get(name))}, here "
                    f"{_short(wanted)}); give another --out"
                )

    def keep(self, key: Key, judged: ByFidelity) -> None:
        """Write a search that was not there."""
        method, setting, world, seed = key
        found = {truth: asdict(one) for truth, one in judged.items()}
        self._write({"method": method, "setting": setting, "world": world, "seed": seed, "judged": found})
        self.searches[key] = judged

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _judged(found: Mapping[str, Any]) -> Judged:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Judged(**fields)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def table_hash(table: Table) -> str:
    """16 hex digits over all that a world takes from a table."""
    whole = hashlib.sha256()
    header = {name: table.header[name] for name in ("space", "data", "fidelities")}
    whole.update(json.dumps(header, sort_keys=True).encode())
    for training in table.trainings:
        figures = training.score, training.loss, training.train_seconds, training.error is None
        whole.update(json.dumps([list(training.identity), *figures]).encode())
    return whole.hexdigest()[:16]
