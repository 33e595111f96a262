"""A record of schema 1, made by the last version that wrote it, is read, and carried over once it is written to.

`tests/nas/session/schema_1` holds the record of a small search with its noise, trust and ablation, and what
`nas show --json` of that version said of it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from trials.errors import StoreError
from trials.record import schema
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.trial import AttentionByEpoch, TrialState

OLD = Path(__file__).parents[2] / "nas" / "session" / "schema_1"
#: Columns that later ones brought.
OF_SCHEMA_4 = ("tempered_loss", "temperature")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(OLD / FILE_NAME, tmp_path / FILE_NAME))


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()[0])


def without_checksums(connection: sqlite3.Connection) -> None:
    """As before schema 6."""
    for table in schema.metadata.tables:
        connection.execute(f"ALTER TABLE {table} DROP COLUMN checksum")


def check(store: Store) -> None:
    """What the version that made it said of its trials, and its repeats that are none of these."""
    said = json.loads((OLD / "show.json").read_text())["trials"]
    results = store.results()
    assert [(r.number, str(r.state), r.origin, r.architecture.key, r.score, r.loss, r.seed) for r in results] == [
        tuple(trial[name] for name in ("number", "state", "origin", "key", "score", "loss", "seed")) for trial in said
    ]
    assert [r.seconds for r in results] == [trial["seconds"] for trial in said]
    assert {(r.epochs, r.start) for r in results} == {(1, "scratch")}
    assert all(len(r.curve) == 1 for r in results if r.state is TrialState.COMPLETE)
    with closing(sqlite3.connect(OLD / FILE_NAME)) as connection:
        repeats = connection.execute("SELECT key, seed, epochs, accuracy, loss FROM repeats ORDER BY id").fetchall()
    beside = [(*training.look, training.score, training.loss) for training in store.trainings_beside()]
    assert beside == repeats
    assert len(beside) == 20
    assert len(store.measurements()) == 2
    assert len(store.sessions()) == 1


def test_it_is_read_and_left_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    with Store.open(path) as store:
        check(store)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.glob("*.db*")] == [FILE_NAME]


def test_it_is_carried_over_once_it_is_written_to(path: Path) -> None:
    with Store.open_for_writing(path) as store:
        check(store)
        store.put({"trust": None})
    assert version(path) == schema.SCHEMA_VERSION
    for opened in (Store.open, Store.open_for_writing):
        with opened(path) as store:
            check(store)


def test_what_ends_while_it_is_carried_over_leaves_it_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*given: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "_carry_training", end)
    with pytest.raises(KeyboardInterrupt):
        Store.open_for_writing(path)
    monkeypatch.undo()
    assert version(path) == 1
    with Store.open(path) as store:
        check(store)


def test_trials_of_an_inheriting_run_have_started_from_its_parent(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        config = json.loads(connection.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()[0])
        config["training"] |= {"regime": "inherit", "epochs": 1}
        connection.execute("UPDATE meta SET value = ? WHERE key = 'config'", (json.dumps(config),))
        connection.execute("INSERT INTO meta VALUES ('parent', ?)", (json.dumps({"digest": "00ff"}),))
    with Store.open(path) as store:
        assert {result.start for result in store.results()} == {"inherit:00ff"}
        assert {training.start for training in store.trainings_beside()} == {"inherit:00ff"}


def test_the_first_records_of_schema_1_had_neither_repeats_nor_measurements_nor_later_columns(path: Path) -> None:
    later = ("workload", "timing", "failure", "attempts", "figures")
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("repeats", "measurements"):
            connection.execute(f"DROP TABLE {table}")
        for column in later:
            connection.execute(f"ALTER TABLE trials DROP COLUMN {column}")
    for opened in (Store.open, Store.open_for_writing):
        with opened(path) as store:
            found = store.results()
            assert len(found) == 8
            assert {(r.workload, r.timing, r.failure, r.attempts) for r in found} == {(None, None, None, 1)}
            assert store.trainings_beside() == ()
            assert store.measurements() == ()


def test_of_a_record_of_schema_4_attention_is_not_known_from_epoch_to_epoch_and_may_be(path: Path) -> None:
    Store.open_for_writing(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE trainings DROP COLUMN attention")
        connection.execute("UPDATE meta SET value = '4' WHERE key = 'schema_version'")
        without_checksums(connection)
    before = path.read_bytes()
    with Store.open(path) as store:
        check(store)
        assert {r.attention for r in store.results()} == {None}
    assert path.read_bytes() == before
    moved = AttentionByEpoch((("layer1.0", "gate"),), (1.0,), (1, 3), ((0.5,), (0.75,)), ((0.1,), (0.125,)))
    with Store.open_for_writing(path) as store:
        check(store)
        store.append_training(replace(store.trainings_beside()[0], seed=98, attention=moved))
        assert store.trainings_beside()[-1].attention == moved
    assert version(path) == schema.SCHEMA_VERSION


def test_a_record_of_schema_3_has_no_loss_at_its_own_temperature_and_may_have_it(path: Path) -> None:
    Store.open_for_writing(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        for column in (*OF_SCHEMA_4, "attention"):
            connection.execute(f"ALTER TABLE trainings DROP COLUMN {column}")
        connection.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
        without_checksums(connection)
    before = path.read_bytes()
    with Store.open(path) as store:
        check(store)
        assert {(r.tempered_loss, r.temperature) for r in store.results()} == {(None, None)}
    assert path.read_bytes() == before
    with Store.open_for_writing(path) as store:
        check(store)
        known = store.trainings_beside()
        told = replace(known[0], seed=99, tempered_loss=0.5, temperature=0.8)
        store.append_training(told)
        assert store.trainings_beside() == (*known, told)
    assert version(path) == schema.SCHEMA_VERSION


def test_a_record_of_schema_2_has_no_finalists_and_may_have_them(path: Path) -> None:
    Store.open_for_writing(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX trained_once")
        for column in ("final", *OF_SCHEMA_4, "attention"):
            connection.execute(f"ALTER TABLE trainings DROP COLUMN {column}")
        connection.execute(
            "CREATE UNIQUE INDEX trained_once ON trainings (key, seed, epochs, start) WHERE score IS NOT NULL"
        )
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
        without_checksums(connection)
    before = path.read_bytes()
    with Store.open(path) as store:
        check(store)
        assert store.final_trainings() == ()
    assert path.read_bytes() == before
    with Store.open_for_writing(path) as store:
        check(store)
        known = store.trainings_beside()
        final = replace(known[0], final=True)
        store.append_training(final)
        assert store.final_trainings() == (final,)
        assert store.trainings_beside() == known
        with pytest.raises(StoreError, match="was not recorded"):
            store.append_training(final)
    assert version(path) == schema.SCHEMA_VERSION


@pytest.mark.parametrize("kind", ["1", "5"])
def test_rows_of_earlier_records_have_checksums_once_they_are_written_to(path: Path, kind: str) -> None:
    if kind == "5":
        Store.open_for_writing(path).close()
        with closing(sqlite3.connect(path)) as connection, connection:
            without_checksums(connection)
            connection.execute("UPDATE meta SET value = '5' WHERE key = 'schema_version'")
    with Store.open(path) as store:
        check(store)
    with Store.open_for_writing(path) as store:
        with Store.open(path) as reader:  # whose lease is renewed meanwhile
            check(reader)
        check(store)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in schema.metadata.tables:
            unsealed = f"SELECT count(*) FROM {table} WHERE checksum IS NULL"
            assert connection.execute(unsealed).fetchone() == (0,), table
        connection.execute("UPDATE trainings SET score = score + 1e-9 WHERE id = 3")
    with pytest.raises(StoreError, match=r"1 of its rows not as written: trainings 3\)"):
        Store.open(path)
