"""Counts what this process writes below a folder, and at the k-th event ends it, or says that the disk is full.

For a fork of the harness: nothing here can be undone. SQLite's own writes are seen through the table of system calls
that it offers its testers (`xSetSystemCall`), all others through Python's audit events: the program under test has no
hooks of its own.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

#: What happens at the event: killed before it, killed when half of it is written, or no room for it and all later ones.
How = Literal["before", "half", "full"]

_WRITE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, use_errno=True)
_PWRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64, use_errno=True)
_UNLINK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, use_errno=True)
#: System calls of SQLite that change files, by their shapes.
_CALLS: dict[str, Any] = {
    "write": _WRITE, "pwrite": _PWRITE, "pwrite64": _PWRITE, "ftruncate": _TRUNCATE, "unlink": _UNLINK,
}  # fmt: skip
_AUDITED = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Events:
    """What was written, in its order: `kinds` has a word for each event (`sqlite pwrite64`, `os.rename`, …)."""

    def __init__(self, folder: Path, at: int | None = None, how: How = "before") -> None:
        """Without `at`, they are only counted. A full disk stays full for whatever needs room, so that what can be
        freed, or read, still is."""
        self.kinds: list[str] = []
        self.struck = False
        self._folder = str(folder.resolve())
        self._at, self._how = at, how
        self._kept: list[Any] = []  # ctypes' callbacks, which SQLite calls as long as this process lives

    def watch(self) -> None:
        """From now on, for the life of this process."""
        self._watch_sqlite()
        sys.addaudithook(self._audited)
        written = Path.write_bytes

        def write_bytes(path: Path, content: bytes) -> int:
            return self._whole(path, content, written)

        Path.write_bytes = write_bytes  # type: ignore[assignment,method-assign]
        usage = shutil.disk_usage
        shutil.disk_usage = lambda path: usage(path)._replace(free=0) if self.struck else usage(path)

    def _next(self, kind: str) -> How | None:
        """Counts an event; what is to happen at it. Does not return where the process ends before it."""
        self.kinds.append(kind)
        if self._at is None or len(self.kinds) - 1 < self._at:
            return None
        if self._how == "full":
            self.struck = True
            return "full"
        if len(self.kinds) - 1 > self._at:
            return None
        if self._how == "before":
            _die()
        return self._how

    def _whole(self, path: Path, content: bytes, write: Callable[[Path, bytes], int]) -> int:
        if not str(path.absolute()).startswith(self._folder):
            return write(path, content)
        happens = self._next("write_bytes")
        if happens == "full":
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if happens == "half":
            write(path, content[: len(content) // 2])
            _die()
        return write(path, content)

    def _audited(self, event: str, given: tuple[Any, ...]) -> None:
        if event not in _AUDITED or not isinstance(given[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & _WRITING):
            return
        if not os.fsdecode(given[0]).startswith(self._folder):
            return
        happens = self._next(event)
        if happens == "half":
            _die()  # these are whole or not at all
        if happens == "full" and event in ("open", "os.mkdir") and not Path(os.fsdecode(given[0])).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(given[0]))

    def _watch_sqlite(self) -> None:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.c_void_p
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        vfs = _Vfs.from_address(library.sqlite3_vfs_find(None))
        for name, shape in _CALLS.items():
            there = vfs.xGetSystemCall(ctypes.addressof(vfs), name.encode())
            if not there:
                continue  # this build of SQLite has the other one of `pwrite` and `pwrite64`
            watched = shape(self._watched(name, shape(there)))
            self._kept.append(watched)
            vfs.xSetSystemCall(ctypes.addressof(vfs), name.encode(), ctypes.cast(watched, ctypes.c_void_p))

    def _watched(self, name: str, call: Callable[..., int]) -> Callable[..., int]:
        kind = f"sqlite {name}"

        def watched(*given: Any) -> int:
            happens = self._next(kind)
            if happens == "half":
                if "write" in name:
                    call(given[0], given[1], max(1, given[2] // 2), *given[3:])
                _die()
            if happens == "full" and "write" in name:
                ctypes.set_errno(errno.ENOSPC)
                return -1
            ctypes.set_errno(0)
            return int(call(*given))

        return watched


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs` of version 3; what is not called here is a pointer."""

    _fields_ = (
        ("iVersion", ctypes.c_int), ("szOsFile", ctypes.c_int), ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p), ("zName", ctypes.c_char_p), ("pAppData", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in (
            "xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness",
            "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64",
        )),
        ("xSetSystemCall", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
        ("xGetSystemCall", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)),
        ("xNextSystemCall", ctypes.c_void_p),
    )  # fmt: skip


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")
