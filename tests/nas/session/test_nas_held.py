"""What a session writes beside its record: nothing any more once another process writes there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from nas.session import weights
from reports.view import RunView
from search_spaces import InputSpec, SearchSpace
from trials.errors import LeaseLost
from trials.record.effort import BEAT_NAME, Beat, Effort, take_over
from trials.record.file import FILE_NAME
from trials.record.lease import Lease
from trials.record.store import Store
from trials.record.training import Training
from trials.record.weights import training_weights_path, weights_path

TRAINING = Training(SearchSpace.named("resnet8", InputSpec(1, 28, 10)).baseline, 0, 1, score=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / FILE_NAME, {}) as store:
        yield store


def taken_over(store: Store) -> None:
    """As by a process of another machine, while this one was paused."""
    with closing(sqlite3.connect(store.path)) as connection, connection:
        Lease.mine().write(connection)


def test_weights_are_left_to_whoever_took_over(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = weights.Weights(tmp_path, store.check_held)
    kept.write(0, b"mine")
    kept.write_of(TRAINING, b"mine")
    monkeypatch.setattr(weights, "MAX_WEIGHT_BYTES", 1)
    taken_over(store)
    weights_path(tmp_path, 0).write_bytes(b"theirs")
    view = RunView(tmp_path, {}, {"objectives": ["accuracy", "macs"]}, None, (), (), ())
    for write in (
        lambda: kept.write(0, b"mine, late"),
        lambda: kept.write_of(TRAINING, b"mine, late"),
        lambda: kept.adopt(TRAINING, 0),
        lambda: kept.prune(view),
    ):
        with pytest.raises(LeaseLost, match="it writes nothing more; what it recorded before is kept"):
            write()
    assert weights_path(tmp_path, 0).read_bytes() == b"theirs"
    assert training_weights_path(tmp_path, TRAINING).read_bytes() == b"mine"


def test_what_a_study_records_later_is_no_time_of_a_session_that_was_killed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    session = store.begin_session({"devices": 2.0})
    clock[0] += 100
    store.append_training(replace(TRAINING, seconds=90.0))
    clock[0] += 500
    (tmp_path / BEAT_NAME).write_text(f"[{session}, {clock[0]}, 7.0]")  # and then it was killed
    killed = Effort.of(tmp_path, store)
    assert killed == Effort(600.0, 2 * 90.0 + 7.0)
    clock[0] += 26 * 3600
    store.append_training(replace(TRAINING, seed=1, seconds=50.0))  # by nas noise, say
    assert Effort.of(tmp_path, store) == killed
    take_over(tmp_path, store)
    assert Effort.of(tmp_path, store) == killed


def test_no_sign_of_life_is_left_after_another_took_over(store: Store, tmp_path: Path) -> None:
    with Beat(tmp_path, 1, lambda: 0.0, store.check_held):
        assert (tmp_path / BEAT_NAME).exists()
        taken_over(store)
        (tmp_path / BEAT_NAME).write_text("[2, 0.0, 0.0]")
    assert (tmp_path / BEAT_NAME).read_text() == "[2, 0.0, 0.0]"
