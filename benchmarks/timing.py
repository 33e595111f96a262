"""Timing of alternatives in turn, so that a drift of the machine meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def in_turn(alternatives: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each alternative in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for round_number in range(rounds + 1):
        for name, run in alternatives.items():
            began = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def show(seconds: Mapping[str, list[float]], unit: str = "ms", each: int = 1) -> None:
    """Median and range of each, and the ratio to the first, round by round."""
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit] / each
    first = next(iter(seconds.values()))
    for name, values in seconds.items():
        ratios = [value / base for value, base in zip(values, first, strict=True)]
        print(
            f"  {name:<44} {statistics.median(values) * scale:10.2f} {unit} "
            f"({min(values) * scale:.2f} to {max(values) * scale:.2f})  "
            f"{statistics.median(ratios):8.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
        )
