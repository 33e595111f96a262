"""The protocol: two networks in alternating blocks of passes, compared block by block.

A block of the candidate is divided by the block of the reference beside it, so that what slows both
(a clock that falls, a neighbour on the machine) cancels within milliseconds; the median of these quotients
is the figure. On a busy machine it repeats four times better than the quotient of the two medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trials.latency.runtimes import eager
from trials.machine.device import lock_name
from trials.machine.quiet import quiet
from trials.trial import Latency, LatencyProtocol

#: A slow network is measured for this long, when that comes before the protocol's passes.
MAX_SECONDS = 2.0
MIN_PASSES = 30
#: Attempts in which somebody came between, or this process was suspended, until such a one has to do.
MOST_DISTURBED = 5

Array = NDArray[np.float64]


def measure_latency(
    candidate: nn.Module,
    reference: nn.Module,
    images: torch.Tensor,
    protocol: LatencyProtocol,
    nominal_reference_p50_ms: float | None = None,
    enough: float = 0.0,
) -> Latency:
    """Measure `candidate`, run eagerly, on `images` [B, C, H, W], both on the target device. See `measure`."""
    own, other = (eager(network.eval(), images) for network in (candidate, reference))
    return measure(own, other, protocol, nominal_reference_p50_ms, lock_name(images.device), enough)


def measure(
    candidate: Callable[[], float],
    reference: Callable[[], float],
    protocol: LatencyProtocol,
    nominal_reference_p50_ms: float | None = None,
    device: str = "cpu",
    enough: float = 0.0,
) -> Latency:
    """Measure two functions that make a forward pass and return its milliseconds, their `device` kept quiet.

    The candidate's figures are multiplied by nominal / measured latency of `reference`, which cancels a
    drift of the machine's clock that both feel. Without a nominal figure the reference's own is taken.
    A measurement that drifts or scatters is repeated. Where no attempt was steady, the figure is that of all
    their blocks together, and marked unstable. An attempt beside which others trained, for this process was suspended
    and passed over, or they were (`trials.machine.quiet`), counts as none; the last of `MOST_DISTURBED` as unsteady.
    enough: no further passes are made once the standard error is this share of the figure; it is looked at after
        `MIN_PASSES`, and whenever there are twice as many as at the last look.
    """
    attempts: list[tuple[Array, Array]] = []
    disturbed = 0
    while len(attempts) < protocol.attempts:
        with quiet(device) as alone, torch.inference_mode():
            blocks = _interleave(candidate, reference, protocol, enough)
            undisturbed = alone.undisturbed
        disturbed += not undisturbed
        if not undisturbed and disturbed < MOST_DISTURBED:
            continue
        attempts.append(blocks)
        measured = _summarise(*blocks, protocol, nominal_reference_p50_ms)
        if measured.stable and undisturbed:
            return replace(measured, attempts=len(attempts))
    own, other = (np.concatenate(blocks) for blocks in zip(*attempts, strict=True))
    pooled = _summarise(own, other, protocol, nominal_reference_p50_ms)
    return replace(pooled, stable=False, attempts=protocol.attempts)


def _interleave(
    candidate: Callable[[], float], reference: Callable[[], float], protocol: LatencyProtocol, enough: float
) -> tuple[Array, Array]:
    """Milliseconds [blocks, block] of each pass of the two networks, taken in turn after a warm-up."""
    for one_pass in (candidate, reference):
        for _ in range(protocol.warmup):
            one_pass()
    own: list[list[float]] = []
    other: list[list[float]] = []
    passes, look = 0, MIN_PASSES
    deadline = time.monotonic() + MAX_SECONDS
    while passes < protocol.passes and (passes < MIN_PASSES or time.monotonic() < deadline):
        own.append([candidate() for _ in range(protocol.block)])
        other.append([reference() for _ in range(protocol.block)])
        passes += protocol.block
        if passes >= look:
            look = 2 * passes
            so_far = _summarise(np.array(own), np.array(other), protocol, None)
            if so_far.standard_error(protocol.block) <= enough:
                break
    return np.array(own), np.array(other)


def _summarise(own: Array, other: Array, protocol: LatencyProtocol, nominal: float | None) -> Latency:
    quotients = np.median(own, axis=1) / np.median(other, axis=1)
    p25, p50, p75 = (float(value) for value in np.percentile(quotients, [25, 50, 75]))
    raw_p50, raw_p95 = (float(value) for value in np.percentile(own, [50, 95]))
    reference = float(np.median(other))
    nominal = reference if nominal is None else nominal
    half = len(quotients) // 2
    drift = abs(float(np.median(quotients[half:]) / np.median(quotients[:half])) - 1.0) if half else 0.0
    spread = (p75 - p25) / p50
    return Latency(
        p50_ms=p50 * nominal,
        p95_ms=p50 * nominal * raw_p95 / raw_p50,
        raw_p50_ms=raw_p50,
        raw_p95_ms=raw_p95,
        reference_p50_ms=reference,
        nominal_reference_p50_ms=nominal,
        drift=drift,
        spread=spread,
        stable=drift <= protocol.max_drift and spread <= protocol.max_spread,
        passes=own.size,
    )
