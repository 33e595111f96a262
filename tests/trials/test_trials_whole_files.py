"""What killed processes had begun to write is removed, and what a living one writes is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trials.whole_files import remove_unfinished


def test_what_a_dead_process_had_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    (tmp_path / "weights").mkdir()
    dead, own = (
        tmp_path / "weights" / f".trial-00003.safetensors.{process}.new" for process in (ended.pid, os.getpid())
    )
    others = [
        tmp_path / f".report.html.{os.getppid()}.new",
        tmp_path / "study.db.new",
        tmp_path / ".kept.new",
        tmp_path / "weights" / "trial-00003.safetensors",
    ]
    for path in (dead, own, *others):
        path.write_text("half of it")
    remove_unfinished(tmp_path)
    assert not dead.exists()
    assert not own.exists()
    assert all(path.exists() for path in others)
