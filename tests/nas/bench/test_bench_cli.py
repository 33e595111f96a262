"""`nas bench` as a program: JSON on stdout, what is wrong in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_tables import invented
from programs import nas_program

from nas.bench.table_file import write_table


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tables") / "table.zip"
    write_table(path, invented())
    return str(path)


def test_a_training_is_asked_for(file: str) -> None:
    told = json.loads(nas_program("bench", "query", "add,se/4,add", "inherit-9", "2", "--table", file, "--json").stdout)
    assert told["choices"] == {"layer1.0": "add", "layer2.0": "se/4", "layer3.0": "add"}
    assert told["fidelity"] == "inherit-9"
    assert len(told["curve"]) == 9
    assert told["price"]["params"] == 70_000
    line = nas_program("bench", "query", "add,se/4,add", "inherit-9", "2", "--table", file).stdout
    assert line.startswith("add,se/4,add at inherit-9, seed 2: 6")


def test_the_whole_space_is_ready_for_a_gpu(tmp_path: Path) -> None:
    """The one command, but for the device that is not here."""
    asked = ("bench", "build", "--data", "folder:nowhere", "--out", str(tmp_path / "run"), "--dry-run", "--json")
    ahead = json.loads(nas_program(*asked, "--edition", "gpu").stdout)
    assert ahead["wanted"] == ahead["missing"]
    assert ahead["wanted"]["scratch-18"] == 840 * 3
    here = json.loads(nas_program(*asked).stdout)
    assert here["wanted"]["scratch-18"] == 60 * 3
    assert here["missing"]["inherit-1"] < here["wanted"]["inherit-1"], "it begins with the packaged table"
    done = nas_program(*asked[:-2], "--edition", "gpu")
    assert done.returncode == 2
    assert "device 'cuda" in done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_methods_are_compared(file: str) -> None:
    asked = ("--quick", "--seeds", "2", "--methods", "nas-random,random-loss", "--table", file, "--processes", "1")
    found = json.loads(nas_program("bench", "compare", *asked, "--json").stdout)
    assert [one["truth"] for one in found["truths"]] == ["scratch-18", "inherit-9"]
    assert [line["method"] for line in found["truths"][0]["lines"]] == ["nas-random", "random-loss"]
    assert found["comparison"]["seeds"] == 2
    assert found["truths"][0]["architectures"] == 64
    shown = nas_program("bench", "compare", *asked)
    assert "true gain" in shown.stdout
    assert "Judged by inherit-9, to which 64 of 64 architectures were trained" in shown.stdout
    assert "searching: 12 of 12" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("query", "add,add", "inherit-3", "0"), "nas: architecture 'add,add': expected 3 choices"),
        (("query", "add,add,add", "scratch-9", "0"), "lacks fidelity 'scratch-9': it has inherit-1"),
        (("show", "--table", "nothing.zip"), "nas: nothing.zip: No such file or directory; give a table"),
        (("compare", "--quick", "--methods", "random"), "nas: method 'random': expected one of nas-ehvi"),
        (("build", "--data", "fashion-mnist-mini", "--edition", "tpu"), "nas: edition 'tpu': expected one of cpu, gpu"),
        (("pack", "no-run", "table.zip"), "no-run holds no run"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = nas_program("bench", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
