"""A changed byte inside a value is no damage to SQLite; what can be no search's is called so all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from reports_records import record, result

from reports import RunView
from trials.errors import StoreDamaged
from trials.record.checksums import seal
from trials.record.file import FILE_NAME


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE meta SET value = replace(value, 'accuracy', 'acc%racy') WHERE key = 'description'",
        "UPDATE meta SET value = json_set(value, '$.task', 'cl!ssification') WHERE key = 'description'",
        "UPDATE trials SET choices = replace(choices, 'se/4', 'se/$')",
        "UPDATE trials SET state = 'comp|ete'",
        "UPDATE trainings SET environment = '{'",
        "ALTER TABLE trials RENAME COLUMN timing TO tim1ng",
    ],
)
def test_a_value_that_no_search_records_is_damage(tmp_path: Path, change: str) -> None:
    path = record(tmp_path / "run", [result(0, ("add",) * 3, origin="baseline"), result(1, ("se", "add", "se"))]).path
    RunView.load(path)
    with closing(sqlite3.connect(path / FILE_NAME)) as connection, connection:
        connection.execute(change)
        for table in ("meta", "trials", "trainings"):
            seal(connection, table)  # it is seen without checksums too, as records of before have none
    with pytest.raises(StoreDamaged, match=r"study\.db is damaged .*nas recover"):
        RunView.load(path)
