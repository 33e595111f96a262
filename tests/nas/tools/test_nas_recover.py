"""`nas doctor RUN` and `nas recover`: what is wrong with a run is named, and what is left of it goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from programs import nas_program

import nas
from nas.tools.recover import recover
from nas.tools.run_doctor import Health, examine_run
from reports import RunView
from trials.errors import StoreDamaged, StoreError
from trials.record.checksums import seal
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.trial import TrialState


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that starts from a parent and ends with a finalist, so that there are files of every kind."""
    folder = tmp_path_factory.mktemp("finished")
    nas.search(
        space="resnet8", train_images=256, val_fraction=0.05, trials=3, engine="local", export="none",
        finalists=1, finalist_seeds=2, finalist_max_seeds=2, out=str(folder / "run"),
        latency={"passes": 30, "warmup": 3, "attempts": 1},
        training={"epochs": 1, "parent_epochs": 1, "batch_size": 64, "precision": "float32"},
    )  # fmt: skip
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def parts(run: Path) -> dict[str, tuple[Health, str]]:
    return {part.name: (part.health, part.found) for part in examine_run(run)}


def change(run: Path, *statements: str) -> None:
    """What a search itself would not write, with the checksums of its rows as if it had."""
    with closing(sqlite3.connect(run / FILE_NAME)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
        for table in ("meta", "sessions", "trials", "trainings"):
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                seal(connection, table)


def flip(run: Path, table: str, column: str, key: str) -> None:
    """One bit of a value, past what a search wrote: still a value that it could have written."""
    with closing(sqlite3.connect(run / FILE_NAME)) as connection, connection:
        own = "key" if table == "meta" else "number" if table == "trials" else "id"
        text = connection.execute(f"SELECT {column} FROM {table} WHERE {own} = ?", (key,)).fetchone()[0]
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {own} = ?", (flipped(text), key))


def flipped(value: Any) -> Any:
    if isinstance(value, float):
        return struct.unpack("<d", struct.pack("<Q", struct.unpack("<Q", struct.pack("<d", value))[0] ^ 1))[0]
    if isinstance(value, int):
        return value ^ 1
    at = next(i for i, letter in enumerate(value) if letter.isdigit())
    return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_of_a_whole_run_nothing_is_found_and_nothing_is_written(run: Path) -> None:
    before = contents(run)
    found = parts(run)
    assert set(found) == {"record", "schema", "lease", "sessions", "trials", "hashes", "weights", "parent", "finals"}
    assert {health for health, _ in found.values()} == {Health.OK}, found
    assert contents(run) == before
    done = nas_program("doctor", run)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(found)
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())


def truncated(path: Path, share: float = 0.5) -> None:
    os.truncate(path, int(path.stat().st_size * share))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "record": (lambda run: truncated(run / FILE_NAME), "is damaged"),
    "trials": (
        lambda run: change(run, "DELETE FROM trainings WHERE id = 2"),
        "1 trial .* trainings that are not there",
    ),
    "rows": (lambda run: change(run, "UPDATE trainings SET curve = '{' WHERE id = 1"), "not JSON"),
    "hashes": (lambda run: change(run, "UPDATE trials SET key = 'ffff' WHERE number = 1"), r"1 row \(trials 1\)"),
    "weights": (lambda run: truncated(next((run / "weights").glob("trial-*"))), r"1 file \(trial-0000\d\.safetensors"),
    "parent": (lambda run: truncated(run / "parent.safetensors", 0.9), "has digest .*, recorded is"),
    "finals": (lambda run: truncated(next((run / "finals").iterdir())), "1 file"),
}


@pytest.mark.parametrize("part", DAMAGES)
def test_damage_is_found_where_it_is(run: Path, part: str) -> None:
    damage, said = DAMAGES[part]
    damage(run)
    found = parts(run)
    assert {name for name, (health, _) in found.items() if health is Health.DAMAGED} == {part}, found
    assert re.search(said, found[part][1]), found[part]


FLIPS = [
    ("trainings", "score", "1"), ("trainings", "seed", "2"), ("trainings", "curve", "1"), ("trials", "macs", "1"),
    ("meta", "value", "config"), ("meta", "value", "baseline"), ("sessions", "details", "1"),
    ("sessions", "started_at", "1"), ("measurements", "latency", "1"), ("trials", "checksum", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column", "key"), FLIPS)
def test_one_bit_of_a_value_that_could_have_been_written_is_seen(run: Path, table: str, column: str, key: str) -> None:
    flip(run, table, column, key)
    with pytest.raises(
        StoreDamaged, match=rf"is damaged \(1 of its rows not as written: {table} {key}\); .*nas recover"
    ):
        RunView.load(run)
    assert parts(run)["record"][0] is Health.DAMAGED


@pytest.mark.parametrize("command", ["status", "show", "search"])
def test_a_flipped_bit_ends_every_command_with_5_in_one_line(run: Path, command: str) -> None:
    flip(run, "trainings", "score", "1")
    done = nas_program(command, *(["--out", run] if command == "search" else [run]))
    assert (done.returncode, done.stdout) == (5, "")
    assert re.fullmatch(r"nas: .* is damaged \(1 of its rows not as written: trainings 1\).*\n", done.stderr)


def test_rows_that_are_not_as_written_are_left_out_and_a_description_is_named(run: Path, tmp_path: Path) -> None:
    flip(run, "trainings", "score", "2")
    flip(run, "meta", "value", "config")
    found = recover(run, tmp_path / "new")
    assert found.saved.missing["trainings"] == [2]
    assert len(found.saved.untrained) <= 1
    assert found.saved.doubtful == ["config"]
    assert any("changed of the run's description: config" in line for line in found.story())
    assert parts(tmp_path / "new")["record"][0] is Health.OK


def test_the_command_ends_with_5_and_says_the_mend(run: Path) -> None:
    truncated(run / FILE_NAME)
    done = nas_program("doctor", run)
    assert done.returncode == 5
    assert done.stdout.startswith("DAMAGED record ")
    assert f"mend: nas recover {run} --out NEW" in done.stdout
    as_json = nas_program("doctor", run, "--json")
    assert as_json.returncode == 5
    assert json.loads(as_json.stdout)["parts"][0]["health"] == "DAMAGED"


def test_what_is_worth_knowing_and_no_damage_is_a_note(run: Path) -> None:
    change(run, "UPDATE sessions SET ended_at = NULL, outcome = NULL")
    weights = sorted((run / "weights").glob("trial-*"))
    weights[0].rename(run / "weights" / "trial-00077.safetensors")
    (run / "parent.safetensors").unlink()
    found = parts(run)
    assert found["sessions"] == (Health.NOTE, "1 recorded, 1 session (1) without an end: killed, or lost")
    assert found["weights"][0] is Health.NOTE
    assert "1 file (trial-00077.safetensors) of nothing recorded" in found["weights"][1]
    assert found["parent"][0] is Health.NOTE
    assert not {health for health, _ in found.values()} & {Health.DAMAGED}
    assert nas_program("doctor", run).returncode == 0


def test_no_run_and_a_newer_one_are_no_damage(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        parts(tmp_path / "nowhere")
    change(run, "UPDATE meta SET value = '99' WHERE key = 'schema_version'", "DROP TABLE trials")
    with pytest.raises(StoreError, match="newer fusion-nas") as caught:
        parts(run)
    assert not isinstance(caught.value, StoreDamaged)


def test_a_recovered_run_goes_on(run: Path, tmp_path: Path) -> None:
    content = (run / FILE_NAME).read_bytes()
    (run / FILE_NAME).write_bytes(bytes(100) + content[100:])
    truncated(next((run / "weights").glob("trial-*")))
    before = contents(run)
    new = tmp_path / "new"
    done = nas_program("recover", run, "--out", new)
    assert done.returncode == 0, done.stderr
    assert contents(run) == before
    assert f"saved   {'trials':<13} 3\n" in done.stdout
    assert "lost    weights/trial-0000" in done.stdout
    assert f"nas search --resume {new}" in done.stdout
    view = RunView.load(new)
    assert view.count(TrialState.COMPLETE) == 3
    assert {health for health, _ in parts(new).values()} <= {Health.OK, Health.NOTE}
    again = nas.search(resume=new)
    assert len(again.trials) == 3, "it is as complete as it was"


def test_a_trial_whose_training_was_lost_is_trained_again(run: Path, tmp_path: Path) -> None:
    before = {trial.number: trial.score for trial in RunView.load(run).results}
    change(run, "DELETE FROM trainings WHERE id = (SELECT training FROM trials WHERE number = 2)")
    found = recover(run, tmp_path / "new")
    assert (found.saved.untrained, found.unreadable) == ([2], None)
    assert [trial.state for trial in RunView.load(tmp_path / "new").results][2] is TrialState.STOPPED
    nas.search(resume=tmp_path / "new")
    assert {trial.number: trial.score for trial in RunView.load(tmp_path / "new").results} == before


def test_rows_without_the_description_of_the_run_are_saved_and_said_to_be_no_run(run: Path, tmp_path: Path) -> None:
    change(run, "DELETE FROM meta WHERE key IN ('config', 'description')")
    done = nas_program("recover", run, "--out", tmp_path / "new")
    assert done.returncode == 5
    assert "lost    of the run's description: config, description" in done.stdout
    assert "is no run that can be read" in done.stderr
    with Store.open(tmp_path / "new" / FILE_NAME) as store:
        assert len(store.results()) == 3


def test_recovering_never_writes_into_what_is_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is there already"):
        recover(run, run)
    (run / FILE_NAME).write_bytes(b"garbage" * 3000)
    with pytest.raises(StoreDamaged, match="nothing that can be read"):
        recover(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_both_take_json(run: Path, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(nas_program("recover", run, "--out", tmp_path / "new", "--json").stdout)
    assert (found["rows"]["trials"], found["unreadable"], found["damaged_files"]) == (3, None, [])
