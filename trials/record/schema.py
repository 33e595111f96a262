"""The tables of a record, and how a record of an earlier schema is carried over to them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    inspect,
    select,
    text,
)

from trials.record import checksums, lease

#: 1: trials with their own results, and a table of repeats beside them. 2: one table of trainings. 3: which of them are
#: finalists'. 4: each one's loss at its own temperature. 5: how its attention weights moved. 6: a checksum of each row.
SCHEMA_VERSION = 6

metadata = MetaData()


def _json(name: str) -> Column[Any]:
    return Column(name, JSON(none_as_null=True))


def _checksum() -> Column[Any]:
    return Column(checksums.COLUMN, Integer)


meta = Table(
    "meta", metadata, Column("key", String, primary_key=True), Column("value", JSON, nullable=False), _checksum()
)
sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String),
    Column("details", JSON, nullable=False),
    _checksum(),
)
#: All that was trained, whoever asked for it. `error` says why one has no score.
trainings = Table(
    "trainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False),
    Column("space", String, nullable=False),
    Column("choices", JSON, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("epochs", Integer, nullable=False),
    Column("start", String, nullable=False),
    Column("final", Boolean, nullable=False, server_default=text("0")),
    Column("score", Float),
    Column("loss", Float),
    Column("tempered_loss", Float),
    Column("temperature", Float),
    Column("correct", Integer),
    Column("images", Integer),
    _json("figures"),
    Column("seconds", Float, nullable=False),
    Column("train_seconds", Float, nullable=False),
    Column("images_per_second", Float),
    Column("curve", JSON, nullable=False),
    _json("attention"),
    Column("error", String),
    Column("failure", String),
    Column("environment", JSON, nullable=False),
    Column("finished_at", Float, nullable=False),
    _checksum(),
)
#: What was proposed. A trial that was trained refers to its training; one that was gated or stopped has none, and
#: says itself why, for how long and where.
trials = Table(
    "trials",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("key", String, nullable=False),
    Column("space", String, nullable=False),
    Column("choices", JSON, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("epochs", Integer, nullable=False),
    Column("start", String, nullable=False),
    Column("macs", Integer, nullable=False),
    Column("params", Integer, nullable=False),
    _json("workload"),
    Column("training", Integer, ForeignKey("trainings.id"), index=True),
    Column("latency_p50_ms", Float),
    Column("latency_p95_ms", Float),
    _json("latency"),
    Column("error", String),
    Column("seconds", Float),
    _json("environment"),
    _json("timing"),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", Float, nullable=False),
    _checksum(),
)
#: Latencies that were measured when a search was over.
measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("target", String, nullable=False),
    Column("latency", JSON, nullable=False),
    Column("conditions", JSON, nullable=False),
    Column("measured_at", Float, nullable=False),
    _checksum(),
)
# The promises that nothing is proposed, and nothing is trained, twice, held by the database itself.
Index("proposed_once", trials.c.key, unique=True, sqlite_where=text("state = 'complete'"))
_identity = (trainings.c.key, trainings.c.seed, trainings.c.epochs, trainings.c.start, trainings.c.final)
trained_once = Index("trained_once", *_identity, unique=True, sqlite_where=text("score IS NOT NULL"))


#: The schemas that can be read, and the tables that a record of each must have.
READABLE: Mapping[int, Iterable[str]] = {
    1: ("meta", "sessions", "trials"), **{version: tuple(metadata.tables) for version in range(2, SCHEMA_VERSION + 1)},
}  # fmt: skip


def mark(connection: Connection) -> None:
    """The version in the file's header, too: a later one may have other tables, and is still told from damage."""
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def carry_over(connection: Connection, version: int) -> None:
    """Rewrite a record of an earlier schema as one of the present one, in one transaction."""
    if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python's driver begins none before tables are changed
    if version == 1:
        _from_1(connection)
    if version == 2:
        _from_2(connection)
    if version in (2, 3):
        _from_3(connection)
    if version in (2, 3, 4):
        _from_4(connection)
    _from_5(connection)
    connection.execute(meta.update().where(meta.c.key == "schema_version").values(value=SCHEMA_VERSION))
    mark(connection)
    plain = connection.connection.driver_connection
    assert isinstance(plain, sqlite3.Connection)
    for name in metadata.tables:
        checksums.seal(plain, name)
    connection.execute(meta.update().where(meta.c.key == lease.KEY).values(checksum=None))  # it is renewed all the time


def _from_2(connection: Connection) -> None:
    """None of its trainings is a finalist's."""
    connection.exec_driver_sql("ALTER TABLE trainings ADD COLUMN final BOOLEAN NOT NULL DEFAULT 0")
    connection.execute(text("DROP INDEX IF EXISTS trained_once"))
    trained_once.create(connection)


def _from_3(connection: Connection) -> None:
    """Of none of its trainings the temperature was taken out of the loss."""
    for name in ("tempered_loss", "temperature"):
        connection.exec_driver_sql(f"ALTER TABLE trainings ADD COLUMN {name} FLOAT")


def _from_4(connection: Connection) -> None:
    """Of none of its trainings the attention weights were looked at from epoch to epoch."""
    connection.exec_driver_sql("ALTER TABLE trainings ADD COLUMN attention JSON")


def _from_5(connection: Connection) -> None:
    """None of its rows has a checksum; tables that were made on the way may."""
    there = inspect(connection)
    for name in metadata.tables:
        if all(column["name"] != checksums.COLUMN for column in there.get_columns(name)):
            connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {checksums.COLUMN} INTEGER")


def _from_1(connection: Connection) -> None:
    """Every trial, repeat and measurement of it."""
    there = inspect(connection)
    old_trials = connection.execute(text("SELECT * FROM trials ORDER BY number")).mappings().all()
    with_repeats = there.has_table("repeats")
    repeats = connection.execute(text("SELECT * FROM repeats ORDER BY id")).mappings().all() if with_repeats else []
    described = {row.key: row.value for row in connection.execute(select(meta.c.key, meta.c.value))}
    epochs, start = _fidelity(described)
    connection.execute(text("DROP INDEX IF EXISTS trained_once"))
    connection.execute(text("DROP TABLE trials"))
    connection.execute(text("DROP TABLE IF EXISTS repeats"))
    metadata.create_all(connection)
    known: dict[tuple[Any, ...], int] = {}
    for row in old_trials:
        training = None
        if row["state"] in ("complete", "failed"):
            training = _carry_training(connection, row, epochs, start)
            if row["state"] == "complete":
                known[row["key"], row["seed"], epochs] = training
        values = {name: row[name] for name in ("number", "state", "origin", "key", "space", "seed", "macs", "params")}
        values |= {name: row[name] for name in ("latency_p50_ms", "latency_p95_ms", "finished_at")}
        values |= {name: _read(row.get(name)) for name in ("choices", "workload", "latency", "timing")}
        if training is None:
            values |= {"error": row["error"], "seconds": row["seconds"], "environment": _read(row["environment"])}
        values["attempts"] = row.get("attempts") or 1
        connection.execute(trials.insert().values(**values, epochs=epochs, start=start, training=training))
    for row in repeats:
        if (row["key"], row["seed"], row["epochs"]) not in known:
            _carry_training(connection, row, row["epochs"], start)


def _fidelity(described: dict[str, Any]) -> tuple[int, str]:
    """How long the trials of a record of schema 1 were trained, and from what."""
    training = (described.get("config") or {}).get("training") or {}
    regime, parent = training.get("regime") or "scratch", described.get("parent") or {}
    return int(training.get("epochs") or 1), regime if regime == "scratch" else f"{regime}:{parent.get('digest')}"


def _carry_training(connection: Connection, row: Any, epochs: int, start: str) -> int:
    values = {name: row[name] for name in ("key", "space", "seed", "loss", "correct", "images", "train_seconds")}
    values |= {name: row[name] for name in ("error", "finished_at")}
    values |= {name: row.get(name) for name in ("images_per_second", "failure")}
    values |= {"score": row["accuracy"], "seconds": row.get("seconds", row["train_seconds"])}
    values |= {name: _read(row.get(name)) for name in ("choices", "figures", "environment")}
    values["curve"] = _read(row.get("curve")) or []
    done = connection.execute(trainings.insert().values(**values, epochs=epochs, start=start))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def _read(value: str | None) -> Any:
    return None if value is None else json.loads(value)
