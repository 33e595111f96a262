"""Folders elsewhere that a run keeps copies in: on another disk, or of whatever fsspec can write to.

A file appears there, and comes back from there, whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from trials.record.file import reading_address


class Place(Protocol):
    """A folder elsewhere, and its files by their names."""

    name: str
    #: Its path, where it is of this machine's file system.
    here: Path | None

    def sizes(self) -> dict[str, int]:
        """Bytes of the files that are there, by name; none where there is no such folder."""

    def fetch(self, name: str, to: Path) -> bool:
        """What is there, in a file here; False where nothing is."""

    def put(self, name: str, content: Path) -> None:
        """In place of what is there of that name."""

    def put_aside(self, name: str) -> str:
        """Rename what is there; the new name."""

    def alone(self) -> AbstractContextManager[None]:
        """Within it nobody else is alone there, so that what was asked still holds at the put: whoever else that is of
        this machine's file systems (and of the network's that have locks); for an address of fsspec's, in this process
        only. Object stores have no locks: whose put comes last there has the name, and the other sees it when it asks
        next."""


def place_of(address: str, owner: str) -> Place:
    """The folder at a local path or an address that fsspec knows. What `owner` (a word) has begun to put there has a
    name of its own.

    Raises ImportError where a package for such addresses is missing, ValueError for unknown ones.
    """
    address = address.rstrip("/") or "/"
    if "://" not in address:
        return _Local(Path(address), address, owner)
    from fsspec.core import url_to_fs  # with what it needs for this kind of address

    files: Any
    files, path = url_to_fs(address)
    if "file" in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol):
        return _Local(Path(path), address, owner)
    return _Remote(files, str(path), address, owner)


def began(record: Path) -> str | None:
    """When the first session of a record began, in letters that any place takes: no two runs have the same. None where
    there was none, or that cannot be read."""
    try:
        with closing(sqlite3.connect(reading_address(record), uri=True)) as connection:
            found = connection.execute("SELECT started_at FROM sessions ORDER BY id LIMIT 1").fetchone()
    except (OSError, sqlite3.Error):
        return None
    return None if found is None else re.sub(r"\W", "", str(found[0]))[:20]


class _Local:
    def __init__(self, folder: Path, name: str, owner: str) -> None:
        self._folder, self.name, self._owner = folder, name, owner
        self.here: Path | None = folder

    def sizes(self) -> dict[str, int]:
        if not self._folder.is_dir():
            return {}
        return {path.name: path.stat().st_size for path in self._folder.iterdir() if path.is_file()}

    def fetch(self, name: str, to: Path) -> bool:
        there = self._folder / name
        if not there.is_file():
            return False
        with _unfinished(to) as file:
            _copy(there, file)
        return True

    def put(self, name: str, content: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{name}.{self._owner}.new"
        try:
            _copy(content, unfinished)
            unfinished.replace(self._folder / name)
        finally:
            unfinished.unlink(missing_ok=True)

    def put_aside(self, name: str) -> str:
        number = 1
        while (aside := self._folder / f"{name}.old-{number}").exists():
            number += 1
        (self._folder / name).rename(aside)
        return f"{self.name}/{aside.name}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system without locks is gone on with
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


#: Whoever of this process is alone in a place, by its address.
_ALONE: dict[str, threading.Lock] = {}


class _Remote:
    here: Path | None = None

    def __init__(self, files: Any, folder: str, name: str, owner: str) -> None:
        self._files, self._folder, self.name, self._owner = files, folder, name, owner

    def sizes(self) -> dict[str, int]:
        self._files.invalidate_cache()  # what others have put there meanwhile counts
        if not self._files.exists(self._folder):
            return {}
        found = self._files.ls(self._folder, detail=True)
        return {str(one["name"]).rpartition("/")[2]: int(one["size"]) for one in found if one["type"] == "file"}

    def fetch(self, name: str, to: Path) -> bool:
        self._files.invalidate_cache()
        if not self._files.exists(f"{self._folder}/{name}"):
            return False
        with _unfinished(to) as file:
            self._files.get_file(f"{self._folder}/{name}", str(file))
        return True

    def put(self, name: str, content: Path) -> None:
        self._files.makedirs(self._folder, exist_ok=True)
        unfinished = f"{self._folder}/{name}.{self._owner}.new"
        self._files.put_file(str(content), unfinished)
        self._files.mv(unfinished, f"{self._folder}/{name}")

    def put_aside(self, name: str) -> str:
        number = 1
        while self._files.exists(f"{self._folder}/{name}.old-{number}"):
            number += 1
        self._files.mv(f"{self._folder}/{name}", f"{self._folder}/{name}.old-{number}")
        return f"{self.name}/{name}.old-{number}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        with _ALONE.setdefault(self.name, threading.Lock()):
            yield


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """A file that is put in place of `path` once it is whole; `remove_unfinished` knows its name."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Its content, on the disk."""
    with source.open("rb") as reading, target.open("wb") as writing:
        while part := reading.read(1 << 20):
            writing.write(part)
        writing.flush()
        os.fsync(writing.fileno())
