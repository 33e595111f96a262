"""A lock among the processes of one user on one machine that nobody can keep by hanging.

The kernel holds it (flock), and lets go of it when its holder dies. While it is held, a thread of the holder touches
its file; a holder that is suspended does not, and whoever waits goes on without it once the file has stayed as it is
for `LEASE_SECONDS`: a file of the next generation takes its place, and the old one is removed. Whoever had it sees so
by its own file having no name any more (`Lock.mine`). The same happens to one who shows signs of life and keeps the
lock for `LIMIT_SECONDS`.

No two clocks are compared: who waits counts by its own how long a file's times stay as they are, in time in which it
was awake itself. Touching needs no room on a disk. A process that is forked holds nothing. Where no such files can be
(a full disk, a folder of somebody else's, a file system without flock) it is said once, and there is no lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from trials.machine.holders import holders, nobody_holds

#: Between two signs of life of whoever holds a lock.
BEAT_SECONDS = 2.0
#: Without one for so long a holder is passed over.
LEASE_SECONDS = 10.0
#: Nobody's turn is longer: a measurement of a network of 5 s a pass takes about 500 s.
LIMIT_SECONDS = 900.0
#: After so long a wait, the user is told whom a measurement or a trial waits for.
NOTICE_SECONDS = 10.0
#: Between two looks of one who waits.
_LOOK_SECONDS = 0.25
#: A file is opened so often while others come and go, until its file system is taken for one that counts no names.
_MOST_TRIES = 100


class _Waiting(threading.local):
    """How long this thread has waited for others: in waits that are over, and since when in one that is not."""

    seconds = 0.0
    since: float | None = None


_waiting = _Waiting()


def waited_seconds() -> float:
    """How long this thread has waited for the machine so far: no time of its own."""
    now = 0.0 if _waiting.since is None else time.monotonic() - _waiting.since
    return _waiting.seconds + now


@contextmanager
def _waited() -> Iterator[None]:
    _waiting.since = time.monotonic()
    try:
        yield
    finally:
        _waiting.seconds, _waiting.since = waited_seconds(), None


class _Heart:
    """Touches the files of all locks that this process holds, in a thread that is there while there are any."""

    def __init__(self) -> None:
        self._turns: dict[int, int] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, file: int) -> None:
        """The file's access time says whose turn it is, its modification time that they live."""
        turn = time.time_ns()
        with self._guard:
            self._turns[file] = turn
            with suppress(OSError):
                os.utime(file, ns=(turn, turn))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
                self._thread.start()

    def remove(self, file: int) -> None:
        with self._guard:
            self._turns.pop(file, None)

    def _run(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._guard:
                if not self._turns:
                    self._thread = None
                    return
                for file, turn in self._turns.items():
                    with suppress(OSError):
                        os.utime(file, ns=(turn, time.time_ns()))


class _Waiter:
    """Waits in a thread of its own for the kernel to give it a file's lock, so that its owner can give up waiting."""

    def __init__(self, file: int, kind: int) -> None:
        self._file, self._kind = file, kind
        self._guard = threading.Lock()
        self._over = self._left = False
        self.error: OSError | None = None
        self.over = threading.Event()
        _waiters.add(self)

    def start(self) -> None:
        threading.Thread(target=self._run, name="lock", daemon=True).start()

    def _run(self) -> None:
        try:
            fcntl.flock(self._file, self._kind)
        except OSError as error:
            self.error = error
        with self._guard:
            self._over = True
            if self._left:
                self._let_go()
        self.over.set()

    def leave(self) -> None:
        """Whatever it is given, now or later, is let go of, and the file with it."""
        with self._guard:
            self._left = True
            if self._over:
                self._let_go()

    def forked(self) -> None:
        """In the child of a fork: its thread is not there, and what it may be given is its parent's."""
        with suppress(OSError):
            os.close(self._file)

    def _let_go(self) -> None:
        _waiters.discard(self)
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)  # a copy may be open elsewhere, so closing is not enough
        os.close(self._file)


class _Watch:
    """How long a file's holder has shown no sign of life, and how long it is its turn, as one sees who waits."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._turn = self._beat = 0
        self.silent = self.long = 0.0

    def look(self, file: int) -> None:
        now = time.monotonic()
        passed = min(now - self._last, 2 * _LOOK_SECONDS)  # who was suspended itself has not looked meanwhile
        self._last = now
        found = os.fstat(file)
        self.silent = self.silent + passed if found.st_mtime_ns == self._beat else 0.0
        self.long = self.long + passed if found.st_atime_ns == self._turn else 0.0
        self._beat, self._turn = found.st_mtime_ns, found.st_atime_ns

    @property
    def verdict(self) -> str | None:
        """Why nobody waits for this holder any longer."""
        if self.silent >= LEASE_SECONDS:
            return f"has shown no sign of life for {self.silent:.0f} s"
        return f"has not made way for {self.long:.0f} s" if self.long >= LIMIT_SECONDS else None


class Lock:
    """One lock, by its name, as one thread of a process has it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: int | None = None
        self._generation = 0
        self._without = self._kept = False
        self._watch = _Watch()
        self._passed_over: list[tuple[int, int]] = []
        _locks.add(self)

    def take(self, *, alone: bool, beside: Lock | None = None) -> None:
        """Wait for it, to hold it alone or with others. A holder of `beside` that is silent in the same time is passed
        over with that of this one."""
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        while not self._without:
            try:
                file = self._current()
                try:
                    fcntl.flock(file, kind | fcntl.LOCK_NB)
                except BlockingIOError:
                    with _waited():
                        self._wait(file, kind, beside)
            except OSError as error:
                self._do_without(error)
            else:
                if self.mine():
                    return

    def keep(self) -> None:
        """Show signs of life from now on, until it is released."""
        if self._file is not None:
            self._kept = True
            _heart.add(self._file)

    def mine(self) -> bool:
        """Whether what was taken is still what others take: nobody has passed over this process meanwhile."""
        return self._without if self._file is None else os.fstat(self._file).st_nlink > 0

    def free(self) -> bool:
        """Whether it could be taken with others now, for a lock that is not held. Microseconds."""
        if self._file is None:
            return self._without
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return os.fstat(self._file).st_nlink > 0

    def woken(self) -> bool:
        """Whether one of those whom this one passed over lives after all, since then."""
        return any(os.fstat(file).st_mtime_ns != beat for file, beat in self._passed_over)

    def release(self) -> None:
        if self._file is not None:
            _heart.remove(self._file)
            with suppress(OSError):
                if self._kept and not self.mine():
                    os.utime(self._file)  # whoever passed over this process is to know that it lives (`woken`)
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._kept = False

    def close(self) -> None:
        """Let go of everything."""
        self.release()
        self.forked()

    def __del__(self) -> None:
        with suppress(Exception):  # where an interruption came between it and its end
            self.close()

    def forked(self) -> None:
        """Have nothing open: in the child of a fork the parent's lock would outlive the parent."""
        for file in (self._file, *(file for file, _ in self._passed_over)):
            if file is not None:
                os.close(file)
        self._file = None
        self._passed_over.clear()

    def _current(self) -> int:
        """The open file of the youngest generation. Raises OSError where there can be none."""
        if self._file is not None:
            if os.fstat(self._file).st_nlink > 0:
                return self._file
            self._drop()
        folder = _folder()
        for _ in range(_MOST_TRIES):
            there = self._generations(folder)
            youngest = max(there, default=0)
            create = 0 if there else os.O_CREAT
            try:
                file = os.open(self._path(folder, youngest), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | create, 0o600)
            except FileNotFoundError:  # it was passed over in this moment
                continue
            # What was made in a moment in which a younger one came and went on would be a lock of one's own.
            if max(self._generations(folder), default=-1) == youngest and os.fstat(file).st_nlink > 0:
                for old in there:
                    if old < youngest:
                        self._path(folder, old).unlink(missing_ok=True)
                self._file, self._generation = file, youngest
                return file
            os.close(file)
        raise OSError(errno.EAGAIN, "no file keeps its name there")

    def _drop(self) -> None:
        self.release()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _generations(self, folder: Path) -> list[int]:
        pattern = re.compile(re.escape(self._name) + r"\.(\d+)\.lock")
        return [int(found[1]) for file in folder.iterdir() if (found := pattern.fullmatch(file.name))]

    def _path(self, folder: Path, generation: int) -> Path:
        return folder / f"{self._name}.{generation}.lock"

    def _wait(self, file: int, kind: int, beside: Lock | None) -> None:
        """Until it is taken, or its holder was passed over, by this process or by another one."""
        waiter = _Waiter(file, kind)
        watched = [(self, file)] if beside is None else [(self, file), (beside, beside._current())]
        for lock, _ in watched:
            lock._watch = _Watch()
        began, told = time.monotonic(), False
        try:
            self._file = None  # it is the waiter's, also when what comes in between ends this wait
            waiter.start()
            while not waiter.over.wait(_LOOK_SECONDS):
                if not told and time.monotonic() - began >= NOTICE_SECONDS:
                    told = True
                    _say(f"waiting for {holders(file)} on this machine, which holds {self._label}")
                if os.fstat(file).st_nlink == 0:
                    break
                for lock, its in watched:
                    lock._watch.look(its)
                if self._watch.verdict is not None:
                    for lock, its in watched:
                        lock._pass_over(its)
                    break
            else:
                if waiter.error is not None:
                    raise waiter.error
                self._file = file
        finally:
            if self._file is None:
                waiter.leave()

    def _pass_over(self, file: int) -> None:
        """Put the next generation in the place of this one, if one who holds it has lost it. Who does so at the same
        time does the same."""
        why = self._watch.verdict
        if why is None or nobody_holds(file):
            return
        _say(f"{holders(file)} {why}: passed over, it held {self._label}")
        folder = _folder()
        with suppress(FileExistsError):
            os.close(os.open(self._path(folder, self._generation + 1), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._passed_over.append((os.dup(file), os.fstat(file).st_mtime_ns))
        self._path(folder, self._generation).unlink(missing_ok=True)

    @property
    def _label(self) -> str:
        return f"{self._name}.{self._generation}.lock"

    def _do_without(self, error: OSError) -> None:
        self._without = True
        self._drop()
        where = os.environ.get("FUSION_NAS_LOCKS", tempfile.gettempdir())
        _say_once(
            f"no locks in {where} ({error.strerror or error}): trials may disturb what is measured beside them; set "
            "FUSION_NAS_LOCKS to a folder of yours on a local disk"
        )


def _folder() -> Path:
    """Where this user's locks lie. Raises OSError where that cannot be."""
    folder = Path(os.environ.get("FUSION_NAS_LOCKS", tempfile.gettempdir())) / f"fusion-nas-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is somebody else's")
    return folder


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@cache
def _say_once(line: str) -> None:
    _say(line)


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()
_waiters: weakref.WeakSet[_Waiter] = weakref.WeakSet()
_heart = _Heart()


def _forked() -> None:
    global _heart  # its thread is not there in the child
    _heart = _Heart()
    for lock in tuple(_locks):
        lock.forked()
    for waiter in tuple(_waiters):
        waiter.forked()
    _waiters.clear()


os.register_at_fork(after_in_child=_forked)
