"""Who holds the lock (flock) of an open file, as far as the kernel tells."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def _pids(file: int) -> list[int]:
    """The processes that hold a file's lock, as far as the kernel tells."""
    inode = os.fstat(file).st_ino
    with suppress(OSError, ValueError, IndexError):
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        held = [row for row in rows if row[1] == "FLOCK" and int(row[5].rpartition(":")[2]) == inode]
        return sorted({int(row[4]) for row in held} - {0, os.getpid()})
    return []


def nobody_holds(file: int) -> bool:
    """Whether it could be held alone now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def holders(file: int) -> str:
    """Them in words, with their numbers where the kernel tells."""
    pids = _pids(file)
    named = f" ({'processes' if len(pids) > 1 else 'process'} {', '.join(map(str, pids))})" if pids else ""
    return f"another fusion-nas process{named}"
