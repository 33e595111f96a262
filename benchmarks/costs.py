"""How fast an architecture is priced."""

from __future__ import annotations

import random

import torch

from benchmarks.timing import in_turn, show
from search_spaces import InputSpec, SearchSpace
from trials.flops import CostTable, count_macs


def main() -> None:
    """Multiply-adds of one ResNet-20 architecture: the cost table beside building and counting it with fvcore."""
    torch.set_num_threads(1)
    space = SearchSpace.named("resnet20", InputSpec(3, 32, 10))
    table = CostTable(space)
    architecture = space.sample(random.Random(0))
    image = torch.zeros(1, 3, 32, 32)
    show(
        in_turn(
            {
                "cost table": lambda: table(architecture),
                "build and count": lambda: count_macs(space.build(architecture), image),
            },
            rounds=15,
        ),
        unit="us",
    )
