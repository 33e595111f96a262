"""`nas search --from RUN`: what counts of another run, what is said of it, and that it is never a trial of this one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from programs import nas_program
from pydantic import ValidationError

import nas
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.trainings import evidence as gathering
from reports import RunView
from reports.evidence import evidence_story
from search_spaces.errors import UserError
from trials.errors import StoreDamaged
from trials.record.checksums import seal
from trials.record.file import FILE_NAME
from trials.record.store import Store

OLD = Path(__file__).parents[1] / "session" / "schema_1"
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four trials of three operators, in a second or two each."""
    out = tmp_path_factory.mktemp("other") / "runs" / "a"
    nas.search(**small(out, trials=4, operators=["add", "concat", "se"]))
    return out


def small(out: Path, **changes: Any) -> Settings:
    return {
        "space": "resnet8", "train_images": 256, "val_fraction": 0.05, "trials": 3, "engine": "local", "export": "none",
        "finalists": "none", "noise_seeds": 1, "out": str(out),
        "training": {"epochs": 1, "batch_size": 64, "precision": "float32", "regime": "scratch"},
        "latency": {"passes": 30, "warmup": 3, "attempts": 1},
    } | changes  # fmt: skip


def view_of(path: Path) -> RunView:
    return RunView.load(path).estimated()


@pytest.mark.slow
def test_trainings_of_the_same_setting_count_as_its_own(other: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in other.iterdir() if path.is_file()}
    out, kept = tmp_path / "b", tmp_path / "a"
    shutil.copytree(other, kept)
    nas.search(**small(out, seed=1, from_runs=[str(kept)]))
    assert {path.name: path.read_bytes() for path in kept.iterdir() if path.is_file()} == before, "it is never written"
    shutil.rmtree(kept)
    view = view_of(out)
    (one,) = view.evidence
    assert (one.same, len(one.trainings), one.scored) == (True, 4, 4)
    assert view.model is not None
    assert view.model.fitted.looks.trainings == 3 + 4, "the run stands alone when the other one is gone"
    assert (len(view.trials), len(view.trainings)) == (3, 3), "it is no trial, and no training of this run"
    assert {t.result.number for t in view.front} <= {0, 1, 2}
    assert evidence_story(view) == [f"From {tmp_path.name}/a: 4 of 4 trainings count, as this run's own do."]


@pytest.mark.slow
def test_a_run_of_other_images_is_a_fidelity_of_its_own_and_more_may_be_added(other: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    given = small(out, train_images=320, operators=["add", "se", "aff"], from_runs=[str(other)])
    nas.search(**given)
    (one,) = view_of(out).evidence
    scored = RunView.load(other).trainings
    with_concat = sum("concat" in t.architecture.labels().values() for t in scored)
    assert one.differs == ("images",)
    assert with_concat > 0
    assert one.left_out == {gathering.NOT_OFFERED: with_concat}
    assert len(one.trainings) == len(scored) - with_concat
    more = tmp_path / "c"
    shutil.copytree(other, more)
    with Store.open_for_writing(more / FILE_NAME) as store:
        store.begin_session({})  # which does not make it another run
    with pytest.raises(ConfigError, match="another configuration"):
        nas.search(**{**given, "from_runs": [str(other), str(more)]})
    shown = nas_program("search", "--resume", out, "--extend", "--from", other, "--from", more)
    assert shown.returncode == 0, shown.stderr
    assert f"from {more}: it is the same run as {other}, and counts once" in shown.stderr
    assert [one.run for one in RunView.load(out).evidence] == [str(other)]
    told = json.loads(nas_program("show", out, "--json").stdout)
    assert told["evidence"][0]["run"] == str(other)
    assert -1 < told["evidence"][0]["goes_along"] < 1
    assert json.loads(nas_program("status", out, "--json").stdout)["evidence"][0]["counted"] == len(one.trainings)
    name = f"{other.parent.name}/{other.name}"
    for command in ("show", "status"):
        assert f"From {name}: {len(one.trainings)} of {len(scored)} trainings count" in " ".join(
            nas_program(command, out).stdout.split()
        )
    assert f"From {name}:" in (out / "report.html").read_text()


def test_a_run_of_an_older_schema_is_read_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(OLD, old)
    before = (old / FILE_NAME).read_bytes()
    recorded = RunView.load(old)
    space = recorded.description["space"]
    out = tmp_path / "b"
    settings = small(out, trials=2, space=space["name"], operators=space["operators"], from_runs=[str(old)])
    nas.search(**settings)
    assert (old / FILE_NAME).read_bytes() == before
    (one,) = RunView.load(out).evidence
    assert len(one.trainings) == sum(t.score is not None for t in recorded.trainings)
    assert not one.same


def described(path: Path, **changes: Any) -> None:
    with Store.open_for_writing(path / FILE_NAME) as store:
        store.put({"description": store.get("description") | changes})


def damage(path: Path) -> None:
    whole = (path / FILE_NAME).read_bytes()
    (path / FILE_NAME).write_bytes(whole[: len(whole) // 2])


def of_other_points(path: Path) -> None:
    points = RunView.load(path).description["points"]
    described(path, points=[*points, points[0] | {"name": "layer9.0"}])


BAD: dict[str, tuple[Callable[[Path], object], type[UserError], str]] = {
    "another task": (
        lambda path: described(path, task="detection"), ConfigError,
        "is a run of detection, this is one of classification: give runs of one task",
    ),
    "another network": (
        of_other_points, ConfigError,
        r"searched resnet8, whose fusion points are not those of resnet8 \(layer9.0 is of one alone\)",
    ),
    "damaged": (damage, StoreDamaged, "is damaged .* or leave it out"),
    "no run": (lambda path: (path / FILE_NAME).unlink(), ConfigError, r"holds no run \(no study.db\): give the folder"),
    "no folder": (shutil.rmtree, ConfigError, r"holds no run \(no study.db\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_count_is_said_in_one_line_and_nothing_begins(what: str, other: Path, tmp_path: Path) -> None:
    place, out = tmp_path / "a", tmp_path / "b"
    shutil.copytree(other, place)
    change, kind, said = BAD[what]
    change(place)
    with pytest.raises(kind, match=f"--from: .*{said}") as found:
        nas.search(**small(out, from_runs=[str(place)]))
    assert "\n" not in str(found.value)
    assert not out.exists()


def test_none_that_fits_is_said(other: Path, tmp_path: Path) -> None:
    place = tmp_path / "a"
    shutil.copytree(other, place)
    with closing(sqlite3.connect(place / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE trials SET choices = replace(choices, '\"add\"', '\"concat\"')")
        seal(connection, "trials")
    with pytest.raises(ConfigError, match=r"none of its 4 trainings counts for resnet8 \(\d of operators"):
        nas.search(**small(tmp_path / "b", operators=["add", "aff"], from_runs=[str(place)]))


def test_itself_is_no_other_run(other: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is this run itself: leave it out"):
        nas.search(**small(other, from_runs=[str(other)]), fresh=True)
    out, copy = tmp_path / "a", tmp_path / "copy"
    for place in (out, copy):
        shutil.copytree(other, place)
    given = small(out, trials=4, operators=["add", "concat", "se"], from_runs=[str(copy)])
    with pytest.raises(ConfigError, match="is a copy of this run itself: leave it out"):
        nas.search(**given, extend=True)


def test_of_very_many_those_that_tell_most_count(other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST", 3)
    nas.search(**small(tmp_path / "b", trials=1, from_runs=[str(other)]))
    (one,) = RunView.load(tmp_path / "b").evidence
    assert (len(one.trainings), one.left_out) == (3, {gathering.TOO_MANY: 1})


def test_a_path_is_settled_where_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {"from_runs": ["runs/a"]})
    assert config.from_runs == [str(tmp_path / "runs" / "a")]
    with pytest.raises((ConfigError, ValidationError), match="give the folder of a run"):
        load_config(None, {"from_runs": [""]})
