"""Latency: p50 and p95 of real forward passes, warm, interleaved with a reference network."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from trials.device import on_device
from trials.quiet import quiet
from trials.trial import Latency, LatencyProtocol

#: A slow network is measured for this long, when that comes before the protocol's passes.
MAX_SECONDS = 2.0
MIN_PASSES = 30


def measure_latency(
    candidate: nn.Module,
    reference: nn.Module,
    images: torch.Tensor,
    protocol: LatencyProtocol,
    nominal_reference_p50_ms: float | None = None,
) -> Latency:
    """Measure `candidate` on `images` [B, C, H, W], both on the target device, the machine kept quiet.

    The candidate's figures are multiplied by nominal / measured p50 of `reference`, which cancels a
    drift of the machine's clock that both feel. Without a nominal figure the reference's own is taken.
    """
    candidate, reference = (on_device(network, images.device).eval() for network in (candidate, reference))
    clock = _cuda_pass if images.device.type == "cuda" else _cpu_pass
    best: Latency | None = None
    for _ in range(protocol.attempts):
        with quiet(), torch.inference_mode():
            own, other = _interleave(clock, candidate, reference, images, protocol)
        measured = _summarise(own, other, protocol, nominal_reference_p50_ms)
        if best is None or measured.drift + measured.spread < best.drift + best.spread:
            best = measured
        if measured.stable:
            return measured
    assert best is not None
    return best


def _interleave(
    clock: Callable[[nn.Module, torch.Tensor], float],
    candidate: nn.Module,
    reference: nn.Module,
    images: torch.Tensor,
    protocol: LatencyProtocol,
) -> tuple[list[float], list[float]]:
    """Milliseconds of each pass of the two networks, taken in alternating blocks after a warm-up."""
    for network in (candidate, reference):
        for _ in range(protocol.warmup):
            clock(network, images)
    own: list[float] = []
    other: list[float] = []
    deadline = time.monotonic() + MAX_SECONDS
    while len(own) < protocol.passes and (len(own) < MIN_PASSES or time.monotonic() < deadline):
        own.extend(clock(candidate, images) for _ in range(protocol.block))
        other.extend(clock(reference, images) for _ in range(protocol.block))
    return own, other


def _cpu_pass(network: nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter_ns()
    network(images)
    return (time.perf_counter_ns() - start) / 1e6


def _cuda_pass(network: nn.Module, images: torch.Tensor) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    network(images)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _summarise(own: list[float], other: list[float], protocol: LatencyProtocol, nominal: float | None) -> Latency:
    p25, p50, p75, p95 = (float(value) for value in np.percentile(own, [25, 50, 75, 95]))
    reference = float(np.median(other))
    half = len(other) // 2
    drift = abs(float(np.median(other[half:]) / np.median(other[:half])) - 1.0)
    spread = (p75 - p25) / p50
    nominal = reference if nominal is None else nominal
    correction = nominal / reference
    return Latency(
        p50_ms=p50 * correction,
        p95_ms=p95 * correction,
        raw_p50_ms=p50,
        raw_p95_ms=p95,
        reference_p50_ms=reference,
        nominal_reference_p50_ms=nominal,
        drift=drift,
        spread=spread,
        stable=drift <= protocol.max_drift and spread <= protocol.max_spread,
        passes=len(own),
    )
