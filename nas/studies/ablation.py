"""`nas ablate`: what each fusion of a trial contributes, and what it costs.

The trial's architecture and variants of it are trained under the same seeds: with one fusion point reverted to `add`,
with its early or its late fusions alone, and with one of its operators everywhere. None of these seeds is that of the
trials: the trial was chosen for what it came to there, so that its differences would flatter it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from nas.engines.engine import open_engine
from nas.engines.interruption import Interruption
from nas.settings.changes import elsewhere
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.stages.front_latency import FinalPlan
from nas.telling import Narrator
from nas.trainings.prepared import Prepared, prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import Wanted, missing, train_missing
from reports.ablation import AblationPlan, LatencyPrices, Variant, ablations_of
from reports.formatting import format_duration
from reports.noise import counted, scored
from reports.trial_view import TrialView
from reports.view import RunView
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.errors import unknown
from search_spaces.space import SearchSpace, stage_of
from trials.budgets.pricing import half_width
from trials.errors import DeviceError, LatencyError
from trials.trial import TrialState

ADD = FusionChoice("add")
#: Up to so many operators in a trial, each is trained everywhere unless told otherwise.
FEW_OPERATORS = 3


@dataclass(frozen=True)
class AblationWish:
    """What is asked: so many `seeds`, trainings of `epochs` (None: the trials'), and which variants.

    `points` are points or stages to revert (none named: all that are not `add`); `single` trains each operator of the
    trial everywhere (None: where it has at most `FEW_OPERATORS`); `halves` its early and its late fusions alone.
    """

    seeds: int = 3
    epochs: int | None = None
    points: tuple[str, ...] = ()
    single: bool | None = None
    halves: bool = True

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ConfigError(f"--seeds: given {self.seeds}; an interval takes at least 2")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"--epochs: given {self.epochs}; expected at least 1")


def ablate(
    folder: Path,
    selector: str,
    wish: AblationWish,
    circumstances: Mapping[str, Any],
    narrator: Narrator,
    interruption: Interruption,
) -> tuple[RunView, int]:
    """Train what is not known yet, record each training in the run, then measure latencies; the run, and the trial.

    `circumstances` are settings of where it runs (engine, workers, device).

    Raises:
        ConfigError: the wish does not fit the trial, or the run's data or space have changed.
        StoreError: the run's record cannot be used.
        Interrupted: everything that was trained is recorded.
    """
    with RunRecord.open(folder) as record:
        view = record.view.estimated()
        config = load_config(None, elsewhere(view.config, circumstances))
        trial = _complete(view, selector)
        number, architecture = trial.result.number, trial.result.architecture
        prepared = prepare(config, narrator.say)
        record.check(prepared)
        plan = AblationPlan(
            number, wish.epochs or config.training.epochs,
            tuple((config.seed + 1 + k) % 2**63 for k in range(wish.seeds)),
            tuple(_variants(prepared, number, architecture, wish)), _recorded_prices(view, number),
        )  # fmt: skip
        networks = {variant.architecture.key: variant.architecture for variant in plan.variants}
        wanted = [Wanted(a, seed, plan.epochs) for seed in plan.seeds for a in networks.values()]
        todo = missing(wanted, record.known())
        if not todo:
            narrator.say(_announcement(view, plan, wanted, todo))
        _put(record, view, plan)
        if todo:
            with open_engine(config, interruption, narrator.say) as engine:
                narrator.say(_announcement(view, plan, wanted, todo, engine.workers))
                train_missing(todo, prepared, record, engine, narrator, interruption)
        for prices in _latency_prices(plan, record.view, prepared, narrator, interruption):
            plan = replace(plan, latency=prices)
            _put(record, view, plan)
        return record.view.estimated(), number


def _put(record: RunRecord, before: RunView, plan: AblationPlan) -> None:
    """Among the ablations of other trials, in place of an earlier one of this trial."""
    record.put({"ablations": {**before.ablations, str(plan.trial): plan.to_json()}})


def _recorded_prices(view: RunView, number: int) -> LatencyPrices:
    known = [ablation.plan for ablation in ablations_of(view) if ablation.plan.trial == number]
    return known[0].latency if known else LatencyPrices()


def _complete(view: RunView, selector: str) -> TrialView:
    trial = view.select(selector)
    if trial.result.state is not TrialState.COMPLETE:
        raise ConfigError(f"trial {trial.result.number} is {trial.result.state}; choose a complete one: nas show says")
    return trial


def _variants(prepared: Prepared, number: int, architecture: Architecture, wish: AblationWish) -> list[Variant]:
    """The trial's network, all-add, and what is asked for. One that is the trial itself is left out."""
    space = prepared.space
    fused = fusions_of(space, architecture)
    if not fused:
        raise ConfigError(f"trial {number} is add at every point: there is nothing to revert; choose another")
    named = [("whole", str(number), architecture), ("baseline", "all-add", space.baseline)]
    for name, points in asked_for(fused, wish.points).items():
        named.append(("without", name, with_add(architecture, points)))
    if wish.halves:
        named += [(role, text, a) for role, text, a in halves(space, architecture, fused)]
    operators = {choice.op for choice in architecture.choices.values()} - {"add"}
    if wish.single or (wish.single is None and len(operators) <= FEW_OPERATORS):
        named += [("single", text, a) for text, a in singles(space, architecture) if a != architecture]
    found = []
    for role, name, one in named:
        costs = prepared.costs(one)
        found.append(Variant(role, name, one, costs.macs, costs.params))
    return found


def fusions_of(space: SearchSpace, architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """What is not `add`, in forward order: the points that decide together, by the name of their variable."""
    return {v.name: v.points for v in space.variables if architecture.choices[v.points[0]] != ADD}


def with_add(architecture: Architecture, points: Sequence[str]) -> Architecture:
    """The architecture with these points reverted to `add`."""
    return Architecture(architecture.space, {**architecture.choices, **dict.fromkeys(points, ADD)})


def asked_for(fused: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of the fusions those that are named by point or stage, all where none is. Raises ConfigError for another name."""
    if not names:
        return dict(fused)
    known = {
        alias: None
        for name, points in fused.items()
        for alias in (name, *points, *(stage_of(point) for point in points))
    }
    for name in names:
        if name not in known:
            raise ConfigError(f"--points: {unknown('fusion point that is not add in this trial', name, known)}")
    wanted = set(names)
    return {
        name: points
        for name, points in fused.items()
        if wanted & {name, *points, *(stage_of(point) for point in points)}
    }


def halves(
    space: SearchSpace, architecture: Architecture, fused: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, str, Architecture]]:
    """Role, points and network of the early and the late fusions alone; none where all are in one half.

    The cut is the stage border nearest to the middle of the points in forward order, of two the earlier; the middle
    where the network has one stage. Points that are tied go with the first of them.
    """
    names = [point.name for point in space.points]
    borders = [i for i, (a, b) in enumerate(pairwise(names), 1) if stage_of(a) != stage_of(b)]
    cut = min(borders or [max(1, len(names) // 2)], key=lambda border: abs(border - len(names) / 2))
    early = {name: names.index(points[0]) < cut for name, points in fused.items()}
    if len(set(early.values())) < 2:
        return []
    found = []
    for role, first in (("early", True), ("late", False)):
        reverted = [point for name, points in fused.items() if early[name] != first for point in points]
        kept = [name for name in fused if early[name] == first]
        found.append((role, ", ".join(kept), with_add(architecture, reverted)))
    return found


def singles(space: SearchSpace, architecture: Architecture) -> list[tuple[str, Architecture]]:
    """Each operator of the architecture wherever it is on offer, with the ratio that it has most often there."""
    ratios: dict[str, Counter[int | None]] = {}
    for choice in architecture.choices.values():
        if choice.op != "add":
            ratios.setdefault(choice.op, Counter())[choice.reduction] += 1
    found = []
    for op, counts in ratios.items():
        ratio = min(counts, key=lambda r: (-counts[r], r or 0))
        found.append((str(FusionChoice(op, ratio)), space.uniform(op, ratio)))
    return found


def _announcement(
    view: RunView, plan: AblationPlan, wanted: Sequence[Wanted], todo: Sequence[Wanted], workers: int = 1
) -> str:
    """How much is to be trained, and about how long that takes, before it begins."""
    line = (
        f"{counted(len(wanted) // len(plan.seeds), 'network')} under {counted(len(plan.seeds), 'seed')}, "
        f"{counted(plan.epochs, 'epoch')} each: "
    )
    if not todo:
        return f"{line}all of these trainings are known"
    seconds: dict[str, float] = {r.architecture.key: r.train_seconds / r.epochs for r in scored(view)}
    # A network that was never trained takes about what the trial takes.
    usual = seconds.get(plan.variants[0].architecture.key, 0.0)
    each = sum(training.epochs * seconds.get(training.architecture.key, usual) for training in todo)
    return (
        f"{line}{counted(len(wanted), 'training')}, {len(wanted) - len(todo)} of them known; the others take about "
        f"{format_duration(each / workers)} on {counted(workers, 'worker')}"
    )


def _latency_prices(
    plan: AblationPlan, view: RunView, prepared: Prepared, narrator: Narrator, interruption: Interruption
) -> Iterator[LatencyPrices]:
    """The latencies of a plan's networks as they become known, each network's once; those that the plan has stand.

    Told in the run's milliseconds. Where the device is not to be had, the last says why. Raises Interrupted.
    """
    networks = {variant.architecture.key: variant.architecture for variant in plan.variants}
    if prepared.profile is not None:
        profile, nominal = prepared.profile, view.pricing.nominal_ms or prepared.profile.baseline_ms
        scale = nominal / profile.baseline_ms
        figures = {key: (profile.predict_ms(a) * scale, None) for key, a in networks.items()}
        yield LatencyPrices(f"predicted by {prepared.config.latency_profile}, without intervals", figures)
        return
    if networks.keys() <= plan.latency.figures.keys():
        return
    final = FinalPlan.of(prepared.config, prepared.space, None)
    try:
        with (
            open_engine(prepared.config, interruption, narrator.say) as engine,
            engine.bench(final.space, final.target, final.protocol) as bench,
        ):
            target = f"measured on {final.target.of(bench.device_name(), final.protocol.batch_size)}, once each"
            known = dict(plan.latency.figures) if plan.latency.target == target else {}
            prices = LatencyPrices(target, known)
            waiting = {key: a for key, a in networks.items() if key not in known}
            narrator.say(f"measuring {counted(len(waiting), 'network')}, no training running")
            nominal = view.pricing.nominal_ms or bench.measure(prepared.space.baseline, None).latency.reference_p50_ms
            for key, architecture in waiting.items():
                interruption.check()
                latency = bench.measure(architecture, nominal).latency
                half = half_width(latency, final.protocol.block) * latency.p50_ms
                prices = replace(prices, figures={**prices.figures, key: (latency.p50_ms, half)})
                yield prices
    except (LatencyError, DeviceError) as error:
        yield LatencyPrices(skipped=str(error))
