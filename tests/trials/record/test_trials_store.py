"""The record: what goes in comes out, whole, once, and whatever happens to the process that wrote it."""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from trials_results import LATENCY, architecture, end, line, process, result

from trials.errors import RunInUse, StoreDamaged, StoreError
from trials.record import file as record_file
from trials.record.file import FILE_NAME, is_active, journal_mode
from trials.record.schema import READABLE, SCHEMA_VERSION
from trials.record.store import Store
from trials.record.training import Training
from trials.trial import EpochPoint, Failure, FinalMeasurement, Timing, TrialJob, TrialResult, TrialState, Workload

APPEND_FOR_EVER = """
from pathlib import Path
from trials.record.store import Store
from trials_results import result
with Store.open_for_writing(Path(sys.argv[1])) as store:
    number = len(store.results())
    while True:
        store.append(result(number))
        print(number, flush=True)
        number += 1
"""
HOLD = """
from pathlib import Path
from trials.record.store import Store
with Store.open_for_writing(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a record that is yet to be, in a folder whose name is not a URL."""
    folder = tmp_path / "100% sure? #1"
    folder.mkdir()
    return folder / FILE_NAME


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.create(path, {"space": {"name": "resnet8"}, "nothing": None}) as store:
        yield store


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# ---- what goes in comes out


@pytest.mark.parametrize(
    "recorded",
    [
        result(0),
        result(1, seed=2**62, score=0.1 + 0.2, loss=1e-300, macs=2**53 + 1),
        result(2, TrialState.FAILED, error="ValueError: 'Größe' \"quoted\" </script> \x1b[0m 日本"),
        result(6, TrialState.FAILED, failure=Failure.OUT_OF_MEMORY, attempts=2, curve=(EpochPoint(1, math.inf, 5.0),)),
        result(3, TrialState.GATED, score=None),
        result(4, TrialState.STOPPED, latency=None, error="interrupted with the search"),
        result(5, environment={"device": "x", "nested": {"list": [1, 2.5, None, "ü"]}}, error=None),
    ],
    ids=lambda recorded: str(recorded.state),
)
def test_what_is_appended_is_read(store: Store, path: Path, recorded: TrialResult) -> None:
    store.append(recorded)
    assert store.results() == (recorded,)
    assert store.results()[0].architecture.key == recorded.architecture.key
    store.close()
    with Store.open(path) as again:
        assert again.results() == (recorded,)


def test_results_come_by_number(store: Store) -> None:
    for number in (3, 0, 2):
        store.append(result(number))
    assert [recorded.number for recorded in store.results()] == [0, 2, 3]


def test_the_description_of_a_run(store: Store, path: Path) -> None:
    assert store.get("space") == {"name": "resnet8"}
    assert store.get("nothing") is None
    assert store.get("never put") is None
    store.put({"space": {"name": "resnet14"}, "baseline": [1, 2]})
    with Store.open(path) as reader:
        assert reader.get("space") == {"name": "resnet14"}
        assert reader.get("baseline") == [1, 2]
        assert reader.get("schema_version") == SCHEMA_VERSION


def test_sessions(store: Store, path: Path) -> None:
    before = time.time()
    killed = store.begin_session({"engine": "local"})
    ended = store.begin_session({"engine": "ray", "workers": 2})
    store.end_session(ended, "finished")
    first, second = store.sessions()
    assert (first.id, first.ended_at, first.outcome, first.details) == (killed, None, None, {"engine": "local"})
    assert (second.id, second.outcome, second.details) == (ended, "finished", {"engine": "ray", "workers": 2})
    assert second.ended_at is not None
    assert before <= first.started_at <= second.started_at <= second.ended_at <= time.time()


def test_a_thousand_trials_are_read(store: Store) -> None:
    for number in range(1000):
        store.append(result(number))
    assert store.results() == tuple(result(number) for number in range(1000))


# ---- once


def test_a_number_is_recorded_once(store: Store) -> None:
    store.append(result(0))
    for state in TrialState:
        with pytest.raises(StoreError, match="trial 0 is in the record already"):
            store.append(result(0, state, architecture=architecture(9)))
    assert store.results() == (result(0),)


@pytest.mark.parametrize("final", [TrialState.COMPLETE, TrialState.FAILED, TrialState.GATED])
def test_only_what_was_stopped_is_recorded_anew(store: Store, final: TrialState) -> None:
    store.append(result(0, TrialState.STOPPED, score=None))
    store.append(result(0, TrialState.STOPPED, seconds=9.0))
    store.append(result(0, final))
    assert store.results() == (result(0, final),)
    with pytest.raises(StoreError, match="in the record already"):
        store.append(result(0, TrialState.STOPPED))
    assert store.results() == (result(0, final),)


def test_what_earlier_versions_recorded_as_failed_for_a_lost_worker_is_read_as_stopped(store: Store) -> None:
    store.append(result(0, TrialState.FAILED, score=None, failure=Failure.WORKER_LOST, error="the worker died: gone"))
    (lost,) = store.results()
    assert (lost.state, lost.failure, lost.error) == (TrialState.STOPPED, None, "the worker died: gone")
    store.append(result(0))
    assert store.results() == (result(0),)
    assert store.trainings_beside() == ()
    assert len(store.occupied()) == 1


def test_an_architecture_is_completed_once(store: Store) -> None:
    store.append(result(0))
    store.append(result(1, TrialState.STOPPED, architecture=architecture(0)))
    for number in (1, 2):
        with pytest.raises(StoreError, match=f"trial {number} was not recorded"):
            store.append(result(number, architecture=architecture(0)))
    store.append(result(3, TrialState.FAILED, architecture=architecture(0)))
    assert [recorded.state for recorded in store.results()] == [
        TrialState.COMPLETE, TrialState.STOPPED, TrialState.FAILED,
    ]  # fmt: skip


def test_a_reader_writes_nothing(store: Store, path: Path) -> None:
    with Store.open(path) as reader, pytest.raises(StoreError):
        reader.append(result(0))
    assert store.results() == ()


# ---- one writer, many readers


def test_a_record_is_not_made_twice(path: Path) -> None:
    Store.create(path, {"a": 1}).close()
    with pytest.raises(StoreError, match="exists already") as error:
        Store.create(path, {"a": 2})
    assert error.value is not None  # it holds the frame, and must not hold the lock with it
    with Store.open_for_writing(path) as store:
        assert store.get("a") == 1


def test_there_is_one_writer(path: Path) -> None:
    Store.create(path, {}).close()
    holder = process(HOLD, path)
    try:
        assert line(holder) == "open"
        assert is_active(path.parent)
        for attempt in (Store.open_for_writing, lambda path: Store.create(path, {})):
            with pytest.raises(RunInUse, match=f"being searched by process {holder.pid} on "):
                attempt(path)
        with Store.open(path) as reader:
            assert reader.results() == ()
    finally:
        end(holder)
    assert not is_active(path.parent)
    with Store.open_for_writing(path) as store:
        store.append(result(0))


def test_nobody_searches_in_an_empty_folder(tmp_path: Path) -> None:
    assert not is_active(tmp_path)
    assert not is_active(tmp_path / "nowhere")


def test_a_record_is_read_while_it_is_written(path: Path) -> None:
    Store.create(path, {}).close()
    writer = process(APPEND_FOR_EVER, path)
    try:
        seen = 0
        while seen < 30:
            acknowledged = int(line(writer))
            with Store.open(path) as reader:
                read = reader.results()
            assert [recorded.number for recorded in read] == list(range(len(read)))
            assert len(read) > acknowledged
            assert len(read) >= seen
            seen = len(read)
    finally:
        end(writer)


def test_the_write_ahead_log_is_on(store: Store, path: Path) -> None:
    store.append(result(0))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


# ---- kill -9


def test_a_kill_loses_nothing_that_was_acknowledged(path: Path) -> None:
    Store.create(path, {}).close()
    for appends in (1, 3, 20):
        writer = process(APPEND_FOR_EVER, path)
        acknowledged = [int(line(writer)) for _ in range(appends)]
        writer.kill()
        rest, _ = writer.communicate()
        acknowledged += [int(number) for number in rest.split("\n")[:-1]]
        with Store.open(path) as store:
            read = store.results()
        assert {*acknowledged} <= {recorded.number for recorded in read}
        assert read == tuple(result(number) for number in range(len(read)))


def test_a_kill_in_mid_transaction_without_the_log_is_rolled_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system: what the killed writer left half written lies in a rollback journal."""
    monkeypatch.setattr(record_file, "network_file_system", lambda path: "nfs4")
    assert journal_mode(path) == "DELETE"
    with Store.create(path, {}) as store:
        store.append(result(0))
    code = """
import os, sqlite3
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size=2")  # so that unfinished pages reach the file
connection.execute("CREATE TABLE filler (x)")
connection.execute("BEGIN")
for table in ("trials", "meta", "sessions"):
    connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 500,)] * 3000)
    connection.execute(f"DELETE FROM {table}")
os.kill(os.getpid(), 9)
"""
    process(code, path).communicate()
    assert path.with_name(f"{FILE_NAME}-journal").exists()
    with Store.open(path) as store:
        assert store.results() == (result(0),)
    with Store.open_for_writing(path) as store:
        store.append(result(1))


def test_a_kill_in_mid_creation_leaves_no_record(path: Path) -> None:
    for name in (f"{FILE_NAME}.new", f"{FILE_NAME}.{os.uname().nodename}-99999999.new"):
        path.with_name(name).write_bytes(b"half a record")
    with pytest.raises(StoreError, match="holds no run"):
        Store.open(path)
    with Store.create(path, {}) as store:
        store.append(result(0))
    assert {file.name for file in path.parent.iterdir()} == {FILE_NAME, ".lock"}


# ---- damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"garbage" * 5000,
    "half": lambda whole: whole[: len(whole) // 2],
    "header only": lambda whole: whole[:100],
    "last page lost": lambda whole: whole[:-4096],
    "middle overwritten": lambda whole: whole[:8192] + b"\xff" * 8192 + whole[16384:],
    "end overwritten": lambda whole: whole[:-8192] + b"\xff" * 8192,
    "another database": lambda whole: whole.replace(b"meta", b"beta"),
}


@pytest.mark.parametrize("opening", [Store.open, Store.open_for_writing], ids=["open", "open_for_writing"])
@pytest.mark.parametrize("log_left", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_left_untouched(
    path: Path, damage: str, log_left: bool, opening: Callable[[Path], Store]
) -> None:
    with Store.create(path, {}) as store:
        for number in range(30):
            store.append(result(number))
    if log_left:
        path.with_name(f"{FILE_NAME}-wal").write_bytes(b"")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    before = contents(path.parent)
    with pytest.raises(StoreDamaged, match=r"is damaged .* left untouched") as error:
        opening(path)
    assert error.value.exit_code == 5
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(path.parent).items() >= before.items()
    if not log_left:
        assert contents(path.parent) == before


@pytest.mark.parametrize("opening", [Store.open, Store.open_for_writing])
def test_no_record_at_all(path: Path, opening: Callable[[Path], Store]) -> None:
    with pytest.raises(StoreError, match="holds no run") as error:
        opening(path)
    assert not isinstance(error.value, StoreDamaged)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("99", rf"by a newer fusion-nas \(schema version 99, this one reads up to {SCHEMA_VERSION}\): update it"),
        ("0", f"has schema version None, this fusion-nas reads {', '.join(map(str, READABLE))}"),
    ],
)
def test_a_record_of_another_schema(path: Path, version: str, said: str) -> None:
    Store.create(path, {}).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=said) as error:
        Store.open(path)
    assert not isinstance(error.value, StoreDamaged)


def test_a_healthy_record_is_opened_without_a_trace(path: Path) -> None:
    with Store.create(path, {}) as store:
        store.append(result(0))
    before = contents(path.parent)
    with Store.open(path) as reader:
        assert reader.results() == (result(0),)
    assert contents(path.parent) == before


# ---- results themselves


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["score", "loss", "seconds", "train_seconds", "images_per_second"])
def test_a_metric_is_finite(metric: str, bad: float) -> None:
    with pytest.raises(ValueError, match=f"trial 7: {metric} is {bad}"):
        result(7, **{metric: bad})


def test_a_complete_trial_has_a_score() -> None:
    with pytest.raises(ValueError, match="trial 7 is complete without a score"):
        result(7, score=None)


def test_the_result_of_a_job_is_about_the_job() -> None:
    job = TrialJob(4, "control", architecture(4), 17, 6, 123, 45, start="inherit:0123")
    failed = TrialResult.of(job, TrialState.FAILED, error="E: it did", latency=LATENCY)
    assert (failed.number, failed.origin, failed.architecture, failed.seed) == (4, "control", architecture(4), 17)
    assert (failed.epochs, failed.start) == (6, "inherit:0123")
    assert (failed.macs, failed.params, failed.error, failed.latency) == (123, 45, "E: it did", LATENCY)


def test_states_are_never_renamed() -> None:
    assert [str(state) for state in TrialState][:4] == ["complete", "failed", "gated", "stopped"]


def test_the_workload_is_recorded(tmp_path: Path) -> None:
    workload = Workload(elementwise_ops=3, bytes_moved=4, training_bytes=None, inference_bytes=6)
    with Store.create(tmp_path / FILE_NAME, {}) as store:
        store.append(dataclasses.replace(result(0), workload=workload))
        store.append(result(1))
        assert [r.workload for r in store.results()] == [workload, None]


def trained(seed: int = 1, **changes: Any) -> Training:
    fields: dict[str, Any] = {"score": 0.5, "loss": 1.25, "train_seconds": 2.5, "curve": (EpochPoint(1, 1.9, 800.0),)}
    return Training(architecture(0), seed, 3, **fields | changes)


def test_trainings_beside_the_trials_are_read_as_they_were_written(path: Path) -> None:
    failed = Training(architecture(1), 2**63 - 1, 1, error="MemoryError", environment={"device": "cpu"})
    with Store.create(path, {}) as store:
        assert store.trainings_beside() == ()
        for training in (trained(), trained(seed=2, correct=5, images=10, figures={"ap": 0.5}), failed):
            store.append_training(training)
        with pytest.raises(StoreError, match="was not recorded"):
            store.append_training(trained(score=0.6))
        store.append_training(trained(start="inherit:0123"))
    with Store.open(path) as store:
        assert store.trainings_beside() == (
            trained(), trained(seed=2, correct=5, images=10, figures={"ap": 0.5}), failed, trained(start="inherit:0123")
        )  # fmt: skip


def test_a_trial_and_what_is_trained_beside_it_are_rows_of_one_table(path: Path) -> None:
    with Store.create(path, {}) as store:
        store.append_training(Training.of(result(0)))
        store.append_training(trained(seed=5))
        store.append(result(0))
        store.append(result(1))
        store.append(result(2, TrialState.FAILED))
        store.append(result(3, TrialState.GATED, latency=None))
        with pytest.raises(StoreError, match="was not recorded"):
            store.append_training(Training.of(result(1)))
        assert store.trainings_beside() == (trained(seed=5),), "trial 0 has the training that was there"
        assert store.results() == tuple(
            result(number, state, latency=None) if state is TrialState.GATED else result(number, state)
            for number, state in enumerate(
                (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAILED, TrialState.GATED)
            )
        )
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM trainings").fetchone() == (4,)


def test_a_trial_is_recorded_with_its_training_or_not_at_all(path: Path) -> None:
    with Store.create(path, {}) as store:
        store.append(result(0))
        with pytest.raises(StoreError, match="trial 0"):
            store.append(result(0, architecture=architecture(5)))
        assert len(store.results()) == 1
        assert store.trainings_beside() == ()


def test_timing_is_recorded_and_completed(tmp_path: Path) -> None:
    timing = Timing(build_s=0.1, train_s=2.0, proposal_s=0.01)
    with Store.create(tmp_path / FILE_NAME, {}) as store:
        store.append(dataclasses.replace(result(0), timing=timing))
        assert store.results()[0].timing == timing
        store.put_timing(0, dataclasses.replace(timing, record_s=0.02))
        (found,) = store.results()
    assert found.timing is not None
    assert found.timing.fixed_s == pytest.approx(0.13)
    assert found.timing.worker_s == pytest.approx(2.1)


def test_only_a_failed_trial_has_a_failure() -> None:
    with pytest.raises(ValueError, match="trial 0 is complete with a failure, timed_out"):
        result(0, failure=Failure.TIMED_OUT)


def test_every_row_that_is_written_has_its_checksum(path: Path) -> None:
    training, at_last = Training.of(result(9)), dataclasses.replace(Training.of(result(9)), final=True)
    with Store.create(path, {"space": {"name": "resnet8"}}) as store:
        store.put({"baseline": [1, 2]})
        store.append(result(0))
        store.put_timing(0, Timing())
        store.append_training(training)
        store.append_training(at_last)
        store.append_measurement(FinalMeasurement(0, "here", LATENCY, {}))
        store.end_session(store.begin_session({"engine": "local"}), "complete")
    with closing(sqlite3.connect(path)) as connection:
        for table in ("meta", "trials", "trainings", "measurements", "sessions"):
            rows, without = connection.execute(f"SELECT count(*), sum(checksum IS NULL) FROM {table}").fetchone()
            assert rows > 0, table
            assert without == 0, table


def test_recording_a_trial_reads_no_table_whole(store: Store) -> None:
    store.append(result(0))
    asked: list[tuple[str, Any]] = []
    event.listen(store._engine, "before_cursor_execute", lambda c, cursor, text, given, *_: asked.append((text, given)))
    store.append(result(1))
    store.put_timing(1, Timing())
    steps = []
    with closing(sqlite3.connect(store.path)) as connection:
        for text, given in asked:
            if text.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                steps += [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]
    assert any("SEARCH trainings" in step for step in steps)
    assert not [step for step in steps if step.startswith(("SCAN trials", "SCAN trainings"))]


def test_who_writes_reads_all_of_it_once_from_one_event_to_the_next(store: Store) -> None:
    store.append(result(0))
    asked: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda c, cursor, text, *_: asked.append(text))
    first = store.results(), store.trained_order(), store.moments()
    store.put({"plan": 1})
    reading = [text for text in asked if "FROM trials" in text or "FROM trainings" in text]
    assert (store.results(), store.trained_order(), store.moments()) == first
    assert [text for text in asked if "FROM trials" in text or "FROM trainings" in text] == reading
    store.append(result(1))
    store.append_training(trained(seed=5))
    with Store.open(store.path) as reader:
        read = reader.results(), reader.trained_order(), reader.trainings_beside()
    assert (store.results(), store.trained_order(), store.trainings_beside()) == read
    assert [len(rows) for rows in read] == [2, 3, 1]
