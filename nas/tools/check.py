"""A dry run: what a configuration would search, what it would cost, one real training step. Nothing is written."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nas.engines.slots import expected_workers
from nas.export.probing import left_out
from nas.planning.telling import Images, plan_json, planned, warnings
from nas.settings.search import SearchConfig
from nas.trainings.evidence import gathered
from nas.trainings.noise_file import unlike
from nas.trainings.parent import check_parent
from nas.trainings.precision import choose_precision
from nas.trainings.prepared import Prepared, describe_counting, describe_data, prepare
from nas.trainings.slow import slow
from reports.noise import advice_text, noise_floors, noise_story
from reports.view import RunView
from search_spaces.architecture import Architecture
from search_spaces.discovery.reference import ReferencedDesign
from search_spaces.space import SearchSpace
from trials.budgets.constraints import Constraint, Costs
from trials.budgets.feasibility import Share
from trials.costs.counting import count_work, products_by_fvcore
from trials.data import DataError, SceneConfig, check_scenes
from trials.data.problems import EMPTY
from trials.errors import StoreError
from trials.judge import Bench
from trials.profile import DeviceProfile
from trials.training.final import judged_split

#: Passes before a latency is measured: a preview, for which a large network is not to take minutes.
_WARMUP = 5
#: Training speed is measured over so many steps, or fewer that take about so long, or over steps of so few images.
_SPEED_STEPS = 6
_SPEED_SECONDS = 10.0
_FEW_IMAGES = 8
#: Architectures that are predicted to estimate what a latency budget leaves.
_DRAWS = 2_000


def check(config: SearchConfig, announce: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Points, choices, size, what is within the budgets and which of them binds, costs of the baseline and the
    extremes, step and search time.

    The figures are a preview: latency is measured in one attempt after a short warm-up, so it may be unstable, and
    the training speed of a network whose steps take long on a few images.

    Raises what `nas.session.session.prepare` raises.
    """
    problems = bad_entries(config, announce)
    prepared = prepare(config, announce)
    space = prepared.space
    plan = prepared.plan()
    preview = replace(plan.protocol, attempts=1, warmup=min(plan.protocol.warmup, _WARMUP))
    bench = Bench(replace(plan, protocol=preview))
    precision = None
    if plan.recipe.precision in ("auto", "fastest"):
        precision = choose_precision(bench).to_json()
        bench.trainer = bench.trainer.briefly(len(prepared.data.train), precision=precision["precision"])
    extremes = {
        "baseline": space.baseline,
        "cheapest": prepared.costs.cheapest(),
        "costliest": prepared.costs.costliest(),
    }
    announce("counting what is within the budgets")
    feasible = prepared.feasibility
    within = feasible.extremes()
    if within is not None:
        found = dict(zip(("smallest within", "largest within"), within, strict=True))
        extremes |= {
            name: architecture for name, architecture in found.items() if architecture not in extremes.values()
        }
    for sentence in slow(prepared):
        announce(sentence)
    check_parent(prepared)
    gathered(prepared, Path(config.out), None, announce)
    profile = prepared.profile
    if profile is None:
        announce("measuring the latency of the baseline and the extremes")
        latencies = _measured(bench, extremes.values())
    else:
        latencies = {a: {"p50": profile.predict_ms(a), "p95": None, "stable": True} for a in extremes.values()}
    costs = {name: _costs(a, latencies[a], prepared) for name, a in extremes.items()}
    baseline = replace(prepared.baseline, latency_ms=latencies[space.baseline]["p50"])
    predicted = None if profile is None else _predicted_share(prepared, profile, baseline)
    announce("training a few steps of the baseline and the costliest")
    speeds = {name: _images_per_second(bench, extremes[name], prepared) for name in ("baseline", "costliest")}
    images = len(prepared.data.train) * config.training.epochs
    workers = expected_workers(config, announce)
    trial_seconds = images * sum(1 / speed for speed in speeds.values()) / 2
    shared_seconds = _shared_seconds(prepared, speeds["baseline"], trial_seconds)
    final_seconds = _final_seconds(prepared, trial_seconds * config.rung_epochs[-1] / config.training.epochs / workers)
    images_of = _images(prepared)
    division = planned(config, images_of, trial_seconds, shared_seconds, workers)
    rungs = list(zip(division.rungs, division.looks, strict=True))
    first_looks = sum(epochs * looks for epochs, looks in rungs) / config.training.epochs
    return {
        "space": space.to_json(),
        "points": [point.to_json() for point in space.points],
        "data": describe_data(prepared.data) | {"problems": problems},
        "not_varied": _not_varied(space),
        "size": space.size,
        "budgets": [str(constraint) for constraint in config.constraints()],
        "counting": describe_counting(space) | _beside_fvcore(space),
        "feasible": feasible.share().to_json(),
        "latency_of": None if profile is None else profile.describe()["device"],
        "binding": binding(config.constraints(), feasible.alone(), baseline, costs, predicted),
        "costs": costs,
        "precision": precision,
        "images_per_second": speeds,
        "trials": division.looks[0],
        "plan": plan_json(config, division),
        "warnings": warnings(config, images_of, division),
        "workers": workers,
        "estimated_trial_seconds": trial_seconds,
        "estimated_shared_seconds": shared_seconds,
        "rungs": [{"epochs": e, "looks": n} for e, n in rungs],
        "estimated_search_seconds": shared_seconds + trial_seconds * first_looks / workers,
        "estimated_final_seconds": final_seconds,
        "noise": recorded_noise(config),
        "not_exported": left_out(space, announce),
        "notes": list(design.notes(space.input)) if isinstance(design := space.design, ReferencedDesign) else [],
    }


def _beside_fvcore(space: SearchSpace) -> dict[str, int | None]:
    """The multiply-adds of convolutions and products in all-add, by our counter and by fvcore (None where
    it cannot count them)."""
    network, image = space.build(space.baseline), torch.zeros(1, *space.input_shape)
    work = count_work(network, image)
    return {"products": work.macs - work.elementwise_ops, "products_by_fvcore": products_by_fvcore(network, image)}


def bad_entries(config: SearchConfig, announce: Callable[[str], None]) -> list[str]:
    """What is wrong with the annotations of scenes, a line for each entry, told as it is found."""
    data = config.data_config()
    if not isinstance(data, SceneConfig):
        return []
    found = check_scenes(data, announce)
    told = [str(problem) for problem in found if problem.kind != EMPTY or data.empty_images != "keep"]
    for line in told:
        announce(f"data: {line}")
    return told


def _shared_seconds(prepared: Prepared, images_per_second: float, trial_seconds: float) -> float:
    """What is trained once before the first trial: all-add at that speed, or a supernet, which takes mixed paths."""
    training = prepared.config.training
    if training.parent_epochs is None:
        return 0.0
    if training.regime == "supernet":
        return trial_seconds * training.parent_epochs / training.epochs
    return len(prepared.data.train) * training.parent_epochs / images_per_second


def _final_seconds(prepared: Prepared, trial_seconds: float) -> list[float] | None:
    """What the finalists take beside that, at least and at most; None without any. trial_seconds: by all workers."""
    config, data = prepared.config, prepared.data
    if not config.wanted_finalists:
        return None
    one = trial_seconds * (1 + len(data.val) / len(data.train)) * (1 + config.wanted_finalists)
    return [one * config.finalist_seeds, one * len(config.seeds_of_finalists)]


def _images(prepared: Prepared) -> Images:
    data = prepared.data
    try:
        test = len(judged_split(data))
    except DataError:
        test = None
    return Images(len(data.train), len(data.val), test)


def recorded_noise(config: SearchConfig) -> dict[str, Any] | None:
    """The noise floor in the record of `config.out`; None where it is not measured, or is of other settings."""
    folder = Path(config.out)
    try:
        view = RunView.load(folder)
    except StoreError:
        return None
    floors = () if unlike(view.config, config.to_json()) else noise_floors(view)
    if not floors:
        return None
    story = [*noise_story(floors, view.score_label), *([] if view.advice is None else [advice_text(view.advice)])]
    return {"run": str(folder), "floors": [floor.to_json() for floor in floors], "story": story}


def binding(
    constraints: tuple[Constraint, ...],
    alone: Mapping[str, Share],
    baseline: Costs,
    costs: Mapping[str, Mapping[str, Any]],
    predicted: float | None = None,
) -> dict[str, Any]:
    """Which budget cuts most of the space, as far as that is known.

    Multiply-adds and parameters are counted. Of latency only the few measured architectures in `costs` are
    known: those that are over the budget are named, and no share is made up; but where a profile predicts, the
    share that its predictions leave is `predicted`.

    Returns:
        `counted`: by metric the share that this budget alone leaves; `latency_drawn`: of how many drawn
        architectures that of a predicted latency is, None without a profile; `latency_over`: the measured architectures
        that are over the latency budget, None without one; `metric`: what cuts most, None where nothing is
        known to cut; `certain`: whether no latency budget may cut more than that.
    """
    shares = {metric: share.value for metric, share in alone.items()}
    if predicted is not None:
        shares["latency_ms"] = predicted
    over: list[str] | None = None
    for constraint in constraints:
        if constraint.metric == "latency_ms":
            limit = constraint.limit(baseline)
            over = [name for name, cost in costs.items() if cost["latency_ms"]["p50"] > limit]
    tightest = min(shares, key=lambda metric: shares[metric], default=None)
    if tightest is not None and shares[tightest] >= 1:
        tightest = None
    metric = "latency_ms" if tightest is None and over else tightest
    certain = predicted is not None or not over or tightest is None
    drawn = None if predicted is None else _DRAWS
    return {"metric": metric, "certain": certain, "counted": shares, "latency_drawn": drawn, "latency_over": over}


def _not_varied(space: SearchSpace) -> list[dict[str, Any]]:
    """The merges of an ordinary network that are no fusion points, each with its reason."""
    design = space.design
    return [place.to_json() for place in design.not_varied(space.input)] if isinstance(design, ReferencedDesign) else []


def _measured(bench: Bench, architectures: Iterable[Architecture]) -> dict[Architecture, dict[str, Any]]:
    """Latencies of the baseline and of these, each network measured once."""
    baseline = bench.plan.space.baseline
    found = {baseline: bench.latency(bench.reference)}
    bench.plan = replace(bench.plan, nominal_latency_ms=found[baseline].p50_ms)
    for architecture in architectures:
        if architecture not in found:
            found[architecture] = bench.latency(bench.build(architecture, seed=0))
    return {a: {"p50": m.p50_ms, "p95": m.p95_ms, "stable": m.stable} for a, m in found.items()}


def _predicted_share(prepared: Prepared, profile: DeviceProfile, baseline: Costs) -> float | None:
    """The share of architectures drawn from the space whose prediction is within the latency budget."""
    limits = [c.limit(baseline) for c in prepared.config.constraints() if c.metric == "latency_ms"]
    if not limits:
        return None
    rng = random.Random(0)
    drawn = (profile.predict_ms(prepared.space.sample(rng)) for _ in range(_DRAWS))
    return sum(predicted <= limits[0] for predicted in drawn) / _DRAWS


def _costs(architecture: Architecture, latency: Mapping[str, Any], prepared: Prepared) -> dict[str, Any]:
    costs = prepared.costs(architecture)
    return {
        "macs": costs.macs,
        "params": costs.params,
        **prepared.costs.workload(architecture).to_json(),
        "latency_ms": dict(latency),
        "choices": architecture.labels(),
    }


def _images_per_second(bench: Bench, architecture: Architecture, prepared: Prepared) -> float:
    """Throughput of real training steps of the configured batch, or of fewer images where that takes long."""
    batch_size = prepared.config.training.batch_size
    speed = _speed(bench, architecture, min(_FEW_IMAGES, batch_size), 1)
    steps = min(_SPEED_STEPS, int(speed * _SPEED_SECONDS / (2 * batch_size)))
    return _speed(bench, architecture, batch_size, steps) if steps > 0 else speed


def _speed(bench: Bench, architecture: Architecture, batch_size: int, steps: int) -> float:
    """Images a second in the second of two epochs of so many steps; the first warms up."""
    # Speed does not depend on the learning rate; a schedule this short might diverge at the configured one.
    trainer = bench.trainer.briefly(steps * batch_size, epochs=2, batch_size=batch_size, peak_lr=1e-3)
    network = bench.build(architecture, seed=0)
    with bench.occupied() as machine:
        return list(trainer.train(network, 0, machine))[-1].images_per_second
