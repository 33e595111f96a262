"""What a free worker waits for at many trials, eight of them side by side: telling its result, and the next proposal.

python -m benchmarks.proposals [TRIALS…]     100 and 1,000 unless given; each trial of the eight takes two seconds
"""

from __future__ import annotations

import heapq
import random
import sys
import time

import numpy as np

from benchmarks.record import SPACE
from nas.proposing.proposer import Problem, Proposal, make_proposer
from search_spaces.architecture import Architecture
from trials.budgets.constraints import Constraint
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.costs import CostTable
from trials.trial import TrialResult, TrialState

#: Of a training, uniform around it; workers; results that are told while the clock runs.
SECONDS, WORKERS, EVENTS = 2.0, 8, 96


def waits(sampler: str, trials: int) -> tuple[list[float], list[float]]:
    """Milliseconds that each of `EVENTS` free workers waited, after so many recorded trials; the processor's."""
    costs, rng = CostTable(SPACE), random.Random(0)
    budget, baseline = (Constraint.parse("macs", "1.05x"),), costs(SPACE.baseline)
    feasibility = Feasibility(SPACE, costs, budget, baseline)
    proposer = make_proposer(
        sampler, Problem(SPACE, feasibility, Pricing(budget, baseline), ("accuracy", "macs"), seed=0)
    )

    def ended(number: int, architecture: Architecture) -> TrialResult:
        found, score = costs(architecture), rng.gauss(0.8, 0.005)
        return TrialResult(
            number, TrialState.COMPLETE, "sampler", architecture, 0, 3, found.macs, found.params, score=score,
            loss=1 - score, images=10_000,
        )  # fmt: skip

    known: dict[str, Architecture] = {}
    while len(known) < trials:
        drawn = feasibility.sample(rng, lambda architecture: architecture.key not in known)
        assert drawn is not None
        known[drawn.key] = drawn
    proposer.replay(ended(number, architecture) for number, architecture in enumerate(known.values()))

    def proposed(number: int) -> Architecture:
        found = proposer.propose(number)
        assert isinstance(found, Proposal)
        return found.architecture

    def until(begun: float) -> float:
        return begun + SECONDS * rng.uniform(0.8, 1.2)

    running = [(0.0, number, proposed(number)) for number in range(trials, trials + WORKERS)]
    running = [(until(time.perf_counter()), number, architecture) for _, number, architecture in running]
    heapq.heapify(running)
    found, own = [], []
    for number in range(trials + WORKERS, trials + WORKERS + EVENTS):
        at, ending, architecture = heapq.heappop(running)
        time.sleep(max(0.0, at - time.perf_counter()))
        began, worked = time.perf_counter(), time.thread_time()
        proposer.tell(ended(ending, architecture))
        following = proposed(number)
        found.append(1000 * (time.perf_counter() - began))
        own.append(1000 * (time.thread_time() - worked))
        heapq.heappush(running, (until(time.perf_counter()), number, following))
    return found, own


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [100, 1_000]
    print(f"{'sampler':>8} {'trials':>7}  {'wait p50':>9} {'p95':>9} {'max':>9}   {'processor p95':>13}   milliseconds")
    for sampler in ("ehvi", "tpe"):
        for size in sizes:
            found, own = waits(sampler, size)
            p50, p95, most = np.percentile(found, (50, 95, 100))
            worked = np.percentile(own, 95)
            print(f"{sampler:>8} {size:>7,}  {p50:>9,.1f} {p95:>9,.1f} {most:>9,.1f}   {worked:>13,.1f}", flush=True)


if __name__ == "__main__":
    main()
