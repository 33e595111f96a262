"""What each fusion of an architecture contributes, by trainings without it under the same seeds, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reports.formatting import MISSING, format_count, format_points
from reports.noise import counted, one_image, scored
from reports.significance import Difference, paired_differences
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.errors import StoreDamaged
from trials.record.training import Training

#: What a variant of an architecture is. `without` is it with `add` at one point (or at points tied to each other),
#: `early` and `late` have its choices in one half of the network alone, `single` one of its operators everywhere.
ROLES = ("whole", "baseline", "without", "early", "late", "single")


@dataclass(frozen=True)
class Variant:
    """One network of an ablation; `name` says which point, points or operator its role is about."""

    role: str
    name: str
    architecture: Architecture
    macs: int
    params: int

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role of a variant is {self.role!r}; expected one of {', '.join(ROLES)}")

    def to_json(self) -> dict[str, Any]:
        architecture = self.architecture.to_json()
        return {"role": self.role, "name": self.name, "macs": self.macs, "params": self.params, **architecture}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Variant:
        role, name, architecture = str(data["role"]), str(data["name"]), Architecture.from_json(data)
        return cls(role, name, architecture, int(data["macs"]), int(data["params"]))


@dataclass(frozen=True)
class LatencyPrices:
    """p50 of variants in ms by key, each with half its interval (None for a prediction), on `target`.

    `skipped` says why there are none.
    """

    target: str | None = None
    figures: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    skipped: str | None = None

    def __post_init__(self) -> None:
        for p50, half in self.figures.values():
            if not (math.isfinite(p50) and p50 > 0 and (half is None or (math.isfinite(half) and half >= 0))):
                raise ValueError(f"a latency is {p50} ms ± {half}; expected finite numbers above 0")

    def to_json(self) -> dict[str, Any]:
        figures = {key: list(figure) for key, figure in self.figures.items()}
        return {"target": self.target, "figures": figures, "skipped": self.skipped}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatencyPrices:
        figures = {
            str(key): (float(p50), None if half is None else float(half))
            for key, (p50, half) in data["figures"].items()
        }
        return cls(data["target"], figures, data["skipped"])


@dataclass(frozen=True)
class AblationPlan:
    """What `nas ablate` was asked of one trial: its variants, trained for `epochs` epochs under each of `seeds`."""

    trial: int
    epochs: int
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    latency: LatencyPrices = LatencyPrices()

    def __post_init__(self) -> None:
        roles = [variant.role for variant in self.variants]
        if roles.count("whole") != 1 or roles.count("baseline") != 1 or roles.count("early") != roles.count("late"):
            raise ValueError("an ablation has one trial, one baseline, and both halves of it or none")
        if len(self.seeds) < 2 or self.epochs < 1:
            raise ValueError(f"an ablation takes two seeds and an epoch, given {self.seeds} and {self.epochs}")

    def to_json(self) -> dict[str, Any]:
        return {
            "trial": self.trial,
            "epochs": self.epochs,
            "seeds": list(self.seeds),
            "variants": [variant.to_json() for variant in self.variants],
            "latency": self.latency.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AblationPlan:
        """The inverse of `to_json`. Raises ValueError when the shape is not that of a plan."""
        try:
            return cls(
                int(data["trial"]), int(data["epochs"]), tuple(int(seed) for seed in data["seeds"]),
                tuple(Variant.from_json(one) for one in data["variants"]), LatencyPrices.from_json(data["latency"]),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the JSON of an ablation: {error!r}") from None


@dataclass(frozen=True)
class Contribution:
    """One network minus another over the same seeds: what it gains, and what it costs more.

    `score` is in fractions of 1, `loss` in nats, the second's minus the first's: above 0 the first is better by
    either. `by_seed` are the differences in score. None while trainings are missing or failed. `latency_ms` has an
    interval of no width where it is predicted, and is None where no latency is known.
    """

    role: str
    name: str
    words: str
    score: Difference | None
    loss: Difference | None
    by_seed: tuple[float, ...]
    macs: int
    params: int
    latency_ms: Difference | None

    @property
    def verdict(self) -> str:
        """By score, else by loss, which is finer."""
        if self.score is None or self.loss is None:
            return "not trained"
        for difference, how in ((self.score, ""), (self.loss, " by loss alone")):
            if difference.distinguishable:
                return ("better" if difference.mean > 0 else "worse") + how
        return "not distinguishable"

    def to_json(self) -> dict[str, Any]:
        differences = {name: getattr(self, name) for name in ("score", "loss", "latency_ms")}
        return {
            "role": self.role,
            "name": self.name,
            "compared": self.words,
            **{name: None if d is None else {**vars(d)} for name, d in differences.items()},
            "score_by_seed": list(self.by_seed),
            "macs": self.macs,
            "params": self.params,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Ablation:
    """What an ablation has found by now; of `wanted` trainings, `missing` are to do or failed."""

    plan: AblationPlan
    contributions: tuple[Contribution, ...]
    wanted: int
    missing: int

    def of_role(self, role: str) -> tuple[Contribution, ...]:
        return tuple(c for c in self.contributions if c.role == role)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.plan.to_json(),
            "contributions": [contribution.to_json() for contribution in self.contributions],
            "wanted": self.wanted,
            "missing": self.missing,
        }


def ablations_of(view: RunView) -> tuple[Ablation, ...]:
    """Every ablation of a run, by the number of its trial. Raises StoreDamaged where the record holds no plan."""
    try:
        plans = sorted((AblationPlan.from_json(data) for data in view.ablations.values()), key=lambda p: p.trial)
    except ValueError as error:
        raise StoreDamaged(f"{view.path}: an ablation in its record is damaged: {error}") from None
    known = {training.look: training for training in scored(view)} if plans else {}
    return tuple(_judged(plan, known) for plan in plans)


#: Score, loss and the scores by seed.
_Judged = tuple[Difference | None, Difference | None, tuple[float, ...]]
_NOT_JUDGED: _Judged = (None, None, ())


def _judged(plan: AblationPlan, known: Mapping[tuple[str, int, int], Training]) -> Ablation:
    keys = list(dict.fromkeys(variant.architecture.key for variant in plan.variants))
    asked = {key: [(key, seed, plan.epochs) for seed in plan.seeds] for key in keys}
    rows = [key for key in keys if all(identity in known for identity in asked[key])]
    table = [[known[identity] for identity in asked[key]] for key in rows]
    pairs = _pairs(plan.variants)
    judged = [p for p in pairs if {p.first.architecture.key, p.second.architecture.key} <= set(rows)]
    places = [(rows.index(p.first.architecture.key), rows.index(p.second.architecture.key)) for p in judged]
    found: dict[tuple[str, str], _Judged] = {}
    if judged:
        scores = np.array([[r.score for r in row] for row in table], float)
        loss = -np.array([[r.loss for r in row] for row in table], float)
        gains = paired_differences(scores, places, one_image(r for row in table for r in row))
        for pair, place, gain, saved in zip(judged, places, gains, paired_differences(loss, places), strict=True):
            found[pair.role, pair.name] = gain, saved, tuple(map(float, scores[place[0]] - scores[place[1]]))
    contributions = tuple(
        Contribution(
            pair.role, pair.name, pair.words, *found.get((pair.role, pair.name), _NOT_JUDGED),
            pair.first.macs - pair.second.macs, pair.first.params - pair.second.params,
            _latency_difference(plan.latency, pair.first, pair.second),
        )
        for pair in pairs
    )  # fmt: skip
    missing = sum(identity not in known for identities in asked.values() for identity in identities)
    return Ablation(plan, contributions, len(keys) * len(plan.seeds), missing)


@dataclass(frozen=True)
class _Pair:
    """Two networks whose difference is a contribution: what it is about, and in words."""

    role: str
    name: str
    words: str
    first: Variant
    second: Variant


def _pairs(variants: Sequence[Variant]) -> list[_Pair]:
    by_role: dict[str, list[Variant]] = {role: [v for v in variants if v.role == role] for role in ROLES}
    (whole,), (baseline,) = by_role["whole"], by_role["baseline"]
    trial = f"trial {whole.name}"
    pairs = [_Pair("whole", trial, f"{trial} − all-add", whole, baseline)]
    for one in by_role["without"]:
        pairs.append(_Pair("without", one.name, f"{one.name}: {_choices(whole, one)} − add", whole, one))
    for role in ("early", "late"):
        pairs += [_Pair(role, one.name, f"{role} points only − all-add", one, baseline) for one in by_role[role]]
    for early, late in zip(by_role["early"], by_role["late"], strict=True):
        words = "early points only − late points only"
        pairs.append(_Pair("early against late", f"{early.name} against {late.name}", words, early, late))
    for one in by_role["single"]:
        pairs.append(_Pair("single", one.name, f"{trial} − {one.name} everywhere", whole, one))
    return pairs


def _choices(whole: Variant, without: Variant) -> str:
    """What was reverted: `aff/4`, the same at points that are tied."""
    changed = [
        str(choice)
        for point, choice in whole.architecture.choices.items()
        if without.architecture.choices.get(point) != choice
    ]
    return ", ".join(dict.fromkeys(changed))


def _latency_difference(prices: LatencyPrices, first: Variant, second: Variant) -> Difference | None:
    figures = [prices.figures.get(variant.architecture.key) for variant in (first, second)]
    if figures[0] is None or figures[1] is None:
        return None
    (a, a_half), (b, b_half) = figures[0], figures[1]
    half = math.hypot(a_half or 0.0, b_half or 0.0)
    return Difference(a - b, a - b - half, a - b + half)


def points_interval(difference: Difference | None) -> str:
    """`+0.42 (−0.10 to +0.94)`, in percentage points."""
    if difference is None:
        return MISSING
    mean, low, high = (format_points(value) for value in (difference.mean, difference.low, difference.high))
    return f"{mean} ({low} to {high})"


def signed_count(value: int) -> str:
    """`+1.23M`, `−456k`, `0`."""
    return "0" if value == 0 else f"{'+' if value > 0 else '−'}{format_count(abs(value))}"


def signed_ms(difference: Difference | None) -> str:
    """`+0.123 ± 0.045 ms`; without an interval where it has none."""
    if difference is None:
        return MISSING
    half, places = (difference.high - difference.low) / 2, 3 if abs(difference.mean) < 10 else 1
    mean = f"{difference.mean:+.{places}f}".replace("-", "−")
    return f"{mean} ± {half:.{places}f} ms" if half else f"{mean} ms"


def _nats_interval(difference: Difference | None) -> str:
    if difference is None:
        return MISSING
    mean, low, high = (f"{value:+.4f}".replace("-", "−") for value in vars(difference).values())
    return f"{mean} ({low} to {high})"


ABLATION_COLUMNS = ("compared", "verdict", "score (points)", "loss saved", "FLOPs", "params", "p50")


def ablation_rows(ablation: Ablation) -> list[list[str]]:
    """A line for each comparison, under `ABLATION_COLUMNS`."""
    return [
        [
            c.words, c.verdict, points_interval(c.score), _nats_interval(c.loss), signed_count(c.macs),
            signed_count(c.params), signed_ms(c.latency_ms),
        ]
        for c in ablation.contributions
    ]  # fmt: skip


ABLATION_LEGEND = (
    "compared: one network minus another, trained under the same seeds, which had no say in the trial's selection; in "
    "brackets 95 % t intervals, the noise of all these networks pooled: of differences that are none, 1 in 20 is "
    "outside by the score and as many by the loss, so up to 1 in 10 would be called distinguishable; FLOPs, params, "
    "p50: what the first costs more"
)


def ablation_story(ablation: Ablation) -> list[str]:
    """What an ablation says, in sentences."""
    plan, story = ablation.plan, []
    circumstances = f"{counted(len(plan.seeds), 'seed')} of {counted(plan.epochs, 'epoch')}"
    for c in ablation.of_role("whole"):
        if c.score is not None:
            story.append(
                f"Trial {plan.trial} differs from all-add by {points_interval(c.score)} points over "
                f"{circumstances}, and by {signed_count(c.macs)} FLOPs: {c.verdict}."
            )
    points = [c for c in ablation.of_role("without") if c.score is not None]
    if points:
        matter = [c for c in points if c.score and c.score.distinguishable]
        named = "; ".join(f"{c.name}, {points_interval(c.score)}" for c in matter)
        story.append(
            f"Distinguishable in score from add there, each point alone: {named}."
            if named
            else "No point alone is distinguishable in score from add there."
        )
    for c in ablation.of_role("early against late"):
        if c.score is not None:
            halves = {v.role: v.name for v in plan.variants if v.role in ("early", "late")}
            story.append(
                f"Its early fusions ({halves['early']}) alone differ from its late ones ({halves['late']}) alone by "
                f"{points_interval(c.score)} points: {c.verdict}."
            )
    singles = [c for c in ablation.of_role("single") if c.score is not None]
    if singles:
        alike = [c.name for c in singles if not (c.score and c.score.low > 0)]
        story.append(
            f"The mixture is not distinguishably better than {' or '.join(alike)} everywhere."
            if alike
            else f"The mixture is distinguishably better than any of its operators everywhere "
            f"({', '.join(c.name for c in singles)})."
        )
    if ablation.missing:
        story.append(f"Of {ablation.wanted} trainings, {ablation.missing} are missing or failed.")
    if plan.latency.skipped is not None:
        story.append(f"Latencies are left out: {plan.latency.skipped}.")
    elif plan.latency.target is not None:
        story.append(f"Latencies are {plan.latency.target}.")
    return story
