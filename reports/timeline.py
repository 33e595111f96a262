"""Who worked when: each trial's time in its worker, the workers of a host in lanes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from reports.view import RunView
from trials.trial import TrialResult

#: Seconds by which two trials of one worker may seem to overlap: moments of recording are those of the driver.
_SLACK_S = 0.5


@dataclass(frozen=True)
class Bar:
    """A trial's time on a worker, in seconds from the start of the run. `lane` is a place among the lanes' names,
    `process` the worker's process, empty where it was not recorded."""

    number: int
    lane: int
    process: str
    start: float
    end: float
    state: str


@dataclass(frozen=True)
class _Shift:
    """What keeps a lane to itself from `start` to `end`: a worker with all its trials, or one trial whose worker is not
    known."""

    host: str
    process: str
    start: float
    end: float
    numbers: tuple[int, ...]


def timeline_of(view: RunView) -> tuple[list[str], list[Bar]]:
    """The names of the lanes, and the bars in the order in which they began.

    A worker is a process on a host. One that began when another of its host had ended has that one's lane. Records of
    before name hosts alone: then a trial stands in the first lane of its host that was free.
    """
    begun = view.sessions[0].started_at if view.sessions else None
    if begun is None:
        return [], []
    spans: dict[int, tuple[float, float]] = {}
    by_worker: dict[tuple[str, str, int], list[int]] = {}
    states: dict[int, str] = {}
    for result in (t.result for t in view.trials):
        if result.seconds <= 0 or result.number not in view.moments:
            continue
        end = view.moments[result.number] - begun
        spans[result.number] = max(0.0, end - result.seconds), end
        states[result.number] = str(result.state)
        host, process = _worker(result)
        by_worker.setdefault((host, process, -1 if process else result.number), []).append(result.number)
    shifts = [
        _Shift(host, process, min(spans[n][0] for n in some), max(spans[n][1] for n in some), tuple(some))
        for (host, process, _), some in by_worker.items()
    ]
    names: list[str] = []
    bars: list[Bar] = []
    for host in sorted({shift.host for shift in shifts}, key=lambda name: (not name, name)):
        own = [shift for shift in shifts if shift.host == host]
        for shift, lane in _in_lanes(own):
            bars += [
                Bar(n, len(names) + lane, shift.process, round(spans[n][0], 1), round(max(spans[n]), 1), states[n])
                for n in shift.numbers
            ]
        lanes = 1 + max(bar.lane for bar in bars) - len(names)
        names += [f"{host or 'host not known'}, {place}" for place in range(1, lanes + 1)]
    return names, sorted(bars, key=lambda bar: (bar.start, bar.number))


def _worker(result: TrialResult) -> tuple[str, str]:
    """Host and process, each empty where it was not recorded."""
    return str(result.environment.get("host") or ""), str(result.environment.get("process") or "")


def _in_lanes(shifts: Iterable[_Shift]) -> Iterable[tuple[_Shift, int]]:
    """Each in the first lane that was free when it began."""
    busy: list[tuple[float, int]] = []  # when each lane is free
    free: list[int] = []
    lanes = 0
    for shift in sorted(shifts, key=lambda one: (one.start, one.numbers)):
        while busy and busy[0][0] <= shift.start + _SLACK_S:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            heapq.heappush(free, lanes)
            lanes += 1
        lane = heapq.heappop(free)
        heapq.heappush(busy, (shift.end, lane))
        yield shift, lane
