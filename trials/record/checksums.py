"""A checksum of each row of a record: a bit that is changed inside a value is no damage to SQLite, and is seen by it.

It is of the row's values as SQLite stores them, in the order of its columns, and written in the transaction that writes
them. A row without one was not written by a search, or is one that changes too often to matter: the lease's.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator

COLUMN = "checksum"

Value = None | int | float | str | bytes


def checksum_of(values: Iterable[Value]) -> int:
    """Of a row's values, without the checksum itself: the CRC-32 of what Python writes of them, text as UTF-8."""
    stored = tuple(value.encode(errors="surrogateescape") if isinstance(value, str) else value for value in values)
    return zlib.crc32(repr(stored).encode())


def seal(connection: sqlite3.Connection, table: str, key: object = None) -> None:
    """Give its checksum to the row of this primary key, which has just been written; where none is given, to all."""
    where = "" if key is None else f"WHERE {_own(table)} = ?"
    found = connection.execute(f"SELECT rowid, * FROM {table} {where}", () if key is None else (key,))
    at = [str(column[0]) for column in found.description].index(COLUMN)
    given = [(checksum_of((*row[1:at], *row[at + 1 :])), row[0]) for row in found.fetchall()]
    connection.executemany(f"UPDATE {table} SET {COLUMN} = ? WHERE rowid = ?", given)


def not_as_written(connection: sqlite3.Connection) -> Iterator[str]:
    """The rows of a record that are not as they were written, as `trials 17`, `meta config`. Raises sqlite3.Error.

    The connection is one for this alone: from here on it gives text as bytes.
    """
    tables = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    sealed = [table for table in tables if _has_checksums(connection, table)]
    connection.text_factory = bytes
    for table in sealed:
        asked = f"SELECT {_own(table)}, * FROM {table} NOT INDEXED WHERE {COLUMN} IS NOT NULL"
        found = connection.execute(asked)
        at = [str(column[0]) for column in found.description].index(COLUMN)
        for row in found:
            if zlib.crc32(repr((*row[1:at], *row[at + 1 :])).encode()) != row[at]:
                key = row[0]
                yield f"{table} {key.decode(errors='replace') if isinstance(key, bytes) else key}"


def _own(table: str) -> str:
    """What tells its rows apart: but for the description's, their number."""
    return "key" if table == "meta" else "rowid"


def _has_checksums(connection: sqlite3.Connection, table: str) -> bool:
    return any(row[1] == COLUMN for row in connection.execute(f'PRAGMA table_info("{table}")'))
