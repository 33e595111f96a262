"""The record of a run: one SQLite file, one writer, one transaction per event."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from sqlalchemy import (
    JSON,
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    null,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from search_spaces.architecture import Architecture
from trials.errors import StoreDamaged, StoreError
from trials.record.file import check, damaged, journal_mode, reading_address, take_lock
from trials.record.repeat import Repeat
from trials.trial import (
    EpochPoint,
    Failure,
    FinalMeasurement,
    Latency,
    Timing,
    TrialResult,
    TrialState,
    Workload,
)

SCHEMA_VERSION = 1

_metadata = MetaData()


def _score_column() -> Column[Any]:
    """Named when classifying was the only task."""
    return Column("accuracy", Float, key="score")


_meta = Table("meta", _metadata, Column("key", String, primary_key=True), Column("value", JSON, nullable=False))
_sessions = Table(
    "sessions",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String),
    Column("details", JSON, nullable=False),
)
_trials = Table(
    "trials",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("key", String, nullable=False),
    Column("space", String, nullable=False),
    Column("choices", JSON, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("macs", Integer, nullable=False),
    Column("params", Integer, nullable=False),
    _score_column(),
    Column("loss", Float),
    Column("correct", Integer),
    Column("images", Integer),
    Column("latency_p50_ms", Float),
    Column("latency_p95_ms", Float),
    Column("latency", JSON),
    Column("seconds", Float, nullable=False),
    Column("train_seconds", Float, nullable=False),
    Column("images_per_second", Float),
    Column("curve", JSON, nullable=False),
    Column("error", String),
    Column("environment", JSON, nullable=False),
    Column("finished_at", Float, nullable=False),
    Column("workload", JSON(none_as_null=True)),
    Column("timing", JSON(none_as_null=True)),
    Column("failure", String),
    Column("attempts", Integer),
    Column("figures", JSON(none_as_null=True)),
)
_COLUMNS = [column.key for column in _trials.columns]
#: Columns that records of the same schema version may lack, being made before these were.
_ADDED = ("workload", "timing", "failure", "attempts", "figures")
#: Latencies that were measured when a search was over, and trainings beside its trials. Apart: older records of the
#: same version do not have them.
_later = MetaData()
_measurements = Table(
    "measurements",
    _later,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("target", String, nullable=False),
    Column("latency", JSON, nullable=False),
    Column("conditions", JSON, nullable=False),
    Column("measured_at", Float, nullable=False),
)
_repeats = Table(
    "repeats",
    _later,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False),
    Column("space", String, nullable=False),
    Column("choices", JSON, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("epochs", Integer, nullable=False),
    _score_column(),
    Column("loss", Float),
    Column("correct", Integer),
    Column("images", Integer),
    Column("train_seconds", Float, nullable=False),
    Column("error", String),
    Column("environment", JSON, nullable=False),
    Column("finished_at", Float, nullable=False),
    UniqueConstraint("key", "seed", "epochs"),
)
_REPEATED = ("seed", "epochs", "score", "loss", "correct", "images", "train_seconds", "error")
# The promise that nothing is trained twice, held by the database itself.
Index("trained_once", _trials.c.key, unique=True, sqlite_where=text("state = 'complete'"))


@dataclass(frozen=True)
class Session:
    """One stretch of a search, from a start (or a resumption) to its end. `outcome` is None while it
    runs, and for ever when it was killed."""

    id: int
    started_at: float
    ended_at: float | None
    outcome: str | None
    details: Mapping[str, Any]


class Store:
    """An open record. Use `Store.create`, `Store.open` (read) or `Store.open_for_writing`; close it."""

    def __init__(self, path: Path, engine: Engine, lock: IO[str] | None) -> None:
        self.path = path
        self._engine = engine
        self._lock = lock

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any]) -> Store:
        """Make a new record with `meta` in it, whole or not at all. Raises StoreError when there is one."""
        lock = take_lock(path)
        if path.exists():
            lock.close()
            raise StoreError(f"{path} exists already")
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        engine = _engine(unfinished, "DELETE")
        _metadata.create_all(engine)
        _later.create_all(engine)
        with engine.begin() as connection:
            for key, value in {**meta, "schema_version": SCHEMA_VERSION}.items():
                connection.execute(insert(_meta).values(key=key, value=value))
        engine.dispose()
        os.replace(unfinished, path)
        return cls(path, _engine(path, journal_mode(path)), lock)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open for reading, also while a search is writing.

        Raises:
            StoreError: no such file, or of another schema version.
            StoreDamaged: truncated, not a database, or damaged. The file is not touched.
        """
        check(path, _metadata.tables, SCHEMA_VERSION)
        return cls(path, _engine(path, None), None)

    @classmethod
    def open_for_writing(cls, path: Path) -> Store:
        """As `open`, for the one writer. Raises RunInUse when another process holds it."""
        check(path, _metadata.tables, SCHEMA_VERSION)
        lock = take_lock(path)
        store = cls(path, _engine(path, journal_mode(path)), lock)
        store._add_columns()
        return store

    def close(self) -> None:
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Any:
        """A value of the run's description, None when it is not there."""
        with self._connect() as connection:
            return connection.execute(select(_meta.c.value).where(_meta.c.key == key)).scalar_one_or_none()

    def put(self, values: Mapping[str, Any]) -> None:
        """Change the run's description, all of `values` or nothing."""
        with self._connect() as connection:
            for key, value in values.items():
                statement = insert(_meta).values(key=key, value=value)
                connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    def append(self, result: TrialResult) -> None:
        """Record an ended trial. Only a `stopped` trial may be recorded anew, under its number.

        Raises:
            StoreError: that number, or that architecture as complete, is in the record already.
        """
        statement = insert(_trials).values(**_to_row(result))
        replace = statement.on_conflict_do_update(
            index_elements=["number"],
            set_={name: statement.excluded[name] for name in _COLUMNS if name != "number"},
            where=_trials.c.state == str(TrialState.STOPPED),
        )
        with self._connect() as connection:
            try:
                written = connection.execute(replace).rowcount
            except DatabaseError as error:
                raise StoreError(f"trial {result.number} was not recorded: {error.orig}") from error
            if written == 0:
                raise StoreError(f"trial {result.number} is in the record already")

    def put_timing(self, number: int, timing: Timing) -> None:
        """Complete a recorded trial's timing by what recording it took."""
        with self._connect() as connection:
            connection.execute(_trials.update().where(_trials.c.number == number).values(timing=timing.to_json()))

    def results(self) -> tuple[TrialResult, ...]:
        """Every recorded trial, by number."""
        with self._connect() as connection:
            there = _columns(connection)
            known = [column if column.name in there else null().label(column.key) for column in _trials.columns]
            rows = connection.execute(select(*known).select_from(_trials).order_by(_trials.c.number)).all()
        return tuple(_from_row(row) for row in rows)

    def append_measurement(self, measurement: FinalMeasurement) -> None:
        """Record a measurement of a trial's latency, beside any earlier ones."""
        values = {**asdict(measurement), "measured_at": time.time()}
        with self._connect() as connection:
            connection.execute(insert(_measurements).values(**values))

    def measurements(self) -> tuple[FinalMeasurement, ...]:
        """Every measurement that was taken for good, in their order."""
        columns = [_measurements.c[name] for name in ("number", "target", "latency", "conditions")]
        with self._connect() as connection:
            if not inspect(connection).has_table(_measurements.name):
                return ()
            rows = connection.execute(select(*columns).order_by(_measurements.c.id)).all()
        return tuple(FinalMeasurement(r.number, r.target, Latency(**r.latency), r.conditions) for r in rows)

    def append_repeat(self, repeat: Repeat) -> None:
        """Record a training beside the trials. Raises StoreError when it is in the record already."""
        a = repeat.architecture
        values = {name: getattr(repeat, name) for name in _REPEATED}
        values |= {"key": a.key, "space": a.space, "choices": a.labels(), "environment": dict(repeat.environment)}
        with self._connect() as connection:
            try:
                connection.execute(insert(_repeats).values(**values, finished_at=time.time()))
            except DatabaseError as error:
                raise StoreError(f"a repeat of {a.key} was not recorded: {error.orig}") from error

    def repeats(self) -> tuple[Repeat, ...]:
        """Every training beside the trials, in their order."""
        with self._connect() as connection:
            if not inspect(connection).has_table(_repeats.name):
                return ()
            rows = connection.execute(select(_repeats).order_by(_repeats.c.id)).all()
        return tuple(
            Repeat(
                Architecture.from_json({"space": row.space, "choices": row.choices}), environment=row.environment,
                **{name: getattr(row, name) for name in _REPEATED},
            )
            for row in rows
        )  # fmt: skip

    def _add_columns(self) -> None:
        with self._connect() as connection:
            _later.create_all(connection)
            for name in set(_ADDED) - _columns(connection):
                connection.execute(text(f"ALTER TABLE trials ADD COLUMN {name} {_trials.c[name].type.compile()}"))

    def begin_session(self, details: Mapping[str, Any]) -> int:
        with self._connect() as connection:
            values = {"started_at": time.time(), "details": dict(details)}
            key = connection.execute(insert(_sessions).values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0])

    def end_session(self, session: int, outcome: str) -> None:
        values = {"ended_at": time.time(), "outcome": outcome}
        with self._connect() as connection:
            connection.execute(_sessions.update().where(_sessions.c.id == session).values(**values))

    def sessions(self) -> tuple[Session, ...]:
        with self._connect() as connection:
            rows = connection.execute(select(_sessions).order_by(_sessions.c.id)).all()
        return tuple(Session(**row._mapping) for row in rows)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.IntegrityError):
                raise
            if isinstance(error.orig, sqlite3.OperationalError):
                raise StoreError(
                    f"{self.path} cannot be read or written now ({error.orig}): see to the disk, "
                    "then give the same command again; what was recorded is kept"
                ) from error
            raise StoreDamaged(damaged(self.path, error.orig)) from error


def _columns(connection: Connection) -> set[str]:
    return {row.name for row in connection.execute(text("PRAGMA table_info(trials)"))}


def _engine(path: Path, journal: str | None) -> Engine:
    if journal is None:
        reading = reading_address(path)
        engine = create_engine(
            "sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(reading, uri=True, timeout=30)
        )
    else:
        address = URL.create("sqlite", database=str(path))  # as text, a ? in a folder's name would end the path
        engine = create_engine(address, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        if journal is None:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute(f"PRAGMA journal_mode={journal}")
            connection.execute("PRAGMA synchronous=FULL")

    return engine


def _to_row(result: TrialResult) -> dict[str, Any]:
    latency = result.latency
    return {
        "number": result.number,
        "state": str(result.state),
        "origin": result.origin,
        "key": result.architecture.key,
        "space": result.architecture.space,
        "choices": result.architecture.labels(),
        "seed": result.seed,
        "macs": result.macs,
        "params": result.params,
        "score": result.score,
        "loss": result.loss,
        "correct": result.correct,
        "images": result.images,
        "latency_p50_ms": None if latency is None else latency.p50_ms,
        "latency_p95_ms": None if latency is None else latency.p95_ms,
        "latency": None if latency is None else latency.to_json(),
        "seconds": result.seconds,
        "train_seconds": result.train_seconds,
        "images_per_second": result.images_per_second,
        "curve": [asdict(point) for point in result.curve],
        "error": result.error,
        "environment": dict(result.environment),
        "finished_at": time.time(),
        "workload": None if result.workload is None else result.workload.to_json(),
        "timing": None if result.timing is None else result.timing.to_json(),
        "failure": None if result.failure is None else str(result.failure),
        "attempts": result.attempts,
        "figures": dict(result.figures) or None,
    }


def _from_row(row: Row[Any]) -> TrialResult:
    return TrialResult(
        number=row.number,
        state=TrialState(row.state),
        origin=row.origin,
        architecture=Architecture.from_json({"space": row.space, "choices": row.choices}),
        seed=row.seed,
        macs=row.macs,
        params=row.params,
        score=row.score,
        loss=row.loss,
        correct=row.correct,
        images=row.images,
        latency=None if row.latency is None else Latency(**row.latency),
        seconds=row.seconds,
        train_seconds=row.train_seconds,
        images_per_second=row.images_per_second,
        curve=tuple(EpochPoint(**point) for point in row.curve),
        error=row.error,
        environment=row.environment,
        workload=None if row.workload is None else Workload(**row.workload),
        timing=None if row.timing is None else Timing(**row.timing),
        failure=None if row.failure is None else Failure(row.failure),
        attempts=row.attempts or 1,
        figures=row.figures or {},
    )
