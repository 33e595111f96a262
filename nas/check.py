"""A dry run: what a configuration would search, what it would cost, one real training step. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from nas.config import SearchConfig
from nas.session import Prepared, prepare
from search_spaces.architecture import Architecture
from trials.judge import Bench
from trials.quiet import occupied
from trials.training import train


def check(config: SearchConfig, announce: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Points, choices, size, feasible share, costs of the baseline and the extremes, step and search time.

    Raises what `nas.session.prepare` raises.
    """
    prepared = prepare(config, announce)
    space = prepared.space
    announce("measuring the latency of the baseline and the extremes")
    bench = Bench(prepared.plan())
    latency = bench.latency(bench.reference)
    bench.plan = replace(bench.plan, nominal_latency_ms=latency.p50_ms)
    extremes = {
        "baseline": space.baseline,
        "cheapest": prepared.costs.cheapest(),
        "costliest": prepared.costs.costliest(),
    }
    share = prepared.feasibility.share()
    announce("training a few steps of the baseline and the costliest")
    speeds = {name: _images_per_second(bench, extremes[name], prepared) for name in ("baseline", "costliest")}
    images = len(prepared.data.train) * config.training.epochs
    workers = config.workers or (1 if config.engine == "local" else os.cpu_count() or 1)
    trial_seconds = images * sum(1 / speed for speed in speeds.values()) / 2
    return {
        "space": space.to_json(),
        "points": [point.to_json() for point in space.points],
        "size": space.size,
        "budgets": [str(constraint) for constraint in config.constraints()],
        "feasible_share": asdict(share),
        "costs": {name: _costs(a, bench, prepared) for name, a in extremes.items()},
        "images_per_second": speeds,
        "trials": config.trials,
        "workers": workers,
        "estimated_trial_seconds": trial_seconds,
        "estimated_search_seconds": trial_seconds * config.trials / workers,
    }


def _costs(architecture: Architecture, bench: Bench, prepared: Prepared) -> dict[str, Any]:
    costs = prepared.costs(architecture)
    measured = bench.latency(bench.build(architecture, seed=0))
    return {
        "macs": costs.macs,
        "params": costs.params,
        "latency_ms": {"p50": measured.p50_ms, "p95": measured.p95_ms, "stable": measured.stable},
        "choices": architecture.labels(),
    }


def _images_per_second(bench: Bench, architecture: Architecture, prepared: Prepared, steps: int = 6) -> float:
    """Throughput of real training steps, the first of them (warm-up) left out."""
    # Speed does not depend on the learning rate; a schedule this short might diverge at the configured one.
    recipe = replace(prepared.config.training.recipe(), epochs=2, peak_lr=1e-3)
    few = replace(bench.data, train=bench.data.train.first(steps * recipe.batch_size))
    network = bench.build(architecture, seed=0)
    with occupied() as machine:
        return list(train(network, few, recipe, 0, machine))[-1].images_per_second
