"""Copies of a record that is written to, elsewhere: another disk, or whatever fsspec can write to.

Each is the record as of one instant, taken by SQLite beside the writer, and appears whole or not at all. What fails is
said once and ends nothing.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol

from trials.record.file import FILE_NAME, copy_record

#: Seconds that the end of a search waits for its last copy.
LAST_S = 60.0


class Place(Protocol):
    """Where a copy is put."""

    name: str
    #: Its path, where it is of this machine's file system.
    here: Path | None

    def fetch(self, to: Path) -> bool:
        """What is there, in a file; False where nothing is."""

    def put_aside(self) -> str:
        """Rename what is there; the new name."""

    def put(self, content: Path) -> None:
        """In place of what is there, whole or not at all; `content` may be moved."""


def place_of(text: str, run: str) -> Place:
    """`PATH/RUN/study.db`, or PATH itself where that ends in .db; PATH is a local path or an address that fsspec knows.

    Raises ImportError where a package for such addresses is missing, ValueError for unknown ones.
    """
    named = PurePosixPath(text.partition("://")[2] or text).suffix == ".db"
    whole = text if named else f"{text.rstrip('/')}/{run}/{FILE_NAME}"
    return _Remote(whole) if "://" in text else _Local(Path(whole))


def is_the_record(place: Place, record: Path) -> bool:
    """Whether a copy put there would take the place of the record itself, by whatever name."""
    if place.here is None:
        return False
    there = place.here
    return there.resolve() == record.resolve() or (there.exists() and record.exists() and there.samefile(record))


def overwrites(text: str, record: Path) -> bool:
    """`is_the_record` of the place that `text` names; where that cannot be reached nothing is overwritten."""
    try:
        return is_the_record(place_of(text, record.resolve().parent.name), record)
    except (ImportError, ValueError, OSError):  # the copying says so
        return False


class _Local:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.here: Path | None = path
        self.name = str(path)

    def fetch(self, to: Path) -> bool:
        if not self._path.is_file():
            return False
        to.write_bytes(self._path.read_bytes())
        return True

    def put_aside(self) -> str:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.old-{number}")).exists():
            number += 1
        self._path.rename(aside)
        return str(aside)

    def put(self, content: Path) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
            with content.open("rb") as source, unfinished.open("wb") as target:
                while part := source.read(1 << 20):
                    target.write(part)
                target.flush()
                os.fsync(target.fileno())
            unfinished.replace(self._path)
        finally:
            unfinished.unlink(missing_ok=True)


class _Remote:
    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs  # with what it needs for this kind of address

        self._files: Any
        self._files, self._path = url_to_fs(address)
        self.name = address
        kinds = self._files.protocol
        local = "file" in ((kinds,) if isinstance(kinds, str) else kinds)
        self.here = Path(self._path) if local else None

    def fetch(self, to: Path) -> bool:
        self._files.invalidate_cache()  # what others have put there meanwhile counts
        if not self._files.exists(self._path):
            return False
        self._files.get_file(self._path, str(to))
        return True

    def put_aside(self) -> str:
        number = 1
        while self._files.exists(f"{self._path}.old-{number}"):
            number += 1
        self._files.mv(self._path, f"{self._path}.old-{number}")
        return f"{self.name}.old-{number}"

    def put(self, content: Path) -> None:
        self._files.makedirs(self._files._parent(self._path), exist_ok=True)
        unfinished = f"{self._path}.new"
        self._files.put_file(str(content), unfinished)
        self._files.mv(unfinished, self._path)


class Backup:
    """Copies the record at `record` to a place now, every `every_s` seconds, and at the end. A context manager.

    The copying is done in a thread of its own, beside the writer. What another run has left in that place before is
    renamed; where another one puts its copies there meanwhile, those stay, and this run has none from then on.
    """

    def __init__(self, record: Path, place: str, every_s: float, say: Callable[[str], None]) -> None:
        self._record, self._given, self._every_s, self._say = record, place, every_s, say
        self._place: Place | None = None
        self._failed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backup", daemon=True)

    def __enter__(self) -> Backup:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(LAST_S)
        if self._thread.is_alive():
            self._say(
                f"the last copy of {self._record} to {self._given} takes more than {LAST_S:.0f} s: not waited for"
            )

    def _run(self) -> None:
        while True:
            last = self._over.is_set()
            try:
                self._copy()
                self._failed = False
            except Exception as error:  # whatever a place elsewhere does, a search goes on
                if not self._failed:
                    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
                    self._say(
                        f"{self._record} could not be copied to {self._given} ({said}): the search goes on without"
                    )
                self._failed = True
            if last:
                return
            self._over.wait(self._every_s)

    def _copy(self) -> None:
        with tempfile.TemporaryDirectory(prefix="fusion-nas-backup-") as scratch:
            copy = Path(scratch) / FILE_NAME
            copy_record(self._record, copy)
            place = self._place or place_of(self._given, self._record.resolve().parent.name)
            if is_the_record(place, self._record):
                raise FileExistsError(f"{place.name} is the record itself")
            there = Path(scratch) / "there.db"
            if place.fetch(there) and _began(there) != _began(copy):
                if self._place is not None:
                    raise FileExistsError(f"{place.name} is of another run now, and stays: give another place")
                self._say(f"{place.name} was of another run: it is {place.put_aside()} now")
            self._place = place
            place.put(copy)


def _began(path: Path) -> Any:
    """When the first session of a record began: no two runs have the same. None where that cannot be read."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT started_at FROM sessions ORDER BY id LIMIT 1").fetchone()
    except sqlite3.Error:
        return None
