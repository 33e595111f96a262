"""The file of a record: whether it can be read, by which journal, and who writes to it. Plain SQLite."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from trials.errors import StoreError
from trials.record import lease
from trials.record.checksums import not_as_written
from trials.record.faults import BUSY_S, Damage, told
from trials.whole_files import FULL, disk_full

PARENT_NAME = "parent.safetensors"
FILE_NAME = "study.db"
LOCK_NAME = ".lock"
#: A file system that knows no locks, or has none to give.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
#: How many rows that are damaged a line lists.
_SHOWN = 5
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


def copy_record(source: Path, target: Path) -> None:
    """A copy of a record as it is now, in one file that nobody holds, also while a search writes to it."""
    with closing(_connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)
        here.execute("PRAGMA journal_mode=DELETE")
        with here:
            here.execute("DELETE FROM meta WHERE key = ?", (lease.KEY,))


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(reading_address(path), uri=True, timeout=BUSY_S)


def is_active(folder: Path) -> bool:
    """Whether a process is searching in this folder now, on this machine or, by its lease, on another."""
    if locked(folder):
        return True
    path = folder / FILE_NAME
    try:
        if not path.is_file():
            return False
        with closing(_connect(path)) as connection:
            found = lease.Lease.read(connection)
            return found is not None and found.active
    except (OSError, sqlite3.Error):
        return False


def locked(folder: Path) -> bool:
    """Whether a process of this machine holds the lock of this folder."""
    try:
        with (folder / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def take_lock(path: Path) -> tuple[IO[str], bool]:
    """The lock of the folder of `path`, held until the file is closed, and whether the file system has locks at all.

    Raises:
        RunInUse: another process holds it.
        DiskFull: there is no room to say who holds it.
    """
    place = path.with_name(LOCK_NAME)
    try:
        file = place.open("a+")
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(place) from error
        raise
    try:
        locked = _take(file)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise lease.in_use(path.parent, holder) from None
    except OSError as error:
        _drop(file)
        if error.errno in FULL:
            raise disk_full(place) from error
        raise StoreError(f"{place} cannot be locked or written to ({error.strerror}): see to the disk") from error
    return file, locked


def _take(file: IO[str], attempts: int = 5) -> bool:
    """Take the writer's lock; `is_active` of another process may hold it for an instant. False where there are none."""
    for attempt in range(attempts):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.02)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
    raise AssertionError


def _drop(file: IO[str]) -> None:
    """Close a file that has found no room for what it still wants to write."""
    with suppress(OSError):
        file.close()


def reading_address(path: Path) -> str:
    """The address under which a record is read: beside a writer, after a killed one, or as it lies there."""
    wal, rollback = (path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal"))
    if rollback:
        access = "mode=rw"  # what a killed writer left half written is rolled back
    elif wal or _plain_journal(path) or locked(path.parent):
        access = "mode=ro"
    else:
        access = "mode=ro&immutable=1"  # no side file is made: beside a damaged record, on a read-only disk
    return f"{path.resolve().as_uri()}?{access}"


def _plain_journal(path: Path) -> bool:
    """Whether the file's header says that it has no write-ahead log: reading it makes no side files."""
    with path.open("rb") as file:
        return file.read(20)[18:20] == b"\x01\x01"


def check(path: Path, readable: Mapping[int, Iterable[str]]) -> int:
    """The schema version of a record that is whole and `readable`: of a known version, with the tables of it, each row
    as it was written.

    The version is looked at first: what a newer version's tables are like, this one does not know.

    Raises:
        StoreError: no such file, or of another schema version.
        StoreBusy: another process has locked it.
        StoreDamaged: truncated, not a database, or damaged. The file is not touched.
    """
    with told(path):
        if not path.is_file():
            raise StoreError(
                f"{path.parent} holds no run (no {path.name}): start one with nas search --out {path.parent}"
            )
        if path.stat().st_size == 0:
            raise Damage("the file is empty")
        with closing(_connect(path)) as connection:
            version = _version(connection, max(readable))
            if version > max(readable):
                raise StoreError(
                    f"{path} was written by a newer fusion-nas (schema version {version}, this one reads up to "
                    f"{max(readable)}): update it, or give another --out"
                )
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise Damage(verdict)
            if version not in readable:
                raise StoreError(
                    f"{path} has schema version {version or None}, this fusion-nas reads "
                    f"{', '.join(map(str, readable))}: use the version that made it, or start a new run"
                )
            lacking = [table for table in readable[version] if not _has(connection, table)]
            if lacking:
                raise Damage(f"no such table: {', '.join(lacking)}")
            wrong = list(not_as_written(connection))
            if wrong:
                shown = f"{', '.join(wrong[:_SHOWN])}{', …' if len(wrong) > _SHOWN else ''}"
                raise Damage(f"{len(wrong)} of its rows not as written: {shown}")
    return version


def _version(connection: sqlite3.Connection, newest: int) -> int:
    """The schema version; 0 where there is none. A later one may have no table of this name: the header says it, too.

    Raises sqlite3.Error, and Damage where it cannot be read."""
    in_header = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if in_header > newest:
        return in_header
    if not _has(connection, "meta"):
        raise Damage("no such table: meta")
    found = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    try:
        return 0 if found is None else int(found[0])
    except ValueError:
        raise Damage(f"its schema version is {found[0]!r}") from None


def _has(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
    return found.fetchone() is not None
