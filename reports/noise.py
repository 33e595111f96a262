"""The noise floor of a run: what its seeds do to scores at each fidelity, and what a time budget is best spent on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from reports.formatting import format_duration
from reports.significance import CONFIDENCE, POWER, Noise, noise_of
from reports.view import RunView
from search_spaces.architecture import Architecture
from trials.record.training import Training

#: Seed counts that tables show, and the most that is recommended.
SHOWN_SEEDS = (1, 2, 4)
MAX_SEEDS = 8


@dataclass(frozen=True)
class NoiseFloor:
    """The noise at one fidelity: the baseline and other architectures over common `seeds`, the baseline's own noise
    over all of its seeds.

    The score is in fractions of 1, loss in nats; `train_seconds` is the mean of a training.
    """

    epochs: int
    seeds: int
    architectures: int
    train_seconds: float
    score: Noise
    loss: Noise

    def to_json(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "seeds": self.seeds,
            "architectures": self.architectures,
            "train_seconds": self.train_seconds,
            "score": _noise_json(self.score),
            "loss": _noise_json(self.loss),
        }


@dataclass(frozen=True)
class Advice:
    """What a budget of time is best spent on: so many epochs and seeds for each of `trials` candidates.

    `resolvable` is the difference that this resolves. `epochs` is None where nothing fits; `seconds` is then what the
    cheapest would take. Without a `signal`, no spread of the architectures stood out of the noise anywhere.
    """

    budget_seconds: float
    trials: int
    workers: int
    epochs: int | None
    seeds: int
    seconds: float
    resolvable: float | None
    signal: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def scored(view: RunView) -> tuple[Training, ...]:
    """All trainings of a run that have a score and a loss: those of its trials, and those beside them."""
    return tuple(training for training in view.trainings if None not in (training.score, training.loss))


def trial_epochs(view: RunView) -> int | None:
    """The fidelity of the run's trials."""
    epochs = (view.config.get("training") or {}).get("epochs")
    return int(epochs) if epochs else None


def noise_floors(view: RunView) -> tuple[NoiseFloor, ...]:
    """The noise at each fidelity at which the baseline was trained more than once; cheapest first."""
    return floors_of(scored(view), view.baseline_architecture)


def floors_of(trainings: Iterable[Training], baseline: Architecture) -> tuple[NoiseFloor, ...]:
    """The noise at each fidelity, from the architectures and seeds of the baseline that tell most of it together."""
    by_epochs: dict[int, dict[str, dict[int, Training]]] = defaultdict(lambda: defaultdict(dict))
    for training in trainings:
        if training.error is None and None not in (training.score, training.loss):
            by_epochs[training.epochs][training.architecture.key][training.seed] = training
    floors = []
    for epochs, table in sorted(by_epochs.items()):
        own = table.pop(baseline.key, {})
        if len(own) < 2:
            continue
        seeds, others = _common(set(own), list(table.values()))
        rows = [[row[seed] for seed in seeds] for row in (own, *others)]
        seconds = fmean(r.train_seconds for row in (*rows, own.values()) for r in row)
        image = one_image(r for row in (*rows, own.values()) for r in row)
        of_scores = _noise_of(rows, list(own.values()), lambda r: r.score or 0.0, image)
        of_losses = _noise_of(rows, list(own.values()), lambda r: -(r.loss or 0.0))
        floors.append(NoiseFloor(epochs, len(seeds), len(rows), seconds, of_scores, of_losses))
    return tuple(floors)


_Row = Mapping[int, Training]


def _common(own: set[int], others: Sequence[_Row]) -> tuple[list[int], list[_Row]]:
    """Seeds of the baseline, and the others that were trained under all of them: those with most degrees of freedom."""
    candidates = {frozenset(own), *(frozenset(own & set(row)) for row in others)}
    sets = [seeds for seeds in sorted(candidates, key=sorted) if len(seeds) > 1]
    found = [(seeds, [row for row in others if seeds <= set(row)]) for seeds in sets]
    seeds, having = max(found, key=lambda one: (len(one[1]) * (len(one[0]) - 1), len(one[0])))
    return sorted(seeds), having


def _noise_of(
    rows: Sequence[Sequence[Training]], own: Sequence[Training], figure: Callable[[Training], float], step: float = 0.0
) -> Noise:
    """Of the networks over their common seeds; what is of the baseline alone, over all of its own."""
    alone = noise_of(np.array([[figure(r) for r in own]]), step)
    common = noise_of(np.array([[figure(r) for r in row] for row in rows]), step)
    return replace(common, raw_sd=alone.raw_sd, raw_df=alone.raw_df)


def one_image(trainings: Iterable[Training]) -> float:
    """The accuracy of one validation image; 0 where their number is not known, or no images are counted."""
    return 1 / min((r.images for r in trainings if r.images and r.correct is not None), default=math.inf)


def recommend(floors: Sequence[NoiseFloor], budget_seconds: float, trials: int, workers: int) -> Advice | None:
    """The fidelity and seeds that tell most architectures apart, of those whose trainings fit the budget.

    Told apart is judged by the spread of the architectures' score over the paired difference that is resolvable.
    Where no spread stands out of the noise, small noise says nothing (untrained networks have none): the longest
    fidelity is taken, and the seeds that fit. None without floors.
    """
    if not floors:
        return None
    signal = any(floor.score.spread_sd for floor in floors)
    ranked: list[tuple[tuple[float, float], Advice]] = []
    for floor in floors:
        each = floor.train_seconds * trials / workers
        for seeds in range(1, MAX_SEEDS + 1):
            if each * seeds > budget_seconds:
                break
            resolvable = resolvable_score(floor, seeds)
            told_apart = (floor.score.spread_sd or 0.0) / max(resolvable, 1e-12)
            advice = Advice(budget_seconds, trials, workers, floor.epochs, seeds, each * seeds, resolvable, signal)
            ranked.append(((told_apart, -seeds) if signal else (floor.epochs, seeds), advice))
    if ranked:
        return max(ranked, key=lambda entry: entry[0])[1]
    cheapest = min(floors, key=lambda floor: floor.train_seconds)
    seconds = cheapest.train_seconds * trials / workers
    return Advice(budget_seconds, trials, workers, None, 1, seconds, None, signal)


def resolvable_score(floor: NoiseFloor, seeds: int) -> float:
    """Of paired candidates, where their noise was measured; else of unpaired ones."""
    paired = floor.score.paired_resolvable(seeds)
    return floor.score.unpaired_resolvable(seeds) if paired is None else paired


def advice_text(advice: Mapping[str, Any]) -> str:
    """The recommendation in a sentence."""
    trials = f"{advice['trials']} trials on {advice['workers']} worker{'' if advice['workers'] == 1 else 's'}"
    budget = format_duration(advice["budget_seconds"])
    if advice["epochs"] is None:
        return (
            f"No measured fidelity fits {budget}: one seed of the cheapest takes "
            f"{format_duration(advice['seconds'])} for {trials}; give fewer trials, more time, or measure fewer epochs."
        )
    return (
        f"For {budget}: {counted(advice['epochs'], 'epoch')} and {counted(advice['seeds'], 'seed')} a candidate, "
        f"which take {format_duration(advice['seconds'])} for {trials} and resolve "
        f"{points(advice['resolvable'])}."
        + (
            ""
            if advice["signal"]
            else " The architectures did not differ by more than noise at any fidelity: the longest."
        )
    )


def noise_rows(floors: Iterable[NoiseFloor]) -> list[list[str]]:
    """A line for each fidelity and metric, under `NOISE_COLUMNS`."""
    rows = []
    for floor in floors:
        for name, noise in (("score (points)", floor.score), ("loss", floor.loss)):
            show = _hundredths if name != "loss" else _nats
            rows.append(
                [
                    str(floor.epochs), name, show(noise.raw_sd), show(noise.paired_sd), show(noise.spread_sd),
                    " / ".join(show(noise.unpaired_resolvable(n)) for n in SHOWN_SEEDS),
                    " / ".join(show(noise.paired_resolvable(n)) for n in SHOWN_SEEDS) if noise.paired_df else "n/a",
                    f"{floor.architectures} × {floor.seeds}", format_duration(floor.train_seconds),
                ]
            )  # fmt: skip
    return rows


_SEEDS = ", ".join(map(str, SHOWN_SEEDS))
NOISE_COLUMNS = (
    "epochs", "of", "baseline SD", "paired SD", "spread", f"unpaired, {_SEEDS} seeds", f"paired, {_SEEDS} seeds",
    "networks × seeds", "a training",
)  # fmt: skip
NOISE_LEGEND = (
    "baseline SD: of all-add over seeds; paired SD: of the difference of two architectures under one seed; spread: "
    "of the architectures themselves, noise taken out; unpaired, paired: the difference that so many seeds resolve "
    f"(found with {POWER:.0%} probability at {CONFIDENCE:.0%} confidence), each architecture under its own or all "
    "under the same. The validation images are the same throughout: what others would show is not in it."
)


def points(value: float | None) -> str:
    """A size in percentage points: `0.31 points`."""
    return "n/a" if value is None else f"{100 * value:.2f} points"


def noise_story(floors: Sequence[NoiseFloor], score_label: str) -> list[str]:
    """The floor in sentences, one for each fidelity."""
    story = []
    for floor in floors:
        a = floor.score
        sentence = (
            f"At {counted(floor.epochs, 'epoch')} the {score_label} of all-add has a standard deviation of "
            f"{points(a.raw_sd)} over {a.raw_df + 1} seeds"
        )
        if a.paired_sd is not None:
            sentence += (
                f", a difference of two architectures under one seed {points(a.paired_sd)}: one seed resolves "
                f"{points(a.paired_resolvable(1))}, four {points(a.paired_resolvable(4))}"
            )
        story.append(f"{sentence}.")
    return story


def _noise_json(noise: Noise) -> dict[str, Any]:
    return {
        **asdict(noise),
        "resolvable_unpaired": {str(n): noise.unpaired_resolvable(n) for n in SHOWN_SEEDS},
        "resolvable_paired": {str(n): noise.paired_resolvable(n) for n in SHOWN_SEEDS},
        "not_distinguishable_below": {str(n): noise.critical(n) for n in SHOWN_SEEDS},
    }


def _hundredths(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.2f}"


def _nats(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def counted(number: int, name: str) -> str:
    """`1 epoch`, `3 epochs`."""
    return f"{number} {name}{'' if number == 1 else 's'}"
