"""Makes a device profile: measures a designed set of architectures, fits the predictor, says how far it is off."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.errors import ProfileError
from trials.latency import LatencyBench, Measurement, Target
from trials.latency.conditions import describe_device, versions
from trials.profile.design import MAX_ARCHITECTURES, designed_architectures
from trials.profile.device_profile import (
    DeviceProfile,
    PredictionError,
    Predictor,
    ProfiledArchitecture,
    TargetPart,
)
from trials.profile.fitting import Array, Effects, Observation, Regression, cross_validate
from trials.profile.journal import Journal
from trials.ranks import spearman
from trials.trial import LatencyProtocol

#: With fewer, the held-out error says nothing.
MIN_ARCHITECTURES = 10
#: One in so many random mixtures is measured a second time, at the end.
REPEAT_EVERY = 6

#: Is told after each measurement: how many are done, of how many, and the measurement.
Observer = Callable[[int, int, Measurement], None]


@dataclass(frozen=True)
class Step:
    """One measurement to take. `name` tells it from the others of the profile."""

    name: str
    part: str
    architecture: Architecture


def make_profile(
    space: SearchSpace,
    target: Target,
    protocol: LatencyProtocol,
    path: Path,
    architectures: int = MAX_ARCHITECTURES,
    seed: int = 0,
    observer: Observer = lambda done, total, measurement: None,
) -> DeviceProfile:
    """Measure, fit and write the profile to `path`. Interrupted, the same call goes on where it stopped.

    Raises:
        ProfileError: too few or too many architectures, or a space too small to hold them.
        LatencyError, DeviceError: the target is not to be had here.
    """
    if not MIN_ARCHITECTURES <= architectures <= MAX_ARCHITECTURES:
        raise ProfileError(
            f"--sample: given {architectures}; a profile measures {MIN_ARCHITECTURES} to {MAX_ARCHITECTURES}"
        )
    design = designed_architectures(space, architectures, seed)
    if sum(part == "random" for part, _ in design) < 2:
        raise ProfileError(f"{space.name} has {space.size} architectures: too few for a profile, measure them all")
    bench = LatencyBench(space, target, protocol)
    device = describe_device(bench.target) | versions(bench.target)
    journal = Journal(path, bench.settings() | {"device": device, "architectures": architectures, "seed": seed})
    first = [Step(f"first {a.key}", part, a) for part, a in design]
    mixtures = [step for step in first if step.part == "random"][::REPEAT_EVERY]
    repeats = [Step(f"repeat {step.architecture.key}", "repeat", step.architecture) for step in mixtures]
    steps = [*first, *repeats]
    for done, step in enumerate(steps, 1):
        if step.name not in journal.found:
            journal.found[step.name] = bench.measure(step.architecture)
            journal.append(step.name, journal.found[step.name])
        observer(done, len(steps), journal.found[step.name])
    profile = assemble(bench, [(step.part, journal.found[step.name]) for step in steps])
    profile.save(path)
    journal.remove()
    return profile


def assemble(bench: LatencyBench, measured: Sequence[tuple[str, Measurement]]) -> DeviceProfile:
    """The profile of what was measured, each with its part in the design."""
    # Of the reference's p50s the lower quartile: what it takes while others leave the machine alone.
    nominal = float(np.percentile([m.latency.reference_p50_ms for _, m in measured], 25))
    observations = [
        Observation(m.architecture, part, m.relative, m.latency.standard_error(bench.protocol.block))
        for part, m in measured
    ]
    fitted_to = [o for o in observations if o.part != "repeat"]
    regression = Regression(bench.space)
    held_out = cross_validate(regression, fitted_to)
    # Judged by folds that did without some; what is used is fitted to all, the second measurements included.
    effects = regression.fit(observations)
    return DeviceProfile(
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        space=bench.space.to_json(),
        fingerprint=bench.space.fingerprint,
        target=TargetPart(**bench.target.to_json(), batch_size=bench.protocol.batch_size),
        protocol={name: float(value) for name, value in asdict(bench.protocol).items()},
        device=describe_device(bench.target),
        versions=versions(bench.target),
        baseline_ms=nominal,
        predictor=_predictor(effects, nominal),
        error=prediction_error(held_out.measured, held_out.predicted),
        flops_only_error=prediction_error(held_out.measured, held_out.flops_only),
        repeat_error=_repeat_error(observations),
        measurements=tuple(_profiled(part, m.with_nominal(nominal)) for part, m in measured),
    )


def prediction_error(measured: Array, predicted: Array) -> PredictionError:
    """Of predictions [n] against measurements [n]."""
    shares = np.abs(predicted / measured - 1.0)
    return PredictionError(
        architectures=len(shares),
        mape=float(shares.mean()),
        p90=float(np.percentile(shares, 90)),
        spearman=float(np.nan_to_num(spearman(measured, predicted))),  # equal predictions rank nothing
    )


def _repeat_error(observations: Sequence[Observation]) -> PredictionError | None:
    """The second measurement of an architecture as a prediction of the first."""
    second = {o.architecture: o.relative for o in observations if o.part == "repeat"}
    pairs = [
        (o.relative, second[o.architecture]) for o in observations if o.part == "random" and o.architecture in second
    ]
    if len(pairs) < 3:
        return None
    first, again = np.array(pairs).T
    return prediction_error(first, again)


def _predictor(effects: Effects, nominal_ms: float) -> Predictor:
    return Predictor(
        choices_ms={
            point: {label: effect * nominal_ms for label, effect in labels.items()}
            for point, labels in effects.choices.items()
        },
        neighbours_ms={f"{one}>{other}": v * nominal_ms for (one, other), v in effects.neighbours.items()},
        deviations=dict(effects.deviations),
        residual=effects.residual,
    )


def _profiled(part: str, m: Measurement) -> ProfiledArchitecture:
    latency, conditions = m.latency, m.conditions
    return ProfiledArchitecture.model_validate(
        {
            "part": part,
            "choices": m.architecture.labels(),
            "relative": m.relative,
            **{name: getattr(latency, name) for name in _LATENCY_FIELDS},
            "clock_mhz": conditions.clock_mhz,
            "temperature_c": conditions.temperature_c,
            "foreign_share": conditions.foreign_share,
        }
    )


_LATENCY_FIELDS = (
    "p50_ms", "p95_ms", "raw_p50_ms", "reference_p50_ms", "drift", "spread", "stable", "passes", "attempts"
)  # fmt: skip
