"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from trials.errors import DiskFull

#: A disk, or what one may use of it, is full, or a file is as large as one may write it.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNFINISHED = re.compile(r"\..+\.(\d+)\.new")


def write_whole(path: Path, content: bytes | str, errors: str = "strict") -> None:
    """Write a file beside, then put it in place of `path`; text in UTF-8, where `errors` says what cannot be.

    Raises:
        DiskFull: there is no room; what was at `path` is still there.
        OSError: it cannot be written for another reason.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode(errors=errors))
        unfinished.replace(path)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path) from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes had begun to write below a folder: with every kill the weights of a network, say.

    What a process of that number writes, one that runs on this machine, is left alone.
    """
    for path in folder.rglob(".*.new"):
        found = _UNFINISHED.fullmatch(path.name)
        if found is not None and (int(found[1]) == os.getpid() or not runs(int(found[1]))):
            path.unlink(missing_ok=True)


def runs(process: int) -> bool:
    """Is there a process of that number on this machine?"""
    try:
        os.kill(process, 0)
    except OverflowError:
        return False
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def disk_full(path: Path | str) -> DiskFull:
    """The error for a file that finds no room."""
    return DiskFull(
        f"{path}: no room left on the disk: free some, then give the same command again; what was recorded is kept"
    )
