"""SQLAlchemy's engines over a record: to read it, to write it, and over what an earlier schema's is carried into."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, StaticPool

from trials.record import schema
from trials.record.faults import BUSY_S
from trials.record.file import reading_address

_decoded = json.JSONDecoder().raw_decode


def reading(path: Path) -> Engine:
    """That writes nothing, whatever it is asked."""
    address = reading_address(path)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=BUSY_S)

    engine = create_engine("sqlite://", poolclass=NullPool, creator=connect, json_deserializer=_of_json)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    return engine


def writing(path: Path, journal: str, say: Callable[[str], None] = lambda line: None) -> Engine:
    """With SQLite's journal of this mode; says so where there is none here."""
    address = URL.create("sqlite", database=str(path))  # as text, a ? in a folder's name would end the path
    engine = create_engine(address, connect_args={"timeout": BUSY_S}, json_deserializer=_of_json)
    said: list[str] = []

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        answer = connection.execute(f"PRAGMA journal_mode={journal}").fetchone()[0]
        if answer.upper() != journal and not said:
            said.append(answer)
            say(f"{path}: SQLite has no {journal} journal here, it goes on with {answer}: readers may have to wait")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def carried_over(path: Path, version: int) -> Engine:
    """Over a copy in memory of a record of an earlier schema, carried over; the file stays as it is."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    earlier = reading(path)
    with earlier.connect() as connection:
        plain(connection).backup(copy)
    earlier.dispose()
    carried = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: copy, json_deserializer=_of_json)
    with carried.begin() as connection:
        schema.carry_over(connection, version)
    return carried


def plain(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection, beneath SQLAlchemy's."""
    beneath = connection.connection.driver_connection
    assert isinstance(beneath, sqlite3.Connection)
    return beneath


def _of_json(text: str) -> Any:
    """As json.loads does, in half the time: a record of ten thousand trials has fifty thousand values."""
    value, end = _decoded(text)
    return value if end == len(text) else json.loads(text)
