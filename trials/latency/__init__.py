"""Measures what a forward pass takes: p50 and p95, warm, interleaved with a reference network.

    Target ── prepare(network) ──> Pass ──┐
    reference network ── prepare ──> Pass ┴── measure ──> Latency

`LatencyBench` does it for the architectures of a space; a search measures through `measure_latency`.
"""

from trials.latency.bench import LatencyBench, Measurement
from trials.latency.runtimes import prepare
from trials.latency.timing import measure, measure_latency
from trials.machine.target import Target

__all__ = ["LatencyBench", "Measurement", "Target", "measure", "measure_latency", "prepare"]
