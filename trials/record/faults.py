"""What SQLite says of a record's file, in the words and with the exit code that a user gets. The one place for that.

Damage is what SQLite itself calls corrupt, or no database. A file that is locked, full, not to be written to or not to
be opened is none of these: what it holds is whole, and the same command goes on later.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import UserError
from trials.errors import StoreBusy, StoreDamaged, StoreUnreachable
from trials.whole_files import FULL, disk_full

#: Seconds that a record which another process has locked is waited for.
BUSY_S = 20.0
#: Bytes under which a disk has no room for SQLite's smallest side file, so that its "I/O error" is a full disk.
_NO_ROOM = 64 * 1024
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


class Damage(Exception):
    """Something about a file that can be opened is not as it must be."""


def fault(path: Path, error: BaseException) -> UserError:
    """The error for what SQLite or the system said of the record at `path`: StoreDamaged, StoreBusy, DiskFull or a
    StoreUnreachable that says how to mend it."""
    said = " ".join(str(error).split())
    if isinstance(error, Damage):
        return StoreDamaged(damaged(path, said))
    if isinstance(error, OSError):
        if error.errno in FULL:
            return disk_full(path)
        return StoreUnreachable(
            f"{path} cannot be read ({os.strerror(error.errno or errno.EIO)}): see to its rights and disk"
        )
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF  # an extended code has the kind of fault in its lowest byte
    garbled = code is None and isinstance(error, sqlite3.OperationalError)  # text that is not UTF-8
    lacking = kind == sqlite3.SQLITE_ERROR and said.startswith("no such")  # a table, or column, of a known version
    if kind in _DAMAGE or garbled or lacking:
        return StoreDamaged(damaged(path, said))
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"{path} is busy: locked by another process for more than {BUSY_S:.0f} s; try again (nothing is damaged)"
        )
    if kind == sqlite3.SQLITE_FULL or (kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _no_room(path)):
        return disk_full(path)
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreUnreachable(
            f"{path} cannot be written to ({said}): see to the rights of the file and of its folder"
        )
    if kind == sqlite3.SQLITE_CANTOPEN:
        return StoreUnreachable(
            f"{path} cannot be opened ({said}): see to the rights of the file and of its folder, or copy the folder to "
            "where it can be written to"
        )
    return StoreUnreachable(
        f"{path} cannot be read or written now ({said}): see to the disk, then give the same command again; what was "
        "recorded is kept"
    )


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raises what SQLite or the system says inside of it as `fault` has it."""
    try:
        yield
    except UserError:
        raise
    except (sqlite3.Error, OSError, Damage) as error:
        raise fault(path, error) from error


def damaged(path: Path, error: object) -> str:
    log = path.with_name(f"{path.name}-wal")
    older = f" (where it is a copy that was put back, delete {log.name}, which is of the file before)"
    return (
        f"{path} is damaged ({' '.join(str(error).split())}); it was left untouched: restore it from a copy, bring "
        f"what can be read into a new run with nas recover {path.parent} --out NEW, or search again with another --out"
        f"{older if log.exists() else ''}"
    )


def _no_room(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _NO_ROOM
    except OSError:
        return False
