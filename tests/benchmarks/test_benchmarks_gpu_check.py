"""The check for a machine with a GPU runs where there is none, so that it is not tried there for the first time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_check

ROOT = Path(__file__).resolve().parents[2]
#: Refuses what a GPU machine's own Python may lack.
WITHOUT = """
import sys
missing = ("ray", "optuna", "pydantic", "sqlalchemy", "beartype", "moocore", "fvcore")
sys.modules.update(dict.fromkeys(missing))
"""


@pytest.mark.slow
def test_all_parts_are_there_or_say_why_not(tmp_path: Path) -> None:
    code = WITHOUT + "from benchmarks import gpu_check\ngpu_check.main()"
    out = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-c", code, "--device", "cpu", "--quick", "--out", out],
        cwd=ROOT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert list(found) == list(gpu_check.PARTS)
    skipped = {name: part["skipped"] for name, part in found.items() if "skipped" in part}
    assert skipped == dict.fromkeys(("graph", "share", "marked tests"), "needs a CUDA device")
    assert found["search"]["trials_an_hour"] > 0
    assert found["packed"]["losses_apart"] < 0.05


@pytest.mark.slow
def test_the_marked_tests_can_be_collected_on_such_a_machine(tmp_path: Path) -> None:
    (tmp_path / "without.py").write_text(WITHOUT)
    marked = gpu_check.marked()
    assert len(marked) >= 5
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "without", "--collect-only", *gpu_check.PLAIN, *marked],
        cwd=ROOT, env=gpu_check.environment(str(tmp_path)), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(check: gpu_check.Check) -> dict[str, Any]:
        raise RuntimeError("no such\nkernel")

    parts = {"first": fails, "second": gpu_check.graph, "third": lambda check: {"figure": 1}}
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    found = gpu_check.run(gpu_check.check_of("cpu", quick=True), tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == found
    for part in found.values():
        assert part.pop("part_seconds") >= 0
    assert found == {
        "first": {"error": "RuntimeError: no such kernel"}, "second": {"skipped": "needs a CUDA device"},
        "third": {"figure": 1},
    }  # fmt: skip
