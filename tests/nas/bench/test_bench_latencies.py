"""Latencies are measured into a table's file, go on where they stopped, and are of one device."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_tables import invented
from programs import nas_program

from nas.bench.errors import BenchError
from nas.bench.latencies import measure_latencies
from nas.bench.table import Table
from nas.bench.table_file import read_table, write_table


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of four architectures."""
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))
    path = tmp_path / "table.zip"
    write_table(path, invented(seeds=1, leave_out=60))
    return path


def change(file: Path, runtime: str, **changed: Any) -> None:
    contents = read_table(file)
    latencies = dict(contents.header["latencies"])
    latencies[runtime] = {**latencies[runtime], **changed}
    write_table(file, replace(contents, header={**contents.header, "latencies": latencies}))


def test_they_are_kept_one_by_one_and_answered(file: Path) -> None:
    told: list[tuple[int, int]] = []
    (found,) = measure_latencies(file, ["eager"], most=2, told=lambda done, total: told.append((done, total)))
    assert (found.runtime, found.measured, found.architectures) == ("eager", 2, 4)
    assert told == [(1, 2), (2, 2)]
    table = Table.load(file)
    there, lacking = list(table.architectures())[:2], list(table.architectures())[2:]
    answer = table.query(there[0], "inherit-3", 0)
    assert set(answer.latency_ms) == {"eager"}
    assert 0.05 < answer.latency_ms["eager"] < 1000
    assert answer.to_json()["latency_ms"] == table.price(there[0]).latency_ms
    assert table.query(lacking[0], "inherit-3", 0).latency_ms == {}
    first = table.header["latencies"]["eager"]
    assert first["device"]["name"]
    assert first["target"]["threads"] == 1
    for one in first["architectures"].values():
        assert one["p95_ms"] >= one["p50_ms"]
    change(
        file, "eager",
        architectures={key: {**one, "stable": True} for key, one in first["architectures"].items()},
    )  # fmt: skip
    both = measure_latencies(file, ["eager", "onnxruntime"], most=1)
    assert [one.measured for one in both] == [3, 1]
    after = Table.load(file).header["latencies"]
    assert after["eager"]["baseline_ms"] == first["baseline_ms"], "all figures are tied to one of all-add"
    kept = {**after["eager"]["architectures"][there[0].key], "stable": None}
    assert kept == {**first["architectures"][there[0].key], "stable": None}, "what was steady is not measured again"


def test_all_of_a_runtime_are_of_one_device(file: Path) -> None:
    measure_latencies(file, ["eager"], most=1)
    change(file, "eager", device={"name": "another machine"})
    with pytest.raises(BenchError, match=r"eager were measured with another device \(another machine, here .*--fresh"):
        measure_latencies(file, ["eager"], most=1)
    (found,) = measure_latencies(file, ["eager"], most=1, fresh=True)
    assert found.device != "another machine"
    assert found.measured == 1


def test_the_program_measures(file: Path) -> None:
    asked = ("bench", "latency", file, "--architectures", "1", "--runtimes", "eager")
    (told,) = json.loads(nas_program(*asked, "--json").stdout)
    assert (told["runtime"], told["measured"]) == ("eager", 1)
    line = nas_program("bench", "query", "add,add,add", "inherit-3", "0", "--table", file).stdout
    assert " ms (eager)" in line
    assert "runtime 'eagr'" in nas_program("bench", "latency", file, "--runtimes", "eagr").stderr
    missing = nas_program("bench", "latency", file.with_name("none.zip"))
    assert missing.returncode == 2
    assert "No such file" in missing.stderr
