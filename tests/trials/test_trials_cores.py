"""How many cores there are for this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trials.cores import cores


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "nonsense\n"}, 8),
        ({"slurm/job/cpu.max": "400000 100000\n", "slurm/cpu.max": "300000 100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/docker/7/cpu.cfs_quota_us": "600000\n", "cpu/docker/7/cpu.cfs_period_us": "100000\n"}, 6),
    ],
)
def test_a_containers_quota_is_kept_to(tmp_path: Path, files: dict[str, str], found: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own = tmp_path / "own"
    own.write_text("4:cpu,cpuacct:/docker/7\n1:memory:/docker/7\n0::/slurm/job\n")
    assert cores(tmp_path, own) == found


def test_what_a_process_is_bound_to_counts(tmp_path: Path) -> None:
    assert cores(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))
    assert cores() >= 1
