"""Giving way: long computations that run beside other work, at the lowest priority."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LOWEST = 19
_GROUP = Path("/proc/self/autogroup")


def give_way() -> None:
    """Give this process the lowest priority.

    Linux shares processors among sessions first where autogroups are on, so that a niceness counts among a terminal's
    own processes alone (sched(7)). A session that this process leads, as under setsid or a batch system, gives way
    with it; another's, which may hold a user's shell, is left as it is.
    """
    os.nice(LOWEST)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # there are none, or they are off
            _GROUP.write_text(str(LOWEST))
