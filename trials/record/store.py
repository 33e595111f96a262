"""The record of a run: one SQLite file, one writer, one transaction per event."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from sqlalchemy import Connection, Engine, Row, Select, or_, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError, IntegrityError

from trials.errors import StoreError
from trials.record import lease, schema
from trials.record.engine import carried_over, plain, reading, writing
from trials.record.faults import Damage, fault
from trials.record.file import check, journal_mode, take_lock
from trials.record.making import put_in_place, remove_unfinished_of, unfinished_path
from trials.record.rows import (
    BELONGS,
    LOST,
    NEW,
    OF_TRAINING,
    recorded_training,
    result_of,
    sealed,
    training_of,
    training_row,
    trial_row,
)
from trials.record.training import Training
from trials.trial import FinalMeasurement, Latency, Timing, TrialResult, TrialState


def _silent(line: str) -> None: ...


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
        self._held: lease.Held | None = None
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._looking = threading.local()  # the lease is renewed by a thread beside

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any], say: Callable[[str], None] = _silent) -> Store:
        """Make a new record with `meta` in it, whole or not at all; says what is otherwise here than on most disks.

        Raises:
            StoreError: there is one.
            DiskFull: there is no room for it.
        """
        lock = _locked(path, say)
        unfinished = unfinished_path(path)
        try:
            if path.exists():
                raise StoreError(f"{path} exists already")
            remove_unfinished_of(path, here=True)  # that of another machine may be being made
            mine = lease.Lease.mine()
            with cls(unfinished, writing(unfinished, "DELETE"), None)._connect() as connection:
                schema.metadata.create_all(connection)
                for key, value in {**meta, "schema_version": schema.SCHEMA_VERSION}.items():
                    connection.execute(insert(schema.meta).values(key=key, value=value))
                    sealed(connection, schema.meta, key)
                mine.write(plain(connection))
                schema.mark(connection)
            put_in_place(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            lock.close()
            raise
        return cls._writer(path, lock, say, lambda store: mine)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open for reading, also while a search is writing. An earlier schema is carried over in memory.

        Raises:
            StoreError: no such file, or of another schema version.
            StoreBusy: another process has locked it.
            StoreDamaged: truncated, not a database, or damaged. The file is not touched.
        """
        version = check(path, schema.READABLE)
        return cls(path, reading(path) if version == schema.SCHEMA_VERSION else carried_over(path, version), None)

    @classmethod
    def open_for_writing(cls, path: Path, say: Callable[[str], None] = _silent) -> Store:
        """As `open`, for the one writer; an earlier schema is carried over for good. Says what it waits for: the writer
        of another machine that may have gone. Raises RunInUse when another process holds it."""
        version = check(path, schema.READABLE)
        lock, locked = take_lock(path)
        if not locked:
            say(_no_locks(path))
        remove_unfinished_of(path)  # a second name of it, where its making was killed at the last step, or too late
        store = cls._writer(path, lock, say, lambda store: lease.take(path, store._plainly, locked, say))
        if version != schema.SCHEMA_VERSION:
            try:
                with store._writing() as connection:
                    schema.carry_over(connection, version)
            except BaseException:
                store.close()
                raise
        return store

    @classmethod
    def _writer(
        cls, path: Path, lock: IO[str], say: Callable[[str], None], take: Callable[[Store], lease.Lease]
    ) -> Store:
        store = cls(path, writing(path, journal_mode(path), say), lock)
        try:
            mine = take(store)
            with store._connect():
                pass  # from here on there is room for what lies beside a record that is written to
            store._held = lease.Held(path, mine, store._plainly)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def check_held(self) -> None:
        """Before something is written beside the record. Raises LeaseLost where another process writes here now."""
        if self._held is not None:
            with self._connect() as connection:
                self._held.check(plain(connection))

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
        with self._writing() as connection:
            for key, value in values.items():
                statement = insert(schema.meta).values(key=key, value=value)
                connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
                sealed(connection, schema.meta, key)

    def append(self, result: TrialResult) -> None:
        """Record an ended trial, and its training where it was trained and that is not recorded yet: both or none.
        Only a `stopped` trial may be recorded anew, under its number, as one may that was lost with its worker and
        recorded as failed for it, by earlier versions: it is read as stopped.

        Raises:
            StoreError: that number, or that architecture as complete, is in the record already.
        """
        with self._recording() as connection:
            try:
                # By the trial's own row: a look for every lost training would read the whole table, once an event.
                of_it = select(schema.trainings.c.id).join_from(schema.trials, schema.trainings, BELONGS)
                gone = of_it.where(schema.trials.c.number == result.number, LOST)
                lost = connection.execute(gone).scalars().all()
                training = recorded_training(connection, result) if result.trained else None
                statement = insert(schema.trials).values(**trial_row(result, training))
                replace = statement.on_conflict_do_update(
                    index_elements=["number"],
                    set_={name: statement.excluded[name] for name in NEW},
                    where=or_(schema.trials.c.state == str(TrialState.STOPPED), schema.trials.c.training.in_(lost)),
                )
                written = connection.execute(replace).rowcount
                if written:
                    sealed(connection, schema.trials, result.number)
                connection.execute(schema.trainings.delete().where(schema.trainings.c.id.in_(lost)))
            except IntegrityError as error:
                raise StoreError(f"trial {result.number} was not recorded: {error.orig}") from error
            if written == 0:
                raise StoreError(f"trial {result.number} is in the record already")

    def put_timing(self, number: int, timing: Timing) -> None:
        """Complete a recorded trial's timing by what recording it took."""
        with self._recording() as connection:
            connection.execute(
                schema.trials.update().where(schema.trials.c.number == number).values(timing=timing.to_json())
            )
            sealed(connection, schema.trials, number)

    def results(self) -> tuple[TrialResult, ...]:
        """Every recorded trial with its training, by number."""
        both = select(*schema.trials.columns, *OF_TRAINING)
        joined = both.select_from(schema.trials.outerjoin(schema.trainings, BELONGS)).order_by(schema.trials.c.number)
        return self._all("results", joined, result_of)

    def moments(self) -> dict[int, float]:
        """When each trial was recorded, in seconds since 1970, by its number."""
        columns = schema.trials.c.number, schema.trials.c.finished_at
        return dict(self._all("moments", select(*columns), tuple))

    def append_training(self, training: Training) -> None:
        """Record a training that no trial asked for. Raises StoreError when it is in the record already."""
        with self._recording() as connection:
            try:
                done = connection.execute(insert(schema.trainings).values(**training_row(training)))
                assert done.inserted_primary_key is not None
                sealed(connection, schema.trainings, done.inserted_primary_key[0])
            except IntegrityError as error:
                raise StoreError(f"a training of {training.architecture.key} was not recorded: {error.orig}") from error

    def trainings_beside(self) -> tuple[Training, ...]:
        """The trainings that belong to no trial, but for the finalists', in their order."""
        apart = select(schema.trainings).select_from(schema.trainings.outerjoin(schema.trials, BELONGS))
        looks = apart.where(schema.trials.c.number.is_(None), schema.trainings.c.final.is_(False))
        return self._all("beside", looks.order_by(schema.trainings.c.id), training_of)

    def trained_order(self) -> tuple[int | None, ...]:
        """Of every training but the finalists', in the order in which they were recorded: the number of its trial, None
        where no trial asked for it."""
        both = select(schema.trials.c.number).select_from(schema.trainings.outerjoin(schema.trials, BELONGS))
        wanted = both.where(schema.trainings.c.final.is_(False)).order_by(schema.trainings.c.id)
        return self._all("order", wanted, lambda row: row[0])

    def final_trainings(self) -> tuple[Training, ...]:
        """The finalists' trainings, in their order."""
        finals = select(schema.trainings).where(schema.trainings.c.final.is_(True))
        return self._all("finals", finals.order_by(schema.trainings.c.id), training_of)

    def occupied(self) -> tuple[tuple[float, float], ...]:
        """Of every training, whosever: when it was recorded, and for how many seconds it had held a worker."""
        columns = schema.trainings.c.finished_at, schema.trainings.c.seconds
        return self._all("occupied", select(*columns), tuple)

    def _all(self, name: str, wanted: Select[Any], of: Callable[[Row[Any]], Any]) -> tuple[Any, ...]:
        """What is `wanted` of trials and trainings, each row as `of` has it. By the one who writes it is read once from
        one event to the next: a search that goes on asks for all of it again and again before its first."""
        if (there := self._rows.get(name)) is not None:
            return there
        with self._connect() as connection:
            found = tuple(of(row) for row in connection.execute(wanted))
        if self._held is not None:
            self._rows[name] = found
        return found

    def append_measurement(self, measurement: FinalMeasurement) -> None:
        """Record a measurement of a trial's latency, beside any earlier ones."""
        values = {**asdict(measurement), "measured_at": time.time()}
        with self._writing() as connection:
            done = connection.execute(insert(schema.measurements).values(**values))
            assert done.inserted_primary_key is not None
            sealed(connection, schema.measurements, done.inserted_primary_key[0])

    def measurements(self) -> tuple[FinalMeasurement, ...]:
        """Every measurement that was taken for good, in their order."""
        columns = [schema.measurements.c[name] for name in ("number", "target", "latency", "conditions")]
        with self._connect() as connection:
            rows = connection.execute(select(*columns).order_by(schema.measurements.c.id)).all()
        return tuple(FinalMeasurement(r.number, r.target, Latency(**r.latency), r.conditions) for r in rows)

    def begin_session(self, details: Mapping[str, Any]) -> int:
        with self._writing() as connection:
            values = {"started_at": time.time(), "details": dict(details)}
            key = connection.execute(insert(schema.sessions).values(**values)).inserted_primary_key
            assert key is not None
            sealed(connection, schema.sessions, key[0])
            return int(key[0])

    def end_session(self, session: int, outcome: str) -> None:
        values = {"ended_at": time.time(), "outcome": outcome}
        with self._writing() as connection:
            connection.execute(schema.sessions.update().where(schema.sessions.c.id == session).values(**values))
            sealed(connection, schema.sessions, session)

    def sessions(self) -> tuple[Session, ...]:
        with self._connect() as connection:
            columns = [schema.sessions.c[one.name] for one in fields(Session)]
            rows = connection.execute(select(*columns).order_by(schema.sessions.c.id)).all()
        return tuple(Session(**row._mapping) for row in rows)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What this thread reads meanwhile is of one moment, whatever another process records. It may write nothing."""
        with self._connect() as connection:
            connection.exec_driver_sql("BEGIN")
            self._looking.by = connection
            try:
                yield
            finally:
                del self._looking.by

    @contextmanager
    def _recording(self) -> Iterator[Connection]:
        """A transaction that writes trials or trainings."""
        self._rows.clear()
        with self._writing() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that writes, begun by seeing that this process still is the one that may."""
        with self._connect() as connection:
            if self._held is not None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # nobody takes over from here to its end
                self._held.check(plain(connection))
            yield connection

    @contextmanager
    def _plainly(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes, as SQLite's own connection, for the lease."""
        with self._connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield plain(connection)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        if (looking := getattr(self._looking, "by", None)) is not None:
            yield looking
            return
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise fault(self.path, error.orig or error) from error
        except sqlite3.Error as error:  # of a connection that SQLAlchemy does not stand before
            raise fault(self.path, error) from error
        except json.JSONDecodeError as error:  # what is sound as a database may yet hold a changed byte
            raise fault(self.path, Damage(f"not JSON: {error}")) from error


def _locked(path: Path, say: Callable[[str], None]) -> IO[str]:
    lock, locked = take_lock(path)
    if not locked:
        say(_no_locks(path))
    return lock


def _no_locks(path: Path) -> str:
    return f"{path.parent} is on a file system without locks: its record's own lease keeps a second search away"
