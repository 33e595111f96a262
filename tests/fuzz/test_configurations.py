"""Ten seconds of configurations; at length: `python -m tests.fuzz.configurations --count 2000 --seed 0`."""

from __future__ import annotations

import os

import pytest
from configurations import run


@pytest.mark.slow
def test_every_configuration_is_taken_whole_or_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("FUZZ_SEED", 0))
    outcomes = run(count=5_000, seed=seed, seconds=10)
    assert not outcomes["FAULT"], f"python -m tests.fuzz.configurations --seed {seed}: {capsys.readouterr().out}"
    assert outcomes["read"] > 20
    assert outcomes["ConfigError"] > 20
