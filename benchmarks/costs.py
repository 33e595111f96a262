"""How fast an architecture is priced, and how fast the feasible part of a space is counted and sampled."""

from __future__ import annotations

import random
import time

import torch

from benchmarks.timing import in_turn, show
from search_spaces import InputSpec, SearchSpace
from trials.costs import CostTable, FeasibleSet, count_macs, feasible_set

#: The largest spaces of the catalogue at the input sizes that they were designed for.
LARGE = ("resnet20", "resnet50", "resnext50", "resnet18-pan", "resnet56", "resnet50-fpn", "resnet101")


def main() -> None:
    """Multiply-adds of one architecture: the cost table beside building and counting; then whole feasible sets."""
    torch.set_num_threads(1)
    for name in ("resnet20", "resnet50"):
        query(SearchSpace.named(name, InputSpec(3, 32, 10)))
    print("  architectures within budgets; tight: 1.05x macs, wide: the mean of each cost")
    for name in LARGE:
        count(SearchSpace.named(name))


def query(space: SearchSpace) -> None:
    """A thousand architectures priced beside one built and counted."""
    table = CostTable(space)
    rng = random.Random(0)
    thousand = [space.sample(rng) for _ in range(1000)]
    image = torch.zeros(1, space.input.channels, space.input.size, space.input.size)
    print(f"  {space.name}, {len(space.points)} points")
    show(in_turn({"cost table": lambda: [table(a) for a in thousand]}, rounds=15), unit="us", each=1000)
    show(in_turn({"build and count": lambda: count_macs(space.build(thousand[0]), image)}, rounds=5), unit="ms")


def count(space: SearchSpace) -> None:
    """The feasible set under one and under two budgets: seconds to count, milliseconds a sample."""
    table = CostTable(space)
    options = [table.options(variable) for variable in space.variables]
    everything = [sum(max(cost[which] for cost in costs) for costs in options) for which in (0, 1)]
    macs, params = (sum(sum(cost[which] for cost in costs) // len(costs) for costs in options) for which in (0, 1))
    baseline = table(space.baseline)
    tight = int(1.05 * baseline.macs) - table.fixed[0]
    budgets = {
        "tight macs": (tight, everything[1]),
        "wide macs": (macs, everything[1]),
        "wide macs and params": (macs, params),
    }
    for label, bounds in budgets.items():
        began = time.perf_counter()
        found = feasible_set(options, bounds)
        counted = time.perf_counter()
        rng = random.Random(0)
        for _ in range(20):
            found.sample(rng)
        sampled = (time.perf_counter() - counted) / 20
        shares = f"{found.at_least / space.size:.4%}"
        if not isinstance(found, FeasibleSet):
            shares += f" to {found.at_most / space.size:.4%}"
        took = f"{counted - began:7.2f} s, {1e3 * sampled:7.2f} ms a sample"
        print(f"  {space.name:<14} {space.size:.1e} {label:<22} {took}, {shares}")
