"""How well a device profile predicts, beside multiply-adds and beside measuring again."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from search_spaces import Architecture, InputSpec, SearchSpace
from trials.latency import LatencyBench, Target
from trials.profile import DeviceProfile, make_profile
from trials.profile.design import designed_architectures
from trials.profile.device_profile import PredictionError
from trials.profile.fitting import Array, Observation, Regression, fit_flops
from trials.profile.journal import Journal
from trials.profile.profiling import prediction_error
from trials.trial import LatencyProtocol

#: ResNet-18 at 64 pixels: at 224 a pass of it takes some 100 ms on one core.
SPACES = {"resnet20": InputSpec(3, 32, 10), "resnet18": InputSpec(3, 64, 1000)}
FOLDER = Path("runs/benchmark-latency")
PROTOCOL = LatencyProtocol()
#: Of the design that a profile is made by (seed 0), and of the mixtures that it is judged on.
PROFILE_SEED, FRESH_SEED = 0, 1


def main() -> None:
    """Profiles of ResNet-20 and ResNet-18, eager and ONNX Runtime, on fresh architectures (an hour; goes on)."""
    run(list(SPACES), ["eager", "onnxruntime"], sample=100, fresh=40, folder=FOLDER)


def run(spaces: list[str], runtimes: list[str], sample: int, fresh: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in spaces:
        for runtime in runtimes:
            began = time.perf_counter()
            judge(SearchSpace.named(name, SPACES[name]), Target(runtime=runtime), sample, fresh, folder)
            print(f"    in {time.perf_counter() - began:.0f} s", flush=True)


def judge(space: SearchSpace, target: Target, sample: int, fresh: int, folder: Path) -> None:
    """Profile, then measure architectures that the profile never saw, and all of them again."""
    stem = f"{space.name}-{space.input.size}-{target.runtime}-{sample}"
    path = folder / f"{stem}.json"
    profile = (
        DeviceProfile.load(path)
        if path.exists()
        else make_profile(space, target, PROTOCOL, path, sample, seed=PROFILE_SEED)
    )
    profile.check_space(space)
    first, again, steady = twice(space, target, fresh_architectures(space, profile, fresh), folder / f"{stem}-fresh")
    architectures = list(first)
    truth = np.array([(first[a] + again[a]) / 2 for a in architectures])
    predicted = np.array([profile.predict_ms(a) / profile.baseline_ms for a in architectures])
    repeated = prediction_error(np.array(list(first.values())), np.array([again[a] for a in architectures]))
    differences = np.array([abs(again[a] / first[a] - 1) for a in architectures])
    print(f"  {space.name} at {space.input.size} px, {target}, batch 1: all-add {profile.baseline_ms:.3f} ms")
    print(
        f"    {sample} measured ({profile.unreliable} unreliable), judged on {fresh} others ({steady} reliable twice)"
    )
    show("predictor", prediction_error(truth, predicted))
    show("FLOPs only", prediction_error(truth, by_flops(space, profile, architectures)))
    show("measured again", repeated)
    show("predictor, cross-validated in the profile", profile.error)
    print(
        f"    measured again: median difference {np.median(differences):.2%}, "
        f"{(differences <= 0.03).mean():.0%} within 3%, at most {differences.max():.2%}"
    )


def show(name: str, error: PredictionError) -> None:
    print(f"    {name:<42} MAPE {error.mape:6.2%}  p90 {error.p90:6.2%}  Spearman {error.spearman:.3f}")


def fresh_architectures(space: SearchSpace, profile: DeviceProfile, count: int) -> list[Architecture]:
    """Random mixtures that are not in the profile."""
    known = {tuple(m.choices.values()) for m in profile.measurements}
    design = designed_architectures(space, 100, FRESH_SEED)
    drawn = [a for part, a in design if part == "random" and tuple(a.labels().values()) not in known]
    return drawn[:count]


def twice(
    space: SearchSpace, target: Target, architectures: list[Architecture], path: Path
) -> tuple[dict[Architecture, float], dict[Architecture, float], int]:
    """All of them relative to all-add, then all of them again minutes later; and how many were reliable both times."""
    bench = LatencyBench(space, target, PROTOCOL)
    journal = Journal(path, bench.settings())
    rounds = []
    for turn in ("first", "again"):
        for architecture in architectures:
            step = f"{turn} {architecture.key}"
            if step not in journal.found:
                journal.found[step] = bench.measure(architecture)
                journal.append(step, journal.found[step])
        rounds.append({a: journal.found[f"{turn} {a.key}"] for a in architectures})
    first, again = ({a: m.relative for a, m in found.items()} for found in rounds)
    return first, again, sum(all(found[a].latency.stable for found in rounds) for a in architectures)


def by_flops(space: SearchSpace, profile: DeviceProfile, architectures: list[Architecture]) -> Array:
    """What an affine function of the multiply-adds, fitted to the same measurements, predicts."""
    regression = Regression(space)
    seen = [Observation(space.architecture(m.choices), m.part, m.relative, 0.0) for m in profile.measurements]
    predict = fit_flops(regression, seen)
    return np.array([predict(a) for a in architectures])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--spaces", default=",".join(SPACES), metavar="A,B")
    parser.add_argument("--runtimes", default="eager,onnxruntime", metavar="A,B")
    parser.add_argument("--sample", type=int, default=100, metavar="N", help="architectures of a profile")
    parser.add_argument("--fresh", type=int, default=40, metavar="N", help="architectures it is judged on, at most 50")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="what was measured is kept and not measured again")
    given = parser.parse_args()
    run(given.spaces.split(","), given.runtimes.split(","), given.sample, given.fresh, given.folder)
