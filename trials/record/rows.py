"""Rows of the record's tables from trials and trainings, and these from rows."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Table, select
from sqlalchemy.dialects.sqlite import insert

from search_spaces.architecture import Architecture
from trials.record import checksums, schema
from trials.record.engine import plain
from trials.record.training import Training
from trials.trial import AttentionByEpoch, EpochPoint, Failure, Latency, Timing, TrialResult, TrialState, Workload

#: Joins a trial to its training.
BELONGS = schema.trials.c.training == schema.trainings.c.id
#: What a trial has from its training, beside what it is itself; under names of its own where both have one.
OF_TRAINING = [
    *(schema.trainings.c[name] for name in ("score", "loss", "correct", "images", "figures", "train_seconds")),
    *(schema.trainings.c[name] for name in ("tempered_loss", "temperature")),
    *(schema.trainings.c[name] for name in ("images_per_second", "curve", "attention", "failure")),
    *(schema.trainings.c[name].label(f"trained_{name}") for name in ("seconds", "error", "environment")),
]
#: Of a training: it was lost with its worker, and is none.
LOST = schema.trainings.c.failure == str(Failure.WORKER_LOST)
NEW = [column.key for column in schema.trials.columns if column.key != "number"]
#: Of a training and of a row of it, by the same name.
_SAME = (
    "seed", "epochs", "start", "final", "score", "loss", "correct", "images", "seconds", "train_seconds",
    "images_per_second", "error", "tempered_loss", "temperature",
)  # fmt: skip


def recorded_training(connection: Connection, result: TrialResult) -> int:
    """The row of a trial's training: written now, unless it was trained for something else before."""
    training, columns = Training.of(result), schema.trainings.c
    if training.error is None:
        same = zip((columns.key, columns.seed, columns.epochs, columns.start), training.identity, strict=True)
        looks = columns.score.is_not(None), columns.final.is_(False)
        known = select(columns.id).where(*looks, *(column == value for column, value in same))
        if (row := connection.execute(known).scalar_one_or_none()) is not None:
            return int(row)
    key = connection.execute(insert(schema.trainings).values(**training_row(training))).inserted_primary_key
    assert key is not None
    sealed(connection, schema.trainings, key[0])
    return int(key[0])


def sealed(connection: Connection, table: Table, key: object) -> None:
    """A row that has just been written, given its checksum."""
    checksums.seal(plain(connection), table.name, key)


def trial_row(result: TrialResult, training: int | None) -> dict[str, Any]:
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


def training_row(training: Training) -> dict[str, Any]:
    return {
        "key": training.architecture.key,
        "space": training.architecture.space,
        "choices": training.architecture.labels(),
        "figures": dict(training.figures) or None,
        "curve": [asdict(point) for point in training.curve],
        "attention": None if training.attention is None else training.attention.to_json(),
        "failure": None if training.failure is None else str(training.failure),
        "environment": dict(training.environment),
        "finished_at": time.time(),
        **{name: getattr(training, name) for name in _SAME},
    }


def training_of(row: Row[Any]) -> Training:
    return Training(
        Architecture.from_json({"space": row.space, "choices": row.choices}),
        figures=row.figures or {},
        curve=tuple(EpochPoint(**point) for point in row.curve),
        attention=_attention(row),
        failure=None if row.failure is None else Failure(row.failure),
        environment=row.environment,
        **{name: getattr(row, name) for name in _SAME},
    )


def _attention(row: Row[Any]) -> AttentionByEpoch | None:
    return None if row.attention is None else AttentionByEpoch.from_json(row.attention)


def result_of(row: Row[Any]) -> TrialResult:
    trained = row.training is not None
    failure = None if row.failure is None else Failure(row.failure)
    lost = failure is Failure.WORKER_LOST
    return TrialResult(
        number=row.number,
        state=TrialState.STOPPED if lost else TrialState(row.state),
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
        attention=_attention(row),
        error=row.trained_error if trained else row.error,
        environment=(row.trained_environment if trained else row.environment) or {},
        workload=None if row.workload is None else Workload(**row.workload),
        timing=None if row.timing is None else Timing(**row.timing),
        failure=None if lost else failure,
        attempts=row.attempts,
        figures=row.figures or {},
        tempered_loss=row.tempered_loss,
        temperature=row.temperature,
    )
