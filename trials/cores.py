"""How many cores this process may use: not those of the machine, where a container or a batch system gives it fewer."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """The cores that it is bound to, and no more than its control groups' quotas of time come to; at least one."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(cgroups, own) if (quota := _quota(folder)) is not None]
    return max(1, math.floor(min([bound, *quotas])))


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """The control groups' folders that may limit this process: its own and those around it, of both kinds."""
    yield from (cgroups, cgroups / "cpu")
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                inner = Path(path.lstrip("/"))
                for group in (inner, *inner.parents):
                    yield (cgroups / "cpu" if controllers else cgroups) / group


def _quota(folder: Path) -> float | None:
    """In cores, by the kernel's second or first form of control groups; None for no limit."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota_us <= 0 else quota_us / int((folder / "cpu.cfs_period_us").read_text())
    return None
