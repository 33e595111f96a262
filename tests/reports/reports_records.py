"""Real records to report on: a realistic run of a small ResNet, with every state and hostile strings."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from reports import RunView
from reports.ablation import AblationPlan, LatencyPrices, Variant
from search_spaces import Architecture, FusionChoice
from trials.attention.histograms import BINS, TrialAttention, WeightHistogram
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.record.training import Training
from trials.trial import AttentionByEpoch, EpochPoint, Latency, TrialResult, TrialState

HOSTILE = "</script><script>alert(1)</script>"
POINTS = ("layer1.0", "layer2.0", "layer3.0")
OPERATORS = ("add", "concat", "se", "cbam", "aff", "iaff")
_WIDTHS = (16, 32, 64)
_BASE = {"macs": 10_500_000, "params": 77_000, "latency_ms": 1.05}
_EXTRA = {"add": 0.0, "concat": 0.10, "se": 0.004, "cbam": 0.02, "aff": 0.07, "iaff": 0.14}
_GAIN = {"add": 0.0, "concat": 0.003, "se": 0.005, "cbam": 0.001, "aff": 0.007, "iaff": 0.009}

#: The type of the `make_run` fixture.
MakeRun = Callable[..., RunView]


def architecture(ops: Iterable[str], points: Iterable[str] = POINTS, reduction: int = 4) -> Architecture:
    choices = {
        point: FusionChoice(op, None if op in ("add", "concat") else reduction)
        for point, op in zip(points, ops, strict=True)
    }
    return Architecture("resnet8", choices)


def result(
    number: int,
    ops: Iterable[str],
    state: TrialState = TrialState.COMPLETE,
    origin: str = "sampler",
    latency: bool = True,
    points: Iterable[str] = POINTS,
    reduction: int = 4,
    **changes: Any,
) -> TrialResult:
    """A trial with plausible figures, the same ones for the same number and operators."""
    ops = tuple(ops)
    noise = random.Random(f"{number} {ops}")
    share = sum(_EXTRA[op] for op in ops) / len(ops) * (1 if number == 0 else 4 / reduction)
    p50 = _BASE["latency_ms"] * (1 + 2.2 * share) + abs(noise.gauss(0, 0.02)) * (number > 0)
    fields: dict[str, Any] = {
        "seed": 0, "epochs": 5,
        "macs": round(_BASE["macs"] * (1 + share)), "params": round(_BASE["params"] * (1 + 1.5 * share)),
    }  # fmt: skip
    if state is TrialState.COMPLETE:
        accuracy = round(0.874 + sum(_GAIN[op] for op in ops) / len(ops) * 1.6 + noise.gauss(0, 0.004), 4)
        fields |= {
            "score": accuracy, "loss": round(2.2 * (1 - accuracy) + 0.1, 4), "correct": round(accuracy * 2000),
            "images": 2000, "seconds": 30 + noise.random() * 8, "train_seconds": 26 + noise.random() * 4,
            "images_per_second": 1100 + noise.random() * 60,
            "curve": tuple(
                EpochPoint(e, 2.1 * math.exp(-0.45 * e) + 0.45 + noise.random() * 0.05, 1100.0) for e in range(1, 6)
            ),
        }  # fmt: skip
        if latency:
            stable = number != 7
            fields["latency"] = Latency(p50, p50 * 1.08, p50, p50 * 1.1, 1.05, 1.05, 0.01, 0.03, stable, 200)
        fields["environment"] = {
            "device": "cpu", "runtime": "eager", "precision": "float32", "threads": 2, "host": "workstation",
            "process": 100 + number % 2,
        }  # fmt: skip
        fields["attention"] = moved(ops, points)
    return TrialResult(number, state, origin, architecture(ops, points, reduction), **{**fields, **changes})


def moved(ops: Iterable[str], points: Iterable[str]) -> AttentionByEpoch | None:
    """A gate at each point with an operator that has one opens from a half, over five epochs."""
    parts = tuple((point, "gate") for point, op in zip(points, ops, strict=True) if op not in ("add", "concat"))
    if not parts:
        return None
    far = [(1 + place) / len(parts) for place in range(len(parts))]
    means = tuple(tuple(0.5 + 0.1 * epoch * one for one in far) for epoch in range(5))
    spreads = tuple((0.02 * epoch,) * len(parts) for epoch in range(5))
    return AttentionByEpoch(parts, (1.0,) * len(parts), tuple(range(1, 6)), means, spreads)


def realistic_trials(latency: bool = True) -> list[TrialResult]:
    """30 trials: the baseline, five uniform controls, sampled ones, two gated, two failed, one stopped."""
    trials = [result(0, ("add",) * 3, origin="baseline", latency=latency)]
    trials += [result(i, (op,) * 3, origin="uniform", latency=latency) for i, op in enumerate(OPERATORS[1:], 1)]
    noise = random.Random(5)
    seen = {trial.architecture.key for trial in trials}
    while len(trials) < 24:
        ops, reduction = tuple(noise.choices(OPERATORS, k=3)), noise.choice((4, 8))
        if (made := architecture(ops, reduction=reduction)).key not in seen:
            seen.add(made.key)
            trials.append(result(len(trials), ops, latency=latency, reduction=reduction))
    trials += [
        result(24, ("iaff", "iaff", "concat"), TrialState.GATED),
        result(25, ("concat", "iaff", "iaff"), TrialState.GATED),
        result(26, ("iaff", "concat", "concat"), TrialState.GATED),
        result(27, ("cbam", "iaff", "se"), TrialState.FAILED, error=HOSTILE, seconds=4.0),
        result(28, ("aff", "aff", "se"), TrialState.FAILED, error="Traceback (most recent call last):\nout of memory"),
        result(29, ("se", "cbam", "cbam"), TrialState.STOPPED, seconds=11.0),
    ]  # fmt: skip
    return trials


def description(points: Iterable[str] = POINTS) -> dict[str, Any]:
    shapes = [
        {
            "name": name, "kind": "short skip", "in_channels": 16, "channels": _WIDTHS[min(i, 2)],
            "height": 28 >> min(i, 2), "width": 28 >> min(i, 2), "stride": 1 if i == 0 else 2,
            "merge": "sum", "inputs": [_WIDTHS[min(i, 2)]] * 2, "choices": ["add", "aff/4"], "merged": {},
        }
        for i, name in enumerate(points)
    ]  # fmt: skip
    return {
        "objectives": ["accuracy", "macs"],
        "space": {
            "name": "resnet8", "input": {"channels": 1, "size": 28, "classes": 10},
            "operators": list(OPERATORS), "reductions": [4, 8, 16],
        },
        "size": 14**3,
        "points": shapes,
        "data": {
            "name": "fashion-mnist-mini", "channels": 1, "image_size": 28, "classes": [f"class {i}" for i in range(10)],
            "train": 6000, "val": 2000, "test": None, "fingerprint": "9f1c2ab04d5e6f77",
        },
        "latency_protocol": {
            "batch_size": 1, "warmup": 20, "passes": 200, "block": 10, "max_drift": 0.03, "max_spread": 0.05,
            "attempts": 3,
        },
        "environment": {
            "fusion_nas": "0.1.0", "python": "3.11.2", "torch": "2.11.0", "optuna": "5.0.0", "host": "workstation",
            "processor": "AMD EPYC 9354", "cores": 2,
        },
    }  # fmt: skip


def record(
    path: Path,
    trials: Iterable[TrialResult] = (),
    constraints: Iterable[Mapping[str, Any]] = ({"metric": "macs", "bound": 1.08, "relative": True},),
    baseline: Mapping[str, Any] | None = _BASE,
    **meta: Any,
) -> RunView:
    """Write trials into a real record in the folder `path`, and read them back as the report does."""
    path.mkdir(parents=True)
    values: dict[str, Any] = {
        "config": {"space": "resnet8", "epochs": 5, "note": HOSTILE}, "description": description(),
        "constraints": list(constraints), **meta,
    }  # fmt: skip
    if baseline is not None:
        values["baseline"] = dict(baseline)
    with Store.create(path / FILE_NAME, values) as store:
        first = store.begin_session({"engine": "ray", "workers": 2, "command": "nas search resnet8 --out run"})
        store.end_session(first, "interrupted")
        store.end_session(store.begin_session({"engine": "ray", "workers": 2}), "finished")
        for trial in trials:
            store.append(trial)
    return RunView.load(path).estimated()


def planted_ablation(trial: int = 1) -> tuple[AblationPlan, list[Training]]:
    """An ablation of aff/4, cbam/4, iaff/4 over three seeds: its fusions are worth 1, 0 and 2 points, seeds move all.

    The residuals of each pair of networks are of a few images; the names of the points are hostile.
    """
    ops, points = ("aff", "cbam", "iaff"), (f"layer1.{HOSTILE}", "layer2.0", "layer3.0")
    whole, baseline = architecture(ops, points), architecture(("add",) * 3, points)
    named = {"whole": [(str(trial), whole, 0.90)], "baseline": [("all-add", baseline, 0.87)]}
    reverted = [architecture([op if i != place else "add" for i, op in enumerate(ops)], points) for place in range(3)]
    named["without"] = [
        (points[i], net, 0.90 - worth) for i, (net, worth) in enumerate(zip(reverted, WORTH, strict=True))
    ]
    named["early"] = [(points[0], architecture(("aff", "add", "add"), points), 0.88)]
    named["late"] = [("layer2.0, layer3.0", reverted[0], 0.89)]
    named["single"] = [("aff/4", architecture(("aff",) * 3, points), 0.8995)]
    variants, repeats, seen = [], [], set()
    for role, some in named.items():
        for name, net, accuracy in some:
            variants.append(Variant(role, name, net, 10_000_000 + 1000 * round(1000 * accuracy), 77_000))
            if net.key not in seen:
                for seed, moved, own in zip((1, 2, 3), (0.01, -0.02, 0.0), RESIDUALS[len(seen)], strict=True):
                    scored = accuracy + moved + own
                    repeats.append(
                        Training(net, seed, 5, score=scored, loss=2 - scored, images=2000, train_seconds=20.0)
                    )
            seen.add(net.key)
    figures = {variant.architecture.key: (1.0 + 0.1 * i, 0.03) for i, variant in enumerate(variants)}
    return AblationPlan(trial, 5, (1, 2, 3), tuple(variants), LatencyPrices("measured on a CPU", figures)), repeats


#: What the points of the planted ablation are worth, and each network's own noise by seed: it adds up to 0.
WORTH = (0.01, 0.0, 0.02)
RESIDUALS = [
    (0.001, -0.001, 0.0), (0.0, 0.001, -0.001), (-0.001, 0.0, 0.001), (0.0005, -0.0005, 0.0), (0.0, 0.0, 0.0),
    (-0.0005, 0.0, 0.0005), (0.0, 0.0005, -0.0005),
]  # fmt: skip


def planted_attention(trial: int = 1) -> TrialAttention:
    """Of one gate, most of it shut, at a hostile point, and of attention over positions."""
    shut = (60, 20, *[1] * (BINS - 4), 2, 0)
    gate = WeightHistogram(f"layer1.{HOSTILE}", "aff/4", "attention", 1.0, shut, 0.12, 0.2)
    return TrialAttention(
        trial, 1024, 2000, (gate, WeightHistogram("layer3.0", "attention/4", "softmax", 4.0, shut[::-1], 5.0, 1.0))
    )


def explained(view: RunView) -> RunView:
    """The run with the planted ablation and attention of one of its trials."""
    plan, repeats = planted_ablation()
    with Store.open_for_writing(view.path / FILE_NAME) as store:
        for repeat in repeats:
            store.append_training(repeat)
        store.put({"ablations": {"1": plan.to_json()}, "attention": {"1": planted_attention().to_json()}})
    return RunView.load(view.path).estimated()
