"""What an event costs as a search grows: choosing a trial, and recording how it ended. Run by hand:

python -m benchmarks.events [TRIALS…]        100, 1,000 and 10,000 unless given
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.record import SPACE, fill
from nas.engines.interruption import Interruption
from nas.proposing.proposer import Problem, make_proposer
from nas.session.driver import Driver, Look
from nas.telling import Silence
from reports.view import RunView
from trials.budgets.constraints import Costs
from trials.budgets.feasibility import Feasibility
from trials.costs import CostTable
from trials.record.store import Store
from trials.trial import TrialResult, TrialState

#: Events that are timed at each size.
EVENTS = 60


def events(trials: int, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each of `count` proposals and records, after so many recorded trials."""
    costs = CostTable(SPACE)
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        fill(folder, trials)
        with Store.open_for_writing(folder / "study.db") as store:
            pricing = RunView.of(folder, store).pricing
            feasibility = Feasibility(SPACE, costs, (), Costs(41_000_000, 270_000, 1.0))
            problem = Problem(SPACE, feasibility, pricing, ("accuracy", "macs"), 0)
            driver = Driver(
                folder, store, problem, costs, make_proposer("tpe", problem), trials + count + 20,
                Look(0, 3, "scratch"), Silence(), Interruption(),
            )  # fmt: skip
            proposing: list[float] = []
            recording: list[float] = []
            while len(recording) < count:
                began = time.perf_counter()
                job = driver.next_job()
                ended = time.perf_counter()
                assert job is not None
                outcome = replace(
                    TrialResult.of(job, TrialState.COMPLETE, score=rng.random(), loss=rng.random()), seconds=20.0
                )
                again = time.perf_counter()
                driver.record(outcome, b"weights")
                if job.origin in ("sampler", "random"):
                    proposing.append(1000 * (ended - began))
                    recording.append(1000 * (time.perf_counter() - again))
    return proposing, recording


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [100, 1_000, 10_000]
    print(f"{'trials':>7}  {'proposal p50':>12} {'p95':>9}  {'record p50':>11} {'p95':>9}   milliseconds")
    for size in sizes:
        figures = [np.percentile(part, (50, 95)) for part in events(size, EVENTS if size < 5_000 else EVENTS // 2)]
        (a, b), (c, d) = figures
        print(f"{size:>7,}  {a:>12,.1f} {b:>9,.1f}  {c:>11,.1f} {d:>9,.1f}", flush=True)


if __name__ == "__main__":
    main()
