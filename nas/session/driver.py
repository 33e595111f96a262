"""The search itself, whatever runs its trials: hands out jobs, prices and records results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.engines.interruption import Interruption
from nas.proposing.controls import controls, first_controls
from nas.proposing.proposer import Problem, Proposer
from nas.session.keeping import Keeping
from nas.session.weights import Weights
from nas.telling import Observer
from reports.collecting import uncollected
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.costs import CostTable
from trials.record.store import Store
from trials.record.training import OF_THE_MACHINE, Training
from trials.trial import EpochPoint, Failure, Timing, TrialJob, TrialResult, TrialState

#: So many candidates in a row were gated before training: the budgets leave little, which is said.
MANY_GATED_IN_A_ROW = 50
#: Of these, how many may come from the sampler before one is drawn from within the budgets instead.
MAX_GATED_PROPOSALS = 10


@dataclass(frozen=True)
class Look:
    """How every trial of a search is trained: under which seed, for how many epochs, and from what.

    One seed for all: common random numbers make candidates comparable.
    """

    seed: int
    epochs: int
    start: str


class Driver:
    """Hands out jobs until `wanted` trials were trained, and records every result, one transaction each.

    Not thread-safe: an engine calls it from one thread.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        problem: Problem,
        costs: CostTable,
        proposer: Proposer,
        wanted: int,
        look: Look,
        observer: Observer,
        interruption: Interruption,
        another: Callable[[int], bool] = lambda epochs: True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`another` says whether a look of so many epochs may be begun now; once it says no, none ever is."""
        self._another, self._refused, self._say = another, False, say
        self._weights, self._keeping = Weights(folder, store.check_held), Keeping(store, say)
        self._store = store
        self._feasibility = problem.feasibility
        self._costs = costs
        self._proposer = proposer
        self._wanted = wanted
        self._look = look
        self._observer = observer
        self._interruption = interruption
        self._view = RunView.of(folder, store)
        recorded = self._view.results
        #: What was trained beside the trials and would be trained for them: it is taken instead.
        self._there = {
            training.architecture.key: training
            for training in self._view.beside
            if training.error is None and training.identity[1:] == (look.seed, look.epochs, look.start)
        }
        self._stopped = [r for r in recorded if r.state is TrialState.STOPPED]
        self._numbers = {r.number for r in recorded}
        self._lowest = 0  # no number below it is free
        self._trained = sum(r.state in (TrialState.COMPLETE, TrialState.FAILED) for r in recorded)
        self._gated_in_a_row = gated_in_a_row(recorded)
        self.exhausted = False
        self._in_vain = -1  # with so many results nothing was found to try
        self.running: dict[int, TrialJob] = {}
        self._lost = 0  # with their workers in this session: the next one tries them again
        self._proposed: dict[int, tuple[float, float]] = {}
        replay(proposer, self._view)
        for result in self._stopped:
            proposer.reserve(result.architecture)
        beginning = first_controls if proposer.opens else controls
        self._controls = beginning(problem.space, problem.feasibility)

    def next_job(self) -> TrialJob | None:
        """The next trial to run; None when enough were given out or none is left to try."""
        with self._interruption.shielded():
            began = time.perf_counter()
            job = self._next_job()
            if job is not None:
                self._proposed[job.number] = began, time.perf_counter()
            return job

    def _next_job(self) -> TrialJob | None:
        if self.running and self._in_vain == len(self._view.results):
            return None
        while not self.exhausted and self._trained + self._lost + len(self.running) < self._wanted and self._allowed():
            job = self._propose()
            if job is None:
                self.exhausted = not self.running  # what these come to may be near something else
                self._in_vain = len(self._view.results)
                return None
            if (
                self._feasibility(job.architecture) and self._proposer.fast_enough(job.architecture)
            ) or job.origin == "baseline":
                if job.architecture.key not in self._there:
                    return self._start(job)
                self._adopt(job, self._there.pop(job.architecture.key))
                continue
            self._gated()
            self._record(TrialResult.of(job, TrialState.GATED))
        return None

    def _gated(self) -> None:
        self._gated_in_a_row += 1
        if self._gated_in_a_row == MANY_GATED_IN_A_ROW:
            self._say(
                f"the budgets are narrow: {MANY_GATED_IN_A_ROW} candidates in a row were over them before training; "
                "the search goes on near what is within them"
            )

    @property
    def why_exhausted(self) -> str:
        """Why nothing was left to try: whether that is proven, or nothing was found."""
        if self._proposer.nothing_left:
            return "no unseen architecture within the budgets was left to try"
        return (
            "no unseen architecture within the budgets was found, though more may be: a wider budget, or operators "
            "that cost less, would leave more"
        )

    def _allowed(self) -> bool:
        self._refused = self._refused or not self._another(self._look.epochs)
        return not self._refused

    def _adopt(self, job: TrialJob, training: Training) -> None:
        """The trial has its result from a training that something else asked for."""
        self._trained += 1
        self._gated_in_a_row = 0
        self._weights.adopt(training, job.number)
        self._record(training.as_trial(job))

    def _start(self, job: TrialJob) -> TrialJob:
        self.running[job.number] = job
        self._observer.started(job)
        return job

    @property
    def view(self) -> RunView:
        """The run as it is recorded now, not estimated."""
        return self._view

    @property
    def trained(self) -> int:
        """Trials that were trained, well or not."""
        return self._trained

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to hand out or to wait for."""
        enough = self.exhausted or self._refused or self._trained + self._lost >= self._wanted
        return not self.running and enough

    def advance(self, number: int, point: EpochPoint) -> None:
        """A running trial has ended an epoch."""
        self._observer.advanced(number, point)

    def record(self, result: TrialResult, weights: bytes | None) -> None:
        """A running trial has ended. Weights are kept for the baseline and for what is on a front."""
        with self._interruption.shielded():
            returned = time.perf_counter()
            job = self.running.pop(result.number)
            asked, proposed = self._proposed.pop(job.number)
            if result.state is TrialState.GATED:
                self._gated()
            else:
                self._gated_in_a_row = 0
                self._trained += 1
            if weights is not None:
                self._weights.write(result.number, weights)
            timing = result.timing or Timing()
            transit_s = returned - proposed - timing.worker_s
            timing = replace(timing, proposal_s=proposed - asked, transit_s=max(0.0, transit_s))
            self._record(replace(result, timing=timing))
            # In a transaction of its own, which is not counted: a result cannot tell what recording it took.
            self._store.put_timing(result.number, replace(timing, record_s=time.perf_counter() - returned))

    def fail(self, number: int, failure: Failure, error: str) -> None:
        """A running trial's worker is gone. Where that says nothing of its architecture it is not trained, and is
        recorded as stopped: the next session tries it again."""
        if failure not in OF_THE_MACHINE:
            self.record(TrialResult.of(self.running[number], TrialState.FAILED, failure=failure, error=error), None)
            return
        with self._interruption.shielded():
            self._proposed.pop(number)
            lost = TrialResult.of(self.running.pop(number), TrialState.STOPPED, error=error)
            self._lost += 1
            self._store.append(lost)
            self._view = self._view.with_result(lost)
            self._observer.ended(lost, self._view)

    def keep(self, training: Training, weights: bytes) -> None:
        """The weights of something that is no trial, before it is recorded. They are kept as a trial's are."""
        self._weights.write_of(training, weights)

    def learn(self, training: Training) -> None:
        """Something that is no trial was trained, and is recorded."""
        self._view = self._view.with_training(training)
        self._proposer.learn(training)
        self._weights.prune(self._view)
        self._keeping.grown(self._view)

    def close(self) -> None:
        """Nothing more will be recorded through it."""
        self._keeping.close()

    def stop(self) -> None:
        """The search is interrupted: what runs is recorded as stopped, to be run again on resumption."""
        for job in self.running.values():
            self._store.append(TrialResult.of(job, TrialState.STOPPED, error="interrupted with the search"))
        self.running.clear()

    def _record(self, result: TrialResult) -> None:
        self._store.append(result)
        self._proposer.tell(result)
        self._view = self._view.with_result(result)
        self._weights.prune(self._view)
        self._keeping.grown(self._view)
        self._observer.ended(result, self._view)

    def _propose(self) -> TrialJob | None:
        if self._stopped:
            old = self._stopped.pop(0)
            return self._job(old.number, old.origin, old.architecture)
        while self._lowest in self._numbers:
            self._lowest += 1
        number = self._lowest
        for origin, architecture in self._controls:
            if self._proposer.reserve(architecture):
                return self._job(number, origin, architecture)
        propose = self._proposer.propose
        if self._gated_in_a_row >= MAX_GATED_PROPOSALS:
            propose = self._proposer.propose_within_budget
        proposal = propose(number)
        return None if proposal is None else self._job(number, proposal.origin, proposal.architecture)

    def _job(self, number: int, origin: str, architecture: Architecture) -> TrialJob:
        self._numbers.add(number)
        costs = self._costs(architecture)
        workload = self._costs.workload(architecture)
        seed, epochs, start = self._look.seed, self._look.epochs, self._look.start
        return TrialJob(number, origin, architecture, seed, epochs, costs.macs, costs.params, workload, start)


def replay(proposer: Proposer, view: RunView) -> None:
    """Tell what is recorded, trials by their numbers, and each training beside them where it was recorded."""
    waiting = deque(view.results)
    with uncollected():
        for number, training in view.in_order():
            if number is None:
                proposer.learn(training)
            else:
                while waiting and waiting[0].number <= number:
                    proposer.replay([waiting.popleft()])
        proposer.replay(waiting)


def gated_in_a_row(results: Sequence[TrialResult]) -> int:
    """How many of the last results, by number, were gated before training: a search that goes on counts on."""
    ended = [result for result in results if result.state is not TrialState.STOPPED]
    return next((n for n, result in enumerate(reversed(ended)) if result.trained), len(ended))
