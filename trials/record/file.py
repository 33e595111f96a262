"""The file of a record: whether it can be read, by which journal, and who writes to it. Plain SQLite."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO

from trials.errors import RunInUse, StoreDamaged, StoreError

PARENT_NAME = "parent.safetensors"
FILE_NAME = "study.db"
LOCK_NAME = ".lock"
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs", "9p")


def journal_mode(path: Path) -> str:
    """WAL, unless the folder is on a network file system, where its shared memory does not work."""
    return "DELETE" if network_file_system(path) else "WAL"


def network_file_system(path: Path) -> str | None:
    """The type of the network file system that holds `path`, None when it is local or not known."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    place = path.resolve()
    holding = [(mount, kind) for mount, kind in mounts if place.is_relative_to(mount)]
    kind = max(holding, key=lambda entry: len(entry[0]), default=("", ""))[1]
    return kind if kind.startswith(_NETWORK_FILE_SYSTEMS) else None


def _take(file: IO[str], attempts: int = 5) -> None:
    """Take the writer's lock; `is_active` of another process may hold it for an instant."""
    for attempt in range(attempts):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.02)


def copy_record(source: Path, target: Path) -> None:
    """A copy of a record as it is now, also while a search writes to it."""
    with closing(sqlite3.connect(reading_address(source), uri=True)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)


def is_active(folder: Path) -> bool:
    """Whether a process is searching in this folder now."""
    try:
        with (folder / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def take_lock(path: Path) -> IO[str]:
    file = path.with_name(LOCK_NAME).open("a+")  # held until the store is closed
    try:
        _take(file)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise RunInUse(f"{path.parent} is being searched by {holder}: wait for it, or choose another --out") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {os.uname().nodename}")
    file.flush()
    return file


def reading_address(path: Path) -> str:
    """The address under which a record is read: beside a writer, after a killed one, or as it lies there."""
    wal, rollback = (path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal"))
    if rollback:
        access = "mode=rw"  # what a killed writer left half written is rolled back
    elif wal or is_active(path.parent):
        access = "mode=ro"
    else:
        access = "mode=ro&immutable=1"  # no side file is made: beside a damaged record, on a read-only disk
    return f"{path.resolve().as_uri()}?{access}"


def check(path: Path, readable: Mapping[int, Iterable[str]]) -> int:
    """The schema version of a record that is whole and `readable`: of a known version, with the tables of it.

    Raises:
        StoreError: no such file, or of another schema version.
        StoreDamaged: truncated, not a database, or damaged. The file is not touched.
    """
    if not path.is_file():
        raise StoreError(f"{path.parent} holds no run (no {path.name}): start one with nas search --out {path.parent}")
    try:
        if path.stat().st_size == 0:
            raise sqlite3.DatabaseError("the file is empty")
        connection = sqlite3.connect(reading_address(path), uri=True)
        try:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            found = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
            version = 0 if found is None else int(found[0])
            for table in readable.get(version, ()):
                connection.execute(f"SELECT 1 FROM {table} LIMIT 1")
        finally:
            connection.close()
    except (sqlite3.DatabaseError, OSError, ValueError) as error:
        raise StoreDamaged(damaged(path, error)) from error
    if version > max(readable):
        raise StoreError(
            f"{path} was written by a newer fusion-nas (schema version {version}, this one reads up to "
            f"{max(readable)}): update it, or give another --out"
        )
    if version not in readable:
        raise StoreError(
            f"{path} has schema version {version or None}, this fusion-nas reads {', '.join(map(str, readable))}: "
            "use the version that made it, or start a new run"
        )
    return version


def damaged(path: Path, error: object) -> str:
    return (
        f"{path} is damaged ({' '.join(str(error).split())}); it was left untouched: "
        "restore it from a copy, or search again with another --out"
    )
