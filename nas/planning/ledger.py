"""What is left of a search's hours while it runs: what earlier sessions took, this one, and what its trainings hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nas.planning.dividing import Means
from trials.record.effort import Effort


@dataclass(frozen=True)
class Limits:
    """Seconds on the clock, and of devices that trainings hold, of all sessions together; None: no limit."""

    seconds: float | None = None
    device_seconds: float | None = None

    @property
    def any(self) -> bool:
        return self.seconds is not None or self.device_seconds is not None


class Ledger:
    """Keeps account of a session. `before` is what earlier ones took, `prepared_s` what this one had taken when it was
    begun; trainings run on `workers` that hold `devices` each. Not thread-safe, but for `held`."""

    def __init__(
        self, limits: Limits, before: Effort, prepared_s: float, workers: int, devices: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.limits, self.workers, self.devices = limits, workers, devices
        self._before, self._clock = before, clock
        self._began = clock() - prepared_s
        self._held = 0.0
        #: By number: when it was begun, and how long it was expected to take (None: not known).
        self._running: dict[int, tuple[float, float | None]] = {}

    def begun(self, number: int, expected_s: float | None) -> None:
        self._running[number] = self._clock(), expected_s

    def ended(self, number: int, seconds: float | None) -> None:
        """`seconds` is what the training says that it took; None where it cannot."""
        began, _ = self._running.pop(number)
        self._held += self.devices * (self._clock() - began if seconds is None else seconds)

    def spent(self, seconds: float) -> None:
        """So long was one worker held by what is no training of a source: what all start from."""
        self._held += self.devices * seconds

    def held(self) -> float:
        """Device seconds of what runs now."""
        now = self._clock()
        return self.devices * sum(now - began for began, _ in list(self._running.values()))

    @property
    def effort(self) -> Effort:
        """All that was taken, until now."""
        seconds = self._before.seconds + self._clock() - self._began
        return Effort(seconds, self._before.device_seconds + self._held + self.held())

    @property
    def seconds_left(self) -> float | None:
        return None if self.limits.seconds is None else self.limits.seconds - self.effort.seconds

    @property
    def device_seconds_left(self) -> float | None:
        return None if self.limits.device_seconds is None else self.limits.device_seconds - self.effort.device_seconds

    @property
    def over(self) -> bool:
        """Whether nothing is left of one of them."""
        return any(left is not None and left <= 0 for left in (self.seconds_left, self.device_seconds_left))

    def means(self, look_s: tuple[float, ...] = (), final_s: float = 0.0, fixed_s: float = 0.0) -> Means:
        """What is left, and what is to be done with it: see `Means`."""
        now = self._clock()
        rest = [max(0.0, (expected or 0.0) - (now - began)) for began, expected in self._running.values()]
        return Means(
            self.seconds_left, self.device_seconds_left, self.workers, self.devices, look_s, final_s, fixed_s,
            tuple(rest),
        )  # fmt: skip
