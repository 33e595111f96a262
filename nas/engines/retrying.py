"""What becomes of a job whose worker was lost, or that had too little memory beside others: again, elsewhere or alone.

Between a source of jobs, which is told of each job's end once, and an engine, which may begin a job several times.

- A job whose worker is gone is begun again, `MAX_RETRIES` times at most and elsewhere where there is an elsewhere. Then
  it is told back as lost: nothing is known of its architecture, and a later session tries it again.
- An architecture that itself ends its worker is told back as failed, for good, when it has done so `MOST_CRASHES` times
  while others went on, in this session or in earlier ones whose drivers died. It is begun again only when something
  else has ended meanwhile, or nothing else is left to do.
- A node that loses worker after worker is avoided, and named. Where it is one of its several devices that does, the
  engine is to set that aside alone, and an architecture that ends its workers there is not blamed for it. Where all
  that is tried is lost, the search ends: that is the machine's fault, not the architectures'.
- A job that was out of memory beside others is begun again with a device to itself. Meanwhile nothing new begins where
  it was; elsewhere the others go on. Where none is free for `ALONE_WITHIN_S` though none of ours is there any more
  (other people's work, or a node that is gone), it is begun beside others once more, and what comes of it stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from nas.engines.crashes import MOST_CRASHES, Crashes
from nas.engines.engine import JobSource
from trials.errors import MachineFailing
from trials.trial import EpochPoint, Failure, TrialJob, TrialResult, TrialState

#: How often a job is begun anew whose worker was lost.
MAX_RETRIES = 2
#: Different jobs that a node or a device may lose, with none ending there between them, before it is avoided.
MOST_LOST_ON_A_NODE = 3
#: Losses in a row, with nothing ending anywhere, that are the machine's for certain; more where more run side by side.
MOST_LOST_IN_A_ROW = 6
#: Seconds that a job waits for a device to itself, which nothing of ours keeps from it.
ALONE_WITHIN_S = 600.0

#: The nodes that are there, by their ids: of each device, how many trials it takes side by side.
Room = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Place:
    """Where a job runs: the node's id and address, and which of its devices."""

    node: str
    address: str
    device: str

    def __str__(self) -> str:
        return named([self])


def named(places: Iterable[Place]) -> str:
    """Nodes in words, each with those of its GPUs that are among the places."""
    gpus: dict[str, set[str]] = {}
    for place in places:
        here = gpus.setdefault(f"node {place.address} ({place.node[:8]})", set())
        here |= set(place.device.split(",")) - {"cpu", "unknown"}
    return "; ".join(
        f"{node}, GPU{'s' if len(there) > 1 else ''} {', '.join(sorted(there))}" if there else node
        for node, there in gpus.items()
    )


@dataclass(frozen=True)
class Attempt:
    """A job to begin: with a device to itself where it is to be alone, and never on the nodes that are avoided."""

    job: TrialJob
    alone: bool = False
    where: str | None = None  # the node on which it had too little memory, where that is known
    avoided: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Crash:
    place: Place | None  # None in an earlier session
    text: str


@dataclass
class _Run:
    job: TrialJob
    begun: int = 0  # how often
    attempt: Attempt | None = None  # the last
    place: Place | None = None  # where it runs, once that is known; where it last ran while it waits
    alone: bool = False
    free_since: float | None = None  # it is to be alone, and since then nothing of ours runs where it was
    beside_again: bool = False  # no device was to be had alone
    beside: bool = False
    crashes: list[_Crash] = field(default_factory=list)  # of its workers
    ended_at_crash: int = 0  # how many jobs had ended when its worker first crashed, and when it was last lost
    ended_at_loss: int = -1
    placed_at: float | None = None  # by the clock, while it runs
    held_s: float = 0.0  # its workers, in all
    losses: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    lost_on: set[str] = field(default_factory=set)


class Retrying:
    """A source of jobs as an engine takes them that begins some again. Not thread-safe."""

    def __init__(
        self,
        source: JobSource,
        say: Callable[[str], None],
        most: int | None = None,
        spare: int = 0,
        clock: Callable[[], float] = time.monotonic,
        crashes: Crashes | None = None,
    ) -> None:
        """At most `most` run side by side (None: as many as there is room for, and `spare` that wait for more).
        `crashes` are those of earlier sessions, and where this one's are kept."""
        self._source, self._say, self._most, self._spare, self._clock = source, say, most, spare, clock
        self._running: dict[int, _Run] = {}
        self._again: list[_Run] = []
        self._crashes = crashes or Crashes()
        self._unproven: list[TrialJob] = []  # workers of theirs died, and nothing has ended since
        self._crashed: list[_Run] = []  # more often than they may; nothing has ended yet to hold it against
        self._alone: list[_Run] = []
        self._ended = self._lost_in_a_row = 0
        self._lost_at: dict[Place, None] = {}  # in a row, in their order
        self._lost: dict[str, dict[Place, set[int]]] = {}  # by node and device, the jobs since one ended on that node
        self._lost_by: dict[Place, set[int]] = {}  # the same since one ended on that device
        self._named: set[str] = set()
        self._room: Room = {}

    @property
    def finished(self) -> bool:
        return self._source.finished

    @property
    def avoided(self) -> set[str]:
        """The nodes that keep losing workers, by more than one of their devices, unless there is no other."""
        bad = {node for node, lost in self._lost.items() if self._loses_all_over(lost)}
        return bad if self._room.keys() - bad else set()

    @property
    def sick(self) -> set[Place]:
        """Devices that keep losing workers, each one of several of its node."""
        many = (place for place, jobs in self._lost_by.items() if len(jobs) >= MOST_LOST_ON_A_NODE)
        return set(filter(self._is_one_of_many, many))

    def set_aside(self, place: Place) -> None:
        """No job will begin on that device any more."""
        self._say(f"{place} keeps losing workers and is set aside, {MOST_LOST_ON_A_NODE} in a row")
        self._lost_by.pop(place, None)
        self._lost.get(place.node, {}).pop(place, None)
        for run in (*self._again, *self._crashed, *self._running.values()):
            if any(crash.place == place for crash in run.crashes):  # that was the device's doing
                run.crashes = [crash for crash in run.crashes if crash.place != place]
                self._crashes.put(run.job, [crash.text for crash in run.crashes])

    def next_attempt(self, room: Room) -> Attempt | None:
        """What to begin next; None when there is nothing, for now or for good, or no room."""
        self._room = room
        if self._alone and not any(run.alone for run in self._running.values()):
            alone = self._alone.pop(0)
            alone.alone = True
            return self._begin(alone, self.avoided)
        held = self._held()
        if held is None or not self._has_room(held):
            return None
        run = self._next()
        if run is None:
            return None
        avoided = self.avoided | held
        elsewhere = avoided | run.lost_on
        return self._begin(run, elsewhere if room.keys() - elsewhere else avoided)

    def begun(self, number: int, place: Place) -> None:
        """A worker runs it, there."""
        run = self._running[number]
        run.place, run.placed_at = place, self._clock()
        for other in self._running.values():
            if other is not run and other.place == place:
                run.beside = other.beside = True

    def crowded_out(self) -> int | None:
        """A job that has waited long enough for a device to itself, and is handed out anew without one; the engine is
        to drop what it waits for."""
        for run in self._running.values():
            if not run.alone or run.place is not None:
                continue
            if any(other.place is not None and other.place.node in run.lost_on for other in self._running.values()):
                run.free_since = None
                continue
            run.free_since = self._clock() if run.free_since is None else run.free_since
            if self._clock() - run.free_since >= ALONE_WITHIN_S:
                del self._running[run.job.number]
                run.begun -= 1
                run.alone, run.beside_again, run.ended_at_loss = False, True, -1
                run.reasons.append(f"no device was free for it alone within {ALONE_WITHIN_S:g} s, then beside others")
                self._again.append(run)
                return run.job.number
        return None

    def stuck(self, fits: Callable[[Attempt], bool]) -> bool:
        """Whether all that was handed out waits for nodes that are there no more."""
        waiting = [run for run in self._running.values() if run.place is None]
        if not waiting or len(waiting) < len(self._running):
            return False
        return not any(run.attempt is not None and fits(run.attempt) for run in waiting)

    def take_back(self) -> None:
        """What was handed out has not begun, and will not: it is handed out anew, as the nodes are now."""
        for run in self._running.values():
            run.begun -= 1
            run.ended_at_loss = -1
            (self._alone if run.alone else self._again).append(run)
        self._running.clear()

    def advance(self, number: int, point: EpochPoint) -> None:
        self._source.advance(number, point)

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        """A job has ended, well or not."""
        run = self._over(result.number)
        self._goes_on(run)
        if result.failure is Failure.OUT_OF_MEMORY and self._alone_instead(run):
            return
        self._crashes.put(run.job, ())
        environment = {**result.environment, **({"earlier_attempts": list(run.reasons)} if run.reasons else {})}
        self._source.record(replace(result, attempts=run.begun, environment=environment), weights)

    def lost(self, number: int, failure: Failure, error: str, node_died: bool = False) -> None:
        """Its worker is gone. Raises MachineFailing when that is all that happens any more."""
        run = self._over(number)
        text = f"{error} [{run.place}]" if run.place is not None else error
        if failure is Failure.OUT_OF_MEMORY and self._alone_instead(run):
            return
        if failure is not Failure.WORKER_LOST:
            self._fail(run, failure, text)
            return
        crashed = run.place is not None and not node_died and run.place.node not in self.avoided
        self._note_loss(run, text)
        if crashed and run.place is not None:
            # A node that has died meanwhile took its worker with it: only a dead worker was seen of it then.
            run.crashes = [crash for crash in run.crashes if crash.place is None or crash.place.node in self._room]
            run.ended_at_crash = run.ended_at_crash if run.crashes else self._ended
            if not (self._is_one_of_many(run.place) and any(crash.place == run.place for crash in run.crashes)):
                run.crashes.append(_Crash(run.place, text))
            self._crashes.put(run.job, [crash.text for crash in run.crashes])
            self._unproven.append(run.job)
        if len(run.crashes) >= MOST_CRASHES:
            if self._ended > run.ended_at_crash:
                self._blame(run)
            else:
                self._crashed.append(run)
        elif len(run.losses) > MAX_RETRIES:
            self._give_up(run)
        else:
            # A crash may be its own: something else first, which tells. What the machine took is begun at once, unless
            # the GPU that took it is likely to be the next that is free.
            by_one = run.place is not None and self._is_one_of_many(run.place)
            run.ended_at_loss = self._ended if crashed or by_one else -1
            self._again.append(run)

    def _over(self, number: int) -> _Run:
        """It runs no more."""
        run = self._running.pop(number)
        if run.placed_at is not None:
            run.held_s += self._clock() - run.placed_at
            run.placed_at = None
        return run

    def _next(self) -> _Run | None:
        for run in self._again:
            if self._ended > run.ended_at_loss:
                self._again.remove(run)
                return run
        new = self._new()
        if new is not None:
            return new
        if self._again:
            return self._again.pop(0)
        while self._crashed and not self._running:
            # Workers that were warm have died of it twice, and nothing is left that could tell more.
            crashed, self._crashed = self._crashed, []
            for run in crashed:
                self._blame(run)
            new = self._new()
        return new

    def _new(self) -> _Run | None:
        """What the source has next, unless workers have died of it in earlier sessions as often as they may."""
        while (job := self._source.next_job()) is not None:
            earlier = self._crashes.of(job)
            run = _Run(job, begun=len(earlier), crashes=[_Crash(None, text) for text in earlier], reasons=list(earlier))
            if len(earlier) < MOST_CRASHES:
                return run
            self._crashed.append(run)
        return None

    def _begin(self, run: _Run, avoided: set[str]) -> Attempt:
        run.begun += 1
        run.place, run.beside = None, False
        self._running[run.job.number] = run
        where = next(iter(run.lost_on), None) if run.alone else None
        run.attempt = Attempt(run.job, run.alone, where, tuple(sorted(avoided & self._room.keys())))
        return run.attempt

    def _held(self) -> set[str] | None:
        """Nodes where nothing may begin, for a job waits to be alone there; None where that is everywhere."""
        waiting = next((run for run in self._running.values() if run.alone and run.place is None), None)
        if waiting is None:
            return set()
        held = waiting.lost_on
        return held if held and self._room.keys() - held - self.avoided else None

    def _has_room(self, held: set[str]) -> bool:
        if not self._running:
            return True
        closed = self.avoided | held
        alone = next((run for run in self._running.values() if run.alone), None)
        there = [
            run
            for run in self._running.values()
            if (not run.alone if run.place is None else run.place.node not in closed)
        ]
        if self._most is not None and len(self._running) >= self._most:
            return False
        if alone is None and self._most is not None:
            return True
        slots = sum(sum(devices) for node, devices in self._room.items() if node not in closed)
        if alone is not None and alone.place is not None:  # it has a device to itself
            slots -= max(self._room.get(alone.place.node, (1,))) - 1
        return len(there) < slots + (self._spare if alone is None else 0)

    def _goes_on(self, run: _Run) -> None:
        """Workers survive, that one's for example."""
        self._ended += 1
        self._lost_in_a_row = 0
        self._lost_at.clear()
        self._unproven.clear()
        if run.place is not None:
            self._lost.pop(run.place.node, None)
            self._lost_by.pop(run.place, None)
        crashed, self._crashed = self._crashed, []
        for other in crashed:
            self._blame(other)

    def _loses_all_over(self, lost: Mapping[Place, set[int]]) -> bool:
        """Whether a node does that has lost these, and not one of its devices alone."""
        places = [place for place, jobs in lost.items() if jobs]
        one = len(places) == 1 and self._is_one_of_many(places[0])
        return not one and len(set().union(*lost.values())) >= MOST_LOST_ON_A_NODE

    def _is_one_of_many(self, place: Place) -> bool:
        """Whether it is a single device, and its node has others."""
        return place.device.isdecimal() and len(self._room.get(place.node, ())) > 1

    def _alone_instead(self, run: _Run) -> bool:
        """Whether a job that was out of memory is begun again alone: it was not."""
        if run.alone or run.beside_again or not run.beside:
            return False
        run.reasons.append("out of memory beside other trials, then alone")
        run.lost_on = set() if run.place is None else {run.place.node}
        self._alone.append(run)
        return True

    def _note_loss(self, run: _Run, text: str) -> None:
        run.losses.append(text)
        run.reasons.append(text)
        self._lost_in_a_row += 1
        if run.place is not None:
            run.lost_on.add(run.place.node)
            self._lost_at[run.place] = None
            self._lost.setdefault(run.place.node, {}).setdefault(run.place, set()).add(run.job.number)
            self._lost_by.setdefault(run.place, set()).add(run.job.number)
            if run.place.node in self.avoided - self._named:
                self._named.add(run.place.node)
                self._say(f"{run.place} keeps losing workers and is avoided, {MOST_LOST_ON_A_NODE} in a row: {text}")
        most = max(MOST_LOST_IN_A_ROW, 2 * sum(map(sum, self._room.values())))
        if self._lost_in_a_row >= most:
            self._running[run.job.number] = run  # it has not ended
            for job in self._unproven:
                self._crashes.put(job, ())
            where = f" on {named(self._lost_at)}" if self._lost_at else ""
            raise MachineFailing(
                f"{self._lost_in_a_row} workers were lost in a row{where}, and no trial has ended meanwhile: that is "
                f"the machine's doing, not the architectures' (the last: {text}); mend it and give the same command "
                "again, which tries them again: what had ended is kept"
            )

    def _blame(self, run: _Run) -> None:
        """An architecture has ended its workers by itself: no node's fault."""
        for jobs in (*self._lost_by.values(), *(jobs for lost in self._lost.values() for jobs in lost.values())):
            jobs.discard(run.job.number)
        self._fail(run, Failure.CRASHED, f"its worker died {len(run.crashes)} times: {run.crashes[-1].text}")

    def _fail(self, run: _Run, failure: Failure, error: str) -> None:
        environment = {"earlier_attempts": list(run.reasons)} if run.begun > 1 else {}
        failed = TrialResult.of(
            run.job, TrialState.FAILED, failure=failure, error=error, attempts=run.begun, environment=environment,
            seconds=run.held_s,
        )  # fmt: skip
        self._crashes.put(run.job, ())
        self._source.record(failed, None)

    def _give_up(self, run: _Run) -> None:
        texts = "; ".join(dict.fromkeys(run.losses))
        self._source.fail(run.job.number, Failure.WORKER_LOST, f"lost with its worker {run.begun} times: {texts}")
