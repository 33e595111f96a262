"""A quiet device for latency: while one process measures, every other trial on that device stands still.

A readers-writer lock of two locks for each device, across processes: training holds the room shared, a measurement
holds it alone. A writer first takes the turnstile, which readers pass on their way in, so that it
cannot be starved by trials that overlap for ever. The kernel lets go of both when a process dies, and who hangs is
passed over (`trials.machine.lease`): a training that was goes back in when it wakes, a measurement that was does not
count (`Alone.undisturbed`).

Devices are told apart by what `trials.machine.device.lock_name` calls them. Not covered: trials on one GPU disturb a
measurement on another by what they do on the CPU; the reference network measured beside it feels the same. A training
that was passed over for an earlier measurement and wakes in this one may end its batch beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trials.machine.lease import Lock, waited_seconds

__all__ = ["Alone", "Occupancy", "occupied", "quiet", "waited_seconds"]


class Occupancy:
    """One trial's shared hold on a device; `give_way()` between batches lets a measurement in."""

    def __init__(self, synchronise: Callable[[], None], check: Callable[[], None], device: str) -> None:
        """`synchronise` ends work under way on the device (a CUDA synchronisation) before the hold is let go.

        `check` is called between batches; what it raises ends the trial.
        """
        self._turnstile = Lock(f"{device}-turnstile")
        self._room = Lock(f"{device}-room")
        self._synchronise = synchronise
        self._check = check

    def enter(self) -> None:
        self._turnstile.take(alone=False, beside=self._room)
        self._room.take(alone=False)
        self._room.keep()
        self._turnstile.release()

    def give_way(self) -> None:
        """Step aside while a measurement waits or runs; costs microseconds when none does. Raises what `check` does."""
        self._check()
        if not (self._turnstile.free() and self._room.mine()):
            self._synchronise()
            self._room.release()
            self.enter()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let go while this trial waits for somebody else (the engine, between epochs)."""
        self._synchronise()
        self._room.release()
        yield
        self.enter()

    def leave(self) -> None:
        try:
            self._synchronise()
        finally:
            self._turnstile.close()
            self._room.close()


@contextmanager
def occupied(
    synchronise: Callable[[], None] = lambda: None, check: Callable[[], None] = lambda: None, device: str = "cpu"
) -> Iterator[Occupancy]:
    """Train inside, on that device: `with occupied() as machine: … machine.give_way()`."""
    hold = Occupancy(synchronise, check, device)
    try:
        hold.enter()
        yield hold
    finally:
        hold.leave()


class Alone:
    """One measurement's hold on a device."""

    def __init__(self, turnstile: Lock, room: Lock) -> None:
        self._locks = turnstile, room

    @property
    def undisturbed(self) -> bool:
        """Whether nobody has passed over this process, as over one that hangs, and trained beside it; and none of those
        whom it has passed over itself has come back. To be asked inside."""
        return all(lock.mine() and not lock.woken() for lock in self._locks)


@contextmanager
def quiet(device: str = "cpu") -> Iterator[Alone]:
    """Measure inside: no other trial of this user on that device of this machine computes meanwhile."""
    turnstile, room = Lock(f"{device}-turnstile"), Lock(f"{device}-room")
    try:
        turnstile.take(alone=True, beside=room)
        turnstile.keep()
        room.take(alone=True)
        room.keep()
        yield Alone(turnstile, room)
    finally:
        room.close()
        turnstile.close()
