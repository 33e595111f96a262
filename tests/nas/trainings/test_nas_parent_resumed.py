"""A search that is killed while it trains its parent goes on in the middle of that, and its trials start the same."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from programs import nas_program, start_nas

from reports import RunView

SEARCH = [
    "search", "--space", "resnet8", "--engine", "local", "--train-images", 512, "--epochs", 1, "--batch-size", 64,
    "--precision", "float32", "--parent-epochs", 6, "--finalists", "none", "--export", "none", "--trials", 1,
    "--set", "val_fraction=0.05", "--set", "latency.passes=30", "--set", "latency.attempts=1",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["inherit", pytest.param("supernet", marks=pytest.mark.long)])
def test_killed_while_the_parent_is_trained_it_starts_from_the_same(regime: str, tmp_path: Path) -> None:
    command = [*SEARCH, "--regime", regime, "--out", tmp_path / "run"]
    unfinished = tmp_path / "run" / "parent.unfinished.safetensors"
    program, deadline = start_nas(*command), time.monotonic() + 300
    while not unfinished.exists():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate()
    assert not (tmp_path / "run" / "parent.safetensors").exists()
    done = nas_program(*command)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch " in done.stderr
    assert "of 6, where it was ended" in done.stderr
    assert not unfinished.exists()
    whole = nas_program(*SEARCH, "--regime", regime, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    there, here = RunView.load(tmp_path / "whole"), RunView.load(tmp_path / "run")
    assert there.parent is not None
    assert here.parent is not None
    assert here.parent["digest"] == there.parent["digest"]
    assert [r.score for r in here.results] == [r.score for r in there.results]
