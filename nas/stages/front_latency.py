"""The last stage of a search: what matters is measured for good, when no trial trains any more.

Each network is measured beside all-add, in rounds, so that no figure rests on one minute of the machine. What turns
out to be over its budget leaves the front; what it had hidden there is measured next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nas.engines.engine import Engine
from nas.engines.interruption import Interruption
from nas.settings.search import SearchConfig
from nas.stages.stage import Search
from reports.finalists import chosen
from reports.trial_view import TrialView
from reports.view import RunView
from search_spaces.space import SearchSpace
from trials.errors import BenchLost, DeviceError, LatencyError
from trials.latency import Target
from trials.profile import DeviceProfile
from trials.record.store import Store
from trials.trial import FinalMeasurement, LatencyProtocol

#: Measurements of each network, one pass over all of them after the other.
ROUNDS = 2
#: Workers that may measure, one after the other where one dies.
ATTEMPTS = 3


@dataclass(frozen=True)
class FinalPlan:
    """What is measured by which protocol; `profile` where the latencies are those of a profiled device."""

    space: SearchSpace
    target: Target
    protocol: LatencyProtocol
    profile: DeviceProfile | None = None

    @classmethod
    def of(cls, config: SearchConfig, space: SearchSpace, profile: DeviceProfile | None) -> FinalPlan:
        """The profile's own target and protocol, else those under which trials are screened."""
        if profile is None:
            return cls(space, Target(config.device), config.latency.protocol())
        known = profile.target
        target = Target(known.device, known.runtime, known.dtype, known.threads)
        return cls(space, target, profile.latency_protocol(), profile)


class FrontLatency:
    """Measures what may be on the front of a search whose trials are over."""

    def missing(self, search: Search) -> bool:
        view = search.view.estimated()
        return view.final_stage is None or bool(_waiting(view, search.config.wanted_finalists))

    def run(self, search: Search) -> None:
        if not search.planner.fits_latency:
            search.planner.leave_out("the front's latency is not measured: there is no time for it")
            return
        plan = FinalPlan.of(search.config, search.prepared.space, search.prepared.profile)
        wanted, view, say = search.config.wanted_finalists, search.view.estimated(), search.progress.say
        measure_front(search.store, view, plan, search.engine, say, search.interruption, wanted)


def measure_front(
    store: Store,
    view: RunView,
    plan: FinalPlan,
    engine: Engine,
    say: Callable[[str], None],
    interruption: Interruption,
    finalists: int = 0,
) -> RunView:
    """Measure what may be on the front, and so many finalists, record it, and return the run as it is then. Goes on
    where it stopped.

    A device that is not there is no error: the stage is skipped, and the record says why. A worker that is lost is
    replaced, a few times: what it had measured stands.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _measured(store, view, plan, engine, say, interruption, finalists)
        except BenchLost as error:
            if attempt == ATTEMPTS:
                return _skip(store, RunView.of(view.path, store).estimated(), say, str(error))
            say(f"{error}: another goes on, {attempt + 1} of {ATTEMPTS}")
            view = RunView.of(view.path, store).estimated()
    raise AssertionError("unreachable: the last attempt returns")


def _measured(
    store: Store,
    view: RunView,
    plan: FinalPlan,
    engine: Engine,
    say: Callable[[str], None],
    interruption: Interruption,
    finalists: int,
) -> RunView:
    """With one worker. Raises BenchLost where that died."""
    if not _waiting(view, finalists):
        _end(store, view)
        return view
    try:
        with engine.bench(plan.space, plan.target, plan.protocol) as bench:
            name = bench.device_name()
            mismatch = None if plan.profile is None else plan.profile.device_mismatch(name)
            if mismatch is not None:
                return _skip(store, view, say, mismatch)
            target = plan.target.of(name, plan.protocol.batch_size)
            view = _of_target(store, view, target)
            nominal = bench.measure(plan.space.baseline, None).latency.reference_p50_ms
            view = _with_baseline(store, view, nominal)
            while waiting := _waiting(view, finalists):
                say(f"measuring {_networks(len(waiting))} of the front on {name}, no trial running")
                for trial in waiting:
                    interruption.check()
                    found = bench.measure(trial.result.architecture, nominal)
                    measurement = FinalMeasurement(
                        trial.result.number, target, found.latency, found.conditions.to_json()
                    )
                    store.append_measurement(measurement)
                    view = view.with_measurement(measurement)
    except BenchLost:
        raise
    except (LatencyError, DeviceError) as error:
        return _skip(store, view, say, str(error))
    off = len(view.taken_off)
    if off:
        say(f"the measurement took {off} candidate{'s' if off > 1 else ''} off the front")
    _end(store, view)
    return view


def _waiting(view: RunView, finalists: int) -> list[TrialView]:
    """What has not had all of its rounds: of what may be on the front, of what one round has taken from it, and of who
    would be the finalists."""
    begun = [trial for trial in view.complete if 0 < len(view.measured.get(trial.result.number, ())) < ROUNDS]
    front = {trial.result.number for trial in view.to_measure}
    others = [t for t in chosen(view, finalists) if t.result.number not in front | view.measured.keys()]
    return [*view.to_measure, *others, *begun]


def _of_target(store: Store, view: RunView, target: str) -> RunView:
    """The run with the measurements of this target alone."""
    if store.get("latency_target") == target:
        return view
    store.put({"latency_target": target})
    return RunView.of(view.path, store).estimated()


def _with_baseline(store: Store, view: RunView, latency_ms: float) -> RunView:
    """The run whose all-add network has a latency: this one, where no trial waited for one to be measured before."""
    if view.baseline is None or view.baseline.latency_ms is not None:
        return view
    baseline = replace(view.baseline, latency_ms=latency_ms)
    store.put({"baseline": baseline.to_json()})
    return replace(view, baseline=baseline)


def _end(store: Store, view: RunView) -> None:
    store.put({"final_stage": {"measured": len(view.measured), "ended_at": time.time()}})


def _skip(store: Store, view: RunView, say: Callable[[str], None], reason: str) -> RunView:
    say(f"the front was not measured: {reason}")
    stage: dict[str, Any] = {"measured": 0, "ended_at": time.time(), "skipped": reason}
    store.put({"final_stage": stage})
    return replace(view, final_stage=stage)


def _networks(count: int) -> str:
    return "1 network" if count == 1 else f"{count} networks"
