"""What is measured is what was found: maps of its own height and width."""

from __future__ import annotations

import torch
from torch import nn

from search_spaces import discover
from trials.latency.bench import LatencyBench
from trials.machine.target import Target
from trials.trial import LatencyProtocol


class Oblong(nn.Module):
    """Of images of 8 by 24 pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3 * 8 * 24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((x + self.conv(x)).flatten(1))


def test_a_network_that_is_not_for_squares_is_measured_on_its_own_shape() -> None:
    space = discover(Oblong(), torch.zeros(2, 3, 8, 24), operators=("add", "concat"))
    measured = LatencyBench(space, Target(), LatencyProtocol(passes=10)).measure(space.baseline)
    assert measured.latency.p50_ms > 0
