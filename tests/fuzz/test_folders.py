"""A quarter of a minute of mutated data folders; at length: `python -m tests.fuzz.folders --count 2000 --seed 0`."""

from __future__ import annotations

import os

import pytest
from folders import run

_SECONDS = 12.0


@pytest.mark.slow
def test_no_mutated_folder_ends_in_a_traceback_or_loses_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_CACHE", "")  # it is set for each case, and put back after the last
    seed = 1000 * int(os.environ.get("FUZZ_SEED", 0))
    ended = run(range(seed, seed + 1000), seconds=_SECONDS)
    assert not ended["failed"], f"python -m tests.fuzz.folders --seed {seed} --count {ended.total()} shows it again"
    assert ended["read"] > 0
