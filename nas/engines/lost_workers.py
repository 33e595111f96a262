"""Why a worker is gone: what it was given, how long it had, and what the kernel says."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from trials.machine.failures import GRACE_SECONDS, says_out_of_memory
from trials.trial import Failure

#: Where the kernel counts the processes that it killed for memory: of this container, or else of the machine.
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


def kernel_kills(counters: tuple[Path, ...] = _COUNTERS) -> int:
    """How many processes the kernel has killed for want of memory; 0 where it does not say. Of this machine only."""
    for counter in counters:
        with suppress(OSError, ValueError):
            for line in counter.read_text().splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return 0


def why_lost(reason: str, seconds: float, timeout_seconds: float | None, killed_for_memory: bool) -> Failure:
    """The kind of failure of a trial whose worker is gone after `seconds`, by Ray's `reason`.

    A worker ends itself when its trial hangs so long beyond the time limit, see `trials.machine.failures.TimeLimit`.
    Before that it says itself that its time is over; and a node that goes takes its workers at any time.
    """
    if node_died(reason):
        return Failure.WORKER_LOST
    if killed_for_memory or says_out_of_memory(reason):
        return Failure.OUT_OF_MEMORY
    if timeout_seconds is not None and seconds >= timeout_seconds + GRACE_SECONDS:
        return Failure.TIMED_OUT
    return Failure.WORKER_LOST


def node_died(reason: str) -> bool:
    """Whether a worker is gone because its machine is, by Ray's `reason`."""
    return any(words in reason for words in ("node has died", "node was terminated"))
