"""nas report in its forms, nas compare, nas watch: on real records, as the command line calls them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from programs import nas_program

sys.path.insert(0, str(Path(__file__).parents[2] / "reports"))
from reports_records import realistic_trials, record

import nas
from nas.cli.main import commands
from reports.document import read_document
from search_spaces.errors import UserError


@dataclass(frozen=True)
class Done:
    """What a command printed, and the error that the program would end with in one line."""

    stdout: str
    error: UserError | None


def run(*arguments: object) -> Done:
    """A command in this process: the program around it is tested in test_nas_cli.py."""
    done = CliRunner().invoke(commands, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, UserError):
        raise done.exception
    return Done(done.stdout, done.exception)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    record(made / "one", realistic_trials())
    record(made / "two", realistic_trials()[:12])
    return made


def test_every_form_is_written_where_it_is_said(folder: Path) -> None:
    for form in ("html", "md", "json", "csv", "svg"):
        done = run("report", folder / "one", "--format", form, "--json")
        path = Path(json.loads(done.stdout)["report"])
        assert path == folder / "one" / f"report.{form}"
        assert path.stat().st_size > 1000
    assert run("report", folder / "one" / "report.json", "--out", folder / "again.html").error is None
    assert (folder / "again.html").read_bytes() == (folder / "one" / "report.html").read_bytes()
    assert read_document(folder / "one" / "report.json")["run"]["name"] == "one"


def test_a_folder_has_an_index(folder: Path) -> None:
    done = run("report", "--all", folder)
    assert done.stdout.strip() == str(folder / "index.html")
    assert (folder / "two" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report"], "give one of them"),
        (["report", "one", "--all", "."], "give one of them"),
        (["report", "--all", ".", "--format", "md"], "takes no --format"),
        (["report", "one", "--format", "html", "--out", "one/study.db"], "exists and is no HTML page"),
        (["report", "one/study.db"], "is no report"),
        (["compare", "one"], "takes two runs or more, given 1"),
        (["compare", "one", "nothing"], "holds no run"),
        (["watch", "nothing"], "holds no run"),
    ],
)
def test_bad_usage_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    done = run(*arguments)
    assert done.error is not None
    assert said in str(done.error)
    assert done.error.exit_code == 2
    assert done.stdout == ""


def test_a_damaged_run_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes((folder / "one" / "study.db").read_bytes()[:3000])
    done = nas_program("report", tmp_path)
    assert done.returncode == 5
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "report.html").exists()


def test_runs_are_compared_as_text_as_json_and_as_a_page(folder: Path) -> None:
    done = run("compare", folder / "one", folder / "two", "--out", folder / "compared.html")
    assert "Hypervolume after 12 trainings of each" in " ".join(done.stdout.split())
    assert (folder / "compared.html").read_text().startswith("<!DOCTYPE html>")
    found = json.loads(run("compare", folder / "one", folder / "two", "--json").stdout)
    assert found["comparable"]


def test_watching_a_run_that_has_ended_shows_it_once(folder: Path) -> None:
    done = run("watch", folder / "one", "--every", "0.2")
    assert done.stdout.count("trials trained") == 1
    assert "★ all-add" in done.stdout


def test_show_draws_the_front(folder: Path) -> None:
    assert "● front" in run("show", folder / "one").stdout


def test_a_notebook_shows_verdict_and_front(folder: Path) -> None:
    html = nas.open_run(folder / "one")._repr_html_()
    assert html.count("<svg") == 1
    assert "all-add" in html
    assert "<script" not in html
