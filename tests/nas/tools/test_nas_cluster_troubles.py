"""What `nas cluster check` calls wrong, from what nodes say of themselves; asked of real ones in tests/nas/cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.settings.search import SearchConfig
from nas.tools.cluster.asking import Asked
from nas.tools.cluster.checking import Checked, troubles
from nas.tools.cluster.node import Node

EXPECTED = {"data": "d" * 16, "space": "5" * 16, "code": None}
ABOUT: dict[str, Any] = {
    "host": "node-7", "python": "3.11.7", "formulas": "f" * 8, "gpus": [], "cores": 8,
    "packages": {"fusion-nas": "0.1.0", "ray": "2.60.0", "torch": "2.15.0+cu130", "optuna": "5.0.0"},
    "memory_bytes": 10**10, "free_bytes": {"temporary": 10**11}, "flock": None, "token_authentication": True,
}  # fmt: skip
FIT = Asked("id", "10.0.0.7", False, False, {"CPU": 8.0}, ABOUT, EXPECTED, 0.001, 0.0005)


def said(node: Asked, config: SearchConfig | None = None) -> list[str]:
    """What is wrong, and its mend, in a line each."""
    found = list(troubles(config or SearchConfig(), ABOUT, EXPECTED, [node]))
    return [f"{'warning ' if one.warning else ''}{one.node}: {one.what}; {one.mend}" for one in found]


def about(**changed: Any) -> Asked:
    return replace(FIT, about=ABOUT | changed)


def packages(**changed: str | None) -> Asked:
    kept = {name: version for name, version in (ABOUT["packages"] | changed).items() if version is not None}
    return about(packages=kept)


def test_a_node_like_the_driver_is_fit() -> None:
    assert said(FIT) == []
    assert Checked(ABOUT, EXPECTED, (FIT,), ()).fit


@pytest.mark.parametrize(
    ("node", "line"),
    [
        (packages(torch="2.14.1"), "torch 2.14.1, the driver has 2.15.0+cu130; pip install torch=="),
        (packages(ray="2.59.0"), "ray 2.59.0, the driver has 2.60.0; pip install ray==2.60.0 there"),
        (about(python="3.12.1"), "Python 3.12.1, the driver has 3.11.7; use one Python everywhere"),
        (about(formulas="0" * 8), "operators or training code of fingerprint 00000000, the driver's"),
        (about(flock="/tmp: No locks available"), "files cannot be locked (/tmp: No locks available"),
        (about(free_bytes={"ray": 10**8}), "100MB free for ray, a search wants 1.00GB; free some"),
        (about(cores=2), "warning Ray counts 8 CPUs, the machine or its container lets 2 be"),
        (about(token_authentication=False), "warning all nodes: Ray asks for no token: whoever reaches its ports"),
        (replace(FIT, clock_offset_s=-7.5), "its clock is 7.5 s behind the driver's; synchronise"),
        (replace(FIT, agreement=None), "data and space were not read in time; ask again"),
        (replace(FIT, agreement=EXPECTED | {"data": "0" * 16}), "other data: fingerprint 0000000000"),
        (replace(FIT, agreement=EXPECTED | {"code": "x"}), "another space: the same points, code x;"),
        (replace(FIT, about={}, error="it died"), "no answer: it died; see Ray's own logs there"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(node: Asked, line: str) -> None:
    found = said(node)[0]
    assert found.replace("node-7 (10.0.0.7): ", "").removeprefix("10.0.0.7: ").startswith(line)


def test_another_build_or_patch_of_torch_and_no_optuna_are_fit() -> None:
    assert said(packages(torch="2.15.1+cpu", optuna=None)) == []


def test_a_node_without_this_package_is_told_once() -> None:
    without = replace(FIT, about=ABOUT | {"packages": {"ray": "2.60.0"}, "formulas": None})
    assert said(without)[0].startswith("node-7 (10.0.0.7): fusion-nas is not installed; install fusion-nas 0.1.0")


def test_a_clock_that_is_read_slowly_is_not_blamed() -> None:
    assert said(replace(FIT, clock_offset_s=3.0, clock_error_s=1.5)) == []


def test_shipped_data_need_not_be_there() -> None:
    config = SearchConfig(ray={"ship_data": True})  # type: ignore[arg-type]
    without = {"space": EXPECTED["space"], "code": None}
    assert said(replace(FIT, agreement=without), config) == []


def test_a_node_s_cores_are_those_that_its_container_lets_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.cores.cores", lambda: 3)
    assert Node().about()["cores"] == 3


def test_this_machine_answers_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))
    config = SearchConfig(train_images=128)
    spec = {"channels": 1, "size": 28, "classes": 10}
    found = Node().agreement(config.to_json(), spec, True)
    assert set(found) == {"data", "space", "code"}
    assert Node().agreement(config.to_json(), spec, False) == {"space": found["space"], "code": None}
    lacking = Node().agreement(config.to_json() | {"data": f"folder:{tmp_path}/gone"}, spec, True)
    assert str(tmp_path) in lacking["data_error"]
    assert lacking["space"] == found["space"]
    assert Node().about()["flock"] is None
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path / "gone"))
    assert Node().about()["flock"] == f"{tmp_path}/gone: No such file or directory"
