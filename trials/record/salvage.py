"""Whatever can be read of a damaged record, as a new one: no row is made up, and the old file is not touched.

Each table is read by SQLite itself from both ends until it meets the damage; what lies beyond, and all where not even
the list of tables is left, is read from the file's pages. A row counts where its values are of the types of its table,
its JSON can be read, and its architecture is the one that its key says.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Float, Integer, create_engine
from sqlalchemy.pool import StaticPool

from search_spaces.architecture import Architecture
from trials.errors import StoreDamaged, StoreError
from trials.record import lease, schema
from trials.record.checksums import COLUMN, checksum_of, seal
from trials.record.faults import told
from trials.record.file import FILE_NAME, locked
from trials.record.pages import Pages, Value

#: What identifies a row of each table, where that is not its number.
_NAMED = {"meta": "key"}
#: Without these nothing is known of what was searched.
NEEDED = ("config", "description", "baseline", "constraints")
_LOST = "its training was lost with a damaged record"

Row = dict[str, Value]


@dataclass
class Saved:
    """What was brought over: rows by table, of trials and trainings the numbers that are missing among them (what was
    lost at the end leaves no gap), rows that contradict another, and `needed` that is not there any more. Of trials and
    trainings a row that is not as it was written is not brought over; of the description it is, and named."""

    rows: dict[str, int] = field(default_factory=dict)
    missing: dict[str, list[int]] = field(default_factory=dict)
    conflicting: int = 0
    #: Trials whose training was lost: to be trained again, under their number.
    untrained: list[int] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    #: What of the run's description is there, but not as it was written.
    doubtful: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "missing": self.missing, "conflicting": self.conflicting, "untrained": self.untrained,
            "needed": self.needed, "doubtful": self.doubtful,
        }  # fmt: skip


def salvage(source: Path, target: Path) -> Saved:
    """Bring what can be read of the record at `source` into a new one at `target`.

    Raises:
        StoreError: there is no such file, a search writes to it, or `target` is there.
        StoreDamaged: nothing of it can be read.
    """
    if not source.is_file():
        raise StoreError(f"{source.parent} holds no run (no {FILE_NAME})")
    if locked(source.parent):
        raise StoreError(f"{source.parent} is being searched now: wait for it, or stop it")
    if target.exists():
        raise StoreError(f"{target} exists already: give a folder that is new")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        with told(source):
            pages = Pages.read(_rolled_back(source, Path(scratch)))
        repaired = Path(scratch) / "repaired.db"
        with told(repaired):
            repaired.write_bytes(pages.repaired())
            tables, whole = _tables(pages), set[str]()
            found: dict[str, dict[Any, Row]] = {name: {} for name in tables}
            with closing(sqlite3.connect(repaired)) as connection:
                connection.execute("PRAGMA writable_schema=ON")
                connection.execute("PRAGMA cell_size_check=ON")
                for name, columns in tables.items():
                    if _read(connection, name, columns, found[name]):
                        whole.add(name)
        _carve(pages, {name: columns for name, columns in tables.items() if name not in whole}, found)
        if not any(found.values()):
            raise StoreDamaged(f"{source} holds nothing that can be read: restore it from a copy")
        holder = lease.Lease.of(found["meta"].get(lease.KEY, {}).get("value"))
        if holder is not None and holder.active:
            raise StoreError(f"{source.parent} is being searched by {holder.holder}: wait for it, or stop it")
        unfinished = Path(scratch) / FILE_NAME
        with told(target):
            saved = _write(unfinished, tables, found, source, whole=whole.issuperset({"trials", "trainings"}))
            unfinished.replace(target)
    return saved


def _rolled_back(source: Path, scratch: Path) -> Path:
    """The record without what a killed writer left half written in it, where it has a plain journal; else itself."""
    journal = source.with_name(f"{source.name}-journal")
    if not journal.is_file():
        return source
    copy = scratch / "rolled-back.db"
    shutil.copyfile(source, copy)
    shutil.copyfile(journal, copy.with_name(f"{copy.name}-journal"))
    with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return copy


def _tables(pages: Pages) -> dict[str, dict[str, Column[Any] | None]]:
    """The columns of each table in their order in this file, by what it says of itself, else as of now; of a column
    that the present version has what it must be like."""
    said = {
        str(values[1]): str(values[4])
        for _, values in pages.rows()
        if len(values) == 5 and values[0] == "table" and values[1] in {*schema.metadata.tables, "repeats"}
    }
    tables: dict[str, dict[str, Column[Any] | None]] = {}
    with closing(sqlite3.connect(":memory:")) as scratch:
        for name, statement in said.items():
            try:
                scratch.execute(statement)
            except (sqlite3.Error, sqlite3.Warning):
                continue
            own = {c.name: c for c in schema.metadata.tables[name].columns} if name in schema.metadata.tables else {}
            order = [str(row[1]) for row in scratch.execute(f"PRAGMA table_info({name})")]
            tables[name] = {column: own.get(column) for column in order}
    if "trainings" not in tables and "repeats" in tables:  # schema 1
        return tables
    for name, table in schema.metadata.tables.items():
        tables.setdefault(name, {column.name: column for column in table.columns})
    return {name: columns for name, columns in tables.items() if name != "repeats"}


def _read(
    connection: sqlite3.Connection, name: str, columns: Mapping[str, Column[Any] | None], into: dict[Any, Row]
) -> bool:
    """Rows of a table from both ends up to the damage. Whether there was none."""
    whole = True
    for order in ("ASC", "DESC"):
        try:
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM {name} NOT INDEXED ORDER BY rowid {order}")
            for values in rows:
                row = _checked(name, columns, dict(zip(columns, values, strict=True)))
                if row is None:
                    whole = False
                else:
                    into.setdefault(_identity(name, row), row)
        except (sqlite3.Error, ValueError, OverflowError):
            whole = False
        if whole:
            return True
    return False


def _carve(
    pages: Pages, tables: Mapping[str, Mapping[str, Column[Any] | None]], found: Mapping[str, dict[Any, Row]]
) -> None:
    """Rows of these tables from the leaves of the file, where they are not there yet."""
    for number, values in pages.rows() if tables else ():
        for name, columns in tables.items():
            own = list(columns)
            if len(values) > len(own) or len(values) < len(own) - 3:  # of before columns were added: at the end
                continue
            row: Row = dict(zip(own, (*values, *[None] * (len(own) - len(values))), strict=True))
            key = next((c.name for c in schema.metadata.tables[name].columns if c.primary_key), "id") \
                if name in schema.metadata.tables else "id"  # fmt: skip
            if name not in _NAMED:
                if row[key] is not None:
                    continue  # the number of a row is not among its values
                row[key] = number
            if "final" in row and row["final"] is None:
                row["final"] = 0
            checked = _checked(name, columns, row)
            if checked is not None and _as_written(checked):
                found[name].setdefault(_identity(name, checked), checked)
                break


def _identity(name: str, row: Row) -> Any:
    return row[_NAMED[name]] if name in _NAMED else next(iter(row.values()))


def _checked(name: str, columns: Mapping[str, Column[Any] | None], row: Row) -> Row | None:
    """The row with its values as they are declared; None where it cannot be one of this table."""
    for column, declared in columns.items():
        value = row[column]
        if declared is None:
            continue
        if value is None:
            if not declared.nullable:
                return None
            continue
        kind = declared.type
        if isinstance(kind, Float):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                return None
            row[column] = float(value)
        elif isinstance(kind, Integer | Boolean):
            if not isinstance(value, int):
                return None
        elif not isinstance(value, str) or (isinstance(kind, JSON) and not _is_json(value)):
            return None
    if not _consistent(name, row):
        return None
    return row if name == "meta" or _as_written(row) else None  # a description is needed, doubtful or not


def _as_written(row: Row) -> bool:
    """Whether its values are those of its checksum, where it has one."""
    written = row.get(COLUMN)
    return written is None or checksum_of(value for column, value in row.items() if column != COLUMN) == written


def _consistent(name: str, row: Row) -> bool:
    if name == "meta":
        return str(row["key"]).isprintable()
    if name in ("trials", "trainings", "repeats"):
        try:
            whole = {"space": row["space"], "choices": json.loads(str(row["choices"]))}
            return Architecture.from_json(whole).key == row["key"]
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _write(
    path: Path, tables: Mapping[str, Mapping[str, Any]], found: dict[str, dict[Any, Row]], source: Path, whole: bool
) -> Saved:
    saved = Saved()
    meta = found["meta"]
    version = _version(meta, tables)
    meta.pop(lease.KEY, None)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        _make(connection, version, tables)
        trained = set(found.get("trainings", ()))
        for name, rows in found.items():
            if name not in tables:
                continue
            for _, row in sorted(rows.items()):
                if name == "trials" and "training" in row and row["training"] not in (None, *trained):
                    row |= {"training": None, "state": "stopped", "error": _LOST, "seconds": 0.0, "environment": "{}"}
                    saved.untrained.append(int(str(row["number"])))
                places = ", ".join("?" * len(row))
                statement = f"INSERT OR IGNORE INTO {name} ({', '.join(row)}) VALUES ({places})"
                done = connection.execute(statement, tuple(row.values()))
                saved.conflicting += done.rowcount == 0
                saved.rows[name] = saved.rows.get(name, 0) + done.rowcount
            saved.rows.setdefault(name, 0)
        saved.missing = {name: list(_gaps(found.get(name, {}), first)) for name, first in _COUNTED.items()}
        saved.needed = [key for key in NEEDED if key not in meta]
        saved.doubtful = sorted(str(key) for key, row in meta.items() if not _as_written(row))
        if saved.untrained or saved.missing["trials"] or not whole:
            _reopen(connection, meta)
        described = {
            "schema_version": version,
            "recovered": {"from": str(source), "at": time.time(), **saved.to_json()},
        }
        for key, value in described.items():
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, json.dumps(value)))
        if version == schema.SCHEMA_VERSION:
            for name in tables:
                seal(connection, name)
            connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        assert verdict == "ok", verdict
    return saved


def _reopen(connection: sqlite3.Connection, meta: Mapping[Any, Row]) -> None:
    """What the last session had decided or done may not be so any more: the next one sees what is missing."""
    connection.execute("UPDATE sessions SET outcome = 'damaged' WHERE id = (SELECT max(id) FROM sessions)")
    plan = json.loads(str(meta["effort_plan"]["value"])) if "effort_plan" in meta else None
    if isinstance(plan, dict):
        changed = json.dumps({**plan, "ended": None, "cut": False})
        connection.execute("UPDATE meta SET value = ? WHERE key = 'effort_plan'", (changed,))


#: The tables whose rows are counted without a gap, from what.
_COUNTED = {"trials": 0, "trainings": 1}


def _gaps(rows: Mapping[Any, Row], first: int) -> Iterator[int]:
    numbers = sorted(number for number in rows if isinstance(number, int))
    for before, after in zip([first - 1, *numbers], numbers, strict=False):
        if after - before < 100_000:  # a number that is out of all order is no count
            yield from range(before + 1, after)


def _version(meta: Mapping[Any, Row], tables: Mapping[str, Mapping[str, Any]]) -> int:
    """That of the columns that the rows have, whatever is said."""
    if "trainings" not in tables:
        return 1
    columns = tables["trainings"]
    came = {COLUMN: schema.SCHEMA_VERSION, "attention": 5, "tempered_loss": 4, "final": 3}
    return next((version for column, version in came.items() if column in columns), 2)


def _make(connection: sqlite3.Connection, version: int, tables: Mapping[str, Any]) -> None:
    """Empty tables of that version."""
    if version == schema.SCHEMA_VERSION:
        engine = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: connection)
        schema.metadata.create_all(engine)
        return
    keys = {"meta": "key", "trials": "number"}
    for name, columns in tables.items():
        key = keys.get(name, "id")
        kinds = {column: _kind(name, column) for column in columns}
        parts = [f"{column} {kind}{' PRIMARY KEY' if column == key else ''}" for column, kind in kinds.items()]
        connection.execute(f"CREATE TABLE {name} ({', '.join(parts)})")
    connection.execute("CREATE UNIQUE INDEX proposed_once ON trials (key) WHERE state = 'complete'")
    if version > 1:
        final = ", final" if version > 2 else ""
        columns_of = f"key, seed, epochs, start{final}"
        connection.execute(f"CREATE UNIQUE INDEX trained_once ON trainings ({columns_of}) WHERE score IS NOT NULL")


def _kind(name: str, column: str) -> str:
    table = schema.metadata.tables.get(name)
    declared = None if table is None or column not in table.columns else table.columns[column]
    if declared is not None:
        return str(declared.type.compile())
    return "INTEGER" if column == "id" else ""  # of no type: values stay as they were stored
