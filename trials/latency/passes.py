"""One pass, timed: by the device's own events, or by the wall clock of what has ended when it returns."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from trials.machine.device import exact_float32

#: Makes one forward pass and returns what it took, in milliseconds.
Pass = Callable[[], float]


def clock(run: Callable[[], object], device: torch.device) -> Pass:
    """Of what runs on that device."""
    return _cuda_clock(run, device) if device.type == "cuda" else wall_clock(run)


def wall_clock(run: Callable[[], object]) -> Pass:
    """For what has ended when it returns."""

    def one_pass() -> float:
        start = time.perf_counter_ns()
        run()
        return (time.perf_counter_ns() - start) / 1e6

    return one_pass


def _cuda_clock(run: Callable[[], object], device: torch.device) -> Pass:
    """By the device's own events, the stream empty before: without the synchronisation's own time, and in float32 where
    that is asked for, without TF32."""

    def one_pass() -> float:
        with exact_float32(), torch.cuda.device(device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            start.record()
            run()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end))

    return one_pass
