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

from sqlalchemy import URL, Connection, Engine, Row, Select, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, StaticPool

from search_spaces.architecture import Architecture
from trials.errors import StoreDamaged, StoreError
from trials.record import schema
from trials.record.file import check, damaged, journal_mode, reading_address, take_lock
from trials.record.training import Training
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
from trials.whole_files import disk_full

#: Joins a trial to its training.
_BELONGS = schema.trials.c.training == schema.trainings.c.id
#: What a trial has from its training, beside what it is itself; under names of its own where both have one.
_OF_TRAINING = [
    *(schema.trainings.c[name] for name in ("score", "loss", "correct", "images", "figures", "train_seconds")),
    *(schema.trainings.c[name] for name in ("tempered_loss", "temperature")),
    *(schema.trainings.c[name] for name in ("images_per_second", "curve", "failure")),
    *(schema.trainings.c[name].label(f"trained_{name}") for name in ("seconds", "error", "environment")),
]
_NEW = [column.key for column in schema.trials.columns if column.key != "number"]
#: Of a training and of a row of it, by the same name.
_SAME = (
    "seed", "epochs", "start", "final", "score", "loss", "correct", "images", "seconds", "train_seconds",
    "images_per_second", "error", "tempered_loss", "temperature",
)  # fmt: skip


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
        try:
            with cls(unfinished, _engine(unfinished, "DELETE"), None)._connect() as connection:
                schema.metadata.create_all(connection)
                for key, value in {**meta, "schema_version": schema.SCHEMA_VERSION}.items():
                    connection.execute(insert(schema.meta).values(key=key, value=value))
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            lock.close()
            raise
        return cls(path, _engine(path, journal_mode(path)), lock)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open for reading, also while a search is writing. An earlier schema is carried over in memory.

        Raises:
            StoreError: no such file, or of another schema version.
            StoreDamaged: truncated, not a database, or damaged. The file is not touched.
        """
        version = check(path, schema.READABLE)
        engine = _engine(path, None)
        return cls(path, engine if version == schema.SCHEMA_VERSION else _carried_over(engine, version), None)

    @classmethod
    def open_for_writing(cls, path: Path) -> Store:
        """As `open`, for the one writer; an earlier schema is carried over for good. Raises RunInUse when another
        process holds it."""
        version = check(path, schema.READABLE)
        store = cls(path, _engine(path, journal_mode(path)), take_lock(path))
        try:
            if version != schema.SCHEMA_VERSION:
                with store._connect() as connection:
                    schema.carry_over(connection, version)
        except BaseException:
            store.close()
            raise
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
            return connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == key)).scalar_one_or_none()

    def put(self, values: Mapping[str, Any]) -> None:
        """Change the run's description, all of `values` or nothing."""
        with self._connect() as connection:
            for key, value in values.items():
                statement = insert(schema.meta).values(key=key, value=value)
                connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    def append(self, result: TrialResult) -> None:
        """Record an ended trial, and its training where it was trained and that is not recorded yet: both or none.
        Only a `stopped` trial may be recorded anew, under its number.

        Raises:
            StoreError: that number, or that architecture as complete, is in the record already.
        """
        with self._connect() as connection:
            try:
                training = _recorded_training(connection, result) if result.trained else None
                statement = insert(schema.trials).values(**_trial_row(result, training))
                replace = statement.on_conflict_do_update(
                    index_elements=["number"],
                    set_={name: statement.excluded[name] for name in _NEW},
                    where=schema.trials.c.state == str(TrialState.STOPPED),
                )
                written = connection.execute(replace).rowcount
            except DatabaseError as error:
                raise StoreError(f"trial {result.number} was not recorded: {error.orig}") from error
            if written == 0:
                raise StoreError(f"trial {result.number} is in the record already")

    def put_timing(self, number: int, timing: Timing) -> None:
        """Complete a recorded trial's timing by what recording it took."""
        with self._connect() as connection:
            connection.execute(
                schema.trials.update().where(schema.trials.c.number == number).values(timing=timing.to_json())
            )

    def results(self) -> tuple[TrialResult, ...]:
        """Every recorded trial with its training, by number."""
        both = select(*schema.trials.columns, *_OF_TRAINING)
        joined = both.select_from(schema.trials.outerjoin(schema.trainings, _BELONGS)).order_by(schema.trials.c.number)
        with self._connect() as connection:
            return tuple(_result(row) for row in connection.execute(joined))

    def moments(self) -> dict[int, float]:
        """When each trial was recorded, by its number."""
        columns = schema.trials.c.number, schema.trials.c.finished_at
        with self._connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select(*columns))}

    def append_training(self, training: Training) -> None:
        """Record a training that no trial asked for. Raises StoreError when it is in the record already."""
        with self._connect() as connection:
            try:
                connection.execute(insert(schema.trainings).values(**_training_row(training)))
            except DatabaseError as error:
                raise StoreError(f"a training of {training.architecture.key} was not recorded: {error.orig}") from error

    def trainings_beside(self) -> tuple[Training, ...]:
        """The trainings that belong to no trial, but for the finalists', in their order."""
        apart = select(schema.trainings).select_from(schema.trainings.outerjoin(schema.trials, _BELONGS))
        return self._trainings(apart.where(schema.trials.c.number.is_(None), schema.trainings.c.final.is_(False)))

    def final_trainings(self) -> tuple[Training, ...]:
        """The finalists' trainings, in their order."""
        return self._trainings(select(schema.trainings).where(schema.trainings.c.final.is_(True)))

    def _trainings(self, wanted: Select[Any]) -> tuple[Training, ...]:
        with self._connect() as connection:
            return tuple(_training(row) for row in connection.execute(wanted.order_by(schema.trainings.c.id)))

    def occupied(self) -> tuple[tuple[float, float], ...]:
        """Of every training, whosever: when it was recorded, and for how many seconds it had held a worker."""
        columns = schema.trainings.c.finished_at, schema.trainings.c.seconds
        with self._connect() as connection:
            return tuple((row[0], row[1]) for row in connection.execute(select(*columns)))

    def append_measurement(self, measurement: FinalMeasurement) -> None:
        """Record a measurement of a trial's latency, beside any earlier ones."""
        values = {**asdict(measurement), "measured_at": time.time()}
        with self._connect() as connection:
            connection.execute(insert(schema.measurements).values(**values))

    def measurements(self) -> tuple[FinalMeasurement, ...]:
        """Every measurement that was taken for good, in their order."""
        columns = [schema.measurements.c[name] for name in ("number", "target", "latency", "conditions")]
        with self._connect() as connection:
            rows = connection.execute(select(*columns).order_by(schema.measurements.c.id)).all()
        return tuple(FinalMeasurement(r.number, r.target, Latency(**r.latency), r.conditions) for r in rows)

    def begin_session(self, details: Mapping[str, Any]) -> int:
        with self._connect() as connection:
            values = {"started_at": time.time(), "details": dict(details)}
            key = connection.execute(insert(schema.sessions).values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0])

    def end_session(self, session: int, outcome: str) -> None:
        values = {"ended_at": time.time(), "outcome": outcome}
        with self._connect() as connection:
            connection.execute(schema.sessions.update().where(schema.sessions.c.id == session).values(**values))

    def sessions(self) -> tuple[Session, ...]:
        with self._connect() as connection:
            rows = connection.execute(select(schema.sessions).order_by(schema.sessions.c.id)).all()
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
                if error.orig.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    raise disk_full(self.path) from error
                raise StoreError(
                    f"{self.path} cannot be read or written now ({error.orig}): see to the disk, "
                    "then give the same command again; what was recorded is kept"
                ) from error
            raise StoreDamaged(damaged(self.path, error.orig)) from error


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


def _carried_over(engine: Engine, version: int) -> Engine:
    """A copy in memory of a record of an earlier schema, carried over; the file stays as it is."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    with engine.connect() as connection:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.backup(copy)
    engine.dispose()
    carried = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: copy)
    with carried.begin() as connection:
        schema.carry_over(connection, version)
    return carried


def _recorded_training(connection: Connection, result: TrialResult) -> int:
    """The row of a trial's training: written now, unless it was trained for something else before."""
    training, columns = Training.of(result), schema.trainings.c
    if training.error is None:
        same = zip((columns.key, columns.seed, columns.epochs, columns.start), training.identity, strict=True)
        looks = columns.score.is_not(None), columns.final.is_(False)
        known = select(columns.id).where(*looks, *(column == value for column, value in same))
        if (row := connection.execute(known).scalar_one_or_none()) is not None:
            return int(row)
    key = connection.execute(insert(schema.trainings).values(**_training_row(training))).inserted_primary_key
    assert key is not None
    return int(key[0])


def _trial_row(result: TrialResult, training: int | None) -> dict[str, Any]:
    latency = result.latency
    untrained = {"error": result.error, "seconds": result.seconds, "environment": dict(result.environment)}
    return {
        "number": result.number,
        "state": str(result.state),
        "origin": result.origin,
        "key": result.architecture.key,
        "space": result.architecture.space,
        "choices": result.architecture.labels(),
        "seed": result.seed,
        "epochs": result.epochs,
        "start": result.start,
        "macs": result.macs,
        "params": result.params,
        "workload": None if result.workload is None else result.workload.to_json(),
        "training": training,
        "latency_p50_ms": None if latency is None else latency.p50_ms,
        "latency_p95_ms": None if latency is None else latency.p95_ms,
        "latency": None if latency is None else latency.to_json(),
        "timing": None if result.timing is None else result.timing.to_json(),
        "attempts": result.attempts,
        "finished_at": time.time(),
        **(untrained if training is None else {}),
    }


def _training_row(training: Training) -> dict[str, Any]:
    return {
        "key": training.architecture.key,
        "space": training.architecture.space,
        "choices": training.architecture.labels(),
        "figures": dict(training.figures) or None,
        "curve": [asdict(point) for point in training.curve],
        "failure": None if training.failure is None else str(training.failure),
        "environment": dict(training.environment),
        "finished_at": time.time(),
        **{name: getattr(training, name) for name in _SAME},
    }


def _training(row: Row[Any]) -> Training:
    return Training(
        Architecture.from_json({"space": row.space, "choices": row.choices}),
        figures=row.figures or {},
        curve=tuple(EpochPoint(**point) for point in row.curve),
        failure=None if row.failure is None else Failure(row.failure),
        environment=row.environment,
        **{name: getattr(row, name) for name in _SAME},
    )


def _result(row: Row[Any]) -> TrialResult:
    trained = row.training is not None
    return TrialResult(
        number=row.number,
        state=TrialState(row.state),
        origin=row.origin,
        architecture=Architecture.from_json({"space": row.space, "choices": row.choices}),
        seed=row.seed,
        epochs=row.epochs,
        macs=row.macs,
        params=row.params,
        start=row.start,
        score=row.score,
        loss=row.loss,
        correct=row.correct,
        images=row.images,
        latency=None if row.latency is None else Latency(**row.latency),
        seconds=(row.trained_seconds if trained else row.seconds) or 0.0,
        train_seconds=row.train_seconds or 0.0,
        images_per_second=row.images_per_second,
        curve=tuple(EpochPoint(**point) for point in row.curve or ()),
        error=row.trained_error if trained else row.error,
        environment=(row.trained_environment if trained else row.environment) or {},
        workload=None if row.workload is None else Workload(**row.workload),
        timing=None if row.timing is None else Timing(**row.timing),
        failure=None if row.failure is None else Failure(row.failure),
        attempts=row.attempts,
        figures=row.figures or {},
        tempered_loss=row.tempered_loss,
        temperature=row.temperature,
    )
