"""The table of which artefact can be made of which network: a few of its rows in every run, twenty in CI."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.exports import TIMM, TORCHVISION, main, row, table, wanted

CI, ORDINARY = 6, 2


def test_the_rows_are_two_hundred_architectures_and_at_least_forty_networks() -> None:
    rows = list(wanted(200, len(TORCHVISION) + len(TIMM)))
    assert sum(number >= 0 for _, _, number in rows) == 200
    assert sum(number < 0 for _, _, number in rows) >= 40
    assert len({name for name, _, _ in rows}) == len(rows)


def everything_is_made(name: str, network: str, number: int, folder: Path) -> None:
    found = row(name, network, number, folder)
    assert "stopped" not in found, found
    assert set(found["artefacts"].values()) == {"ok"}, found
    assert found["whole"]
    plain = name.replace("#", "")
    assert plain in table([{**found, "name": plain}])


@pytest.mark.parametrize(("name", "network", "number"), list(wanted(ORDINARY, 0)))
def test_random_architectures_of_the_catalogue(name: str, network: str, number: int, tmp_path: Path) -> None:
    everything_is_made(name, network, number, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network", "number"),
    [
        pytest.param(*one, marks=pytest.mark.long if number >= CI else ())
        for number, one in enumerate(wanted(20, 0))
        if number >= ORDINARY
    ],
)
def test_twenty_random_architectures(name: str, network: str, number: int, tmp_path: Path) -> None:
    everything_is_made(name, network, number, tmp_path)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network", "number"),
    [one for one in wanted(0, 99) if one[0] in ("torchvision:mobilenet_v3_small", "timm:ghostnet_050")],
)
def test_networks_of_libraries(name: str, network: str, number: int, tmp_path: Path) -> None:
    everything_is_made(name, network, number, tmp_path)


def test_what_is_there_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    file = tmp_path / "rows.jsonl"
    (name, _, _), *_ = wanted(1, 0)
    file.write_text(json.dumps({"name": name, "artefacts": {"model.py": "ok", "model.onnx": "no way"}}) + "\n")
    monkeypatch.setattr(sys, "argv", ["exports", str(file), "--architectures", "1", "--libraries", "0"])
    main()
    assert len(file.read_text().splitlines()) == 1
    monkeypatch.setattr(sys, "argv", ["exports", str(file), "--table"])
    main()
    printed = capsys.readouterr().out
    assert "model.py: 1 ok, 0 not" in printed
    assert "model.onnx: no way" in printed
