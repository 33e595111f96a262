"""How far a run's ranking can be trusted: do its short trials rank as longer ones do, and which are told apart?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import fmean
from typing import Any

import numpy as np

from reports.estimates import estimate_story, not_told_apart
from reports.formatting import format_percent
from reports.noise import counted, noise_floors, noise_story, one_image, points, scored, trial_epochs
from reports.significance import (
    Estimate,
    estimate,
    noise_of,
    top_recall,
)
from reports.view import RunView
from trials.ranks import Scores, kendall_tau, spearman
from trials.record.training import Training

#: Below this many architectures a rank correlation says nothing.
FEWEST = 5
#: What ranks the short trials, and what of the long ones it is held against.
PAIRS = (("score", "score"), ("loss", "score"), ("loss", "loss"))


@dataclass(frozen=True)
class Agreement:
    """How trainings of `epochs` epochs, one seed, rank a sample by `ranked_by` beside longer ones by `held_against`.

    `cost_share` is what one takes of a long one's seconds. `recall` is of the best `k`; `regret` what the long score
    of the short ones' best falls short of the best. `ceiling` marks one long seed against the mean of the others: what
    seeds alone allow.
    """

    epochs: int
    ranked_by: str
    held_against: str
    architectures: int
    cost_share: float
    k: int
    kendall: Estimate
    spearman: Estimate
    recall: Estimate
    regret: float
    ceiling: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Trust:
    """What `nas trust` found. `wanted` trainings were asked for, `missing` are still to do or failed.

    `distinguishable_pairs` of `pairs` differ in long score by more than their seeds' noise.
    """

    epochs: int
    seeds: int
    architectures: int
    wanted: int
    missing: int
    agreements: tuple[Agreement, ...]
    pairs: int
    distinguishable_pairs: int | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def trust_of(view: RunView) -> Trust | None:
    """What is known by now; None where `nas trust` was never asked, or too little is trained."""
    plan = view.trust_plan
    if plan is None:
        return None
    known = {training.look: training for training in scored(view)}
    sample, seeds, long = [str(key) for key in plan["sample"]], [int(s) for s in plan["seeds"]], int(plan["epochs"])
    shorts, first = [int(e) for e in plan["fidelities"]], int(plan["short_seed"])
    asked = [(key, seed, long) for seed in seeds for key in sample] + [
        (key, first, e) for e in shorts for key in sample
    ]
    missing = sum(identity not in known for identity in asked)
    table = long_table(known, sample, seeds, long)
    pairs, apart = len(table) * (len(table) - 1) // 2, None
    if len(seeds) > 1 and len(table) >= FEWEST:
        scores = scores_of(table, "score")
        noise = noise_of(scores, one_image(r for row in table for r in row))
        means, (i, j) = scores.mean(1), np.triu_indices(len(table), 1)
        apart = int((np.abs(means[i] - means[j]) > (noise.critical(len(seeds)) or 0.0)).sum())
    agreements = agreements_of(known, table, shorts, first)
    return Trust(long, len(seeds), len(table), len(asked), missing, agreements, pairs, apart)


#: Trainings by what identifies them: architecture, seed, epochs.
Known = Mapping[tuple[str, int, int], Training]
#: Long trainings, a row of all seeds for each architecture.
LongTable = Sequence[Sequence[Training]]


def long_table(known: Known, keys: Iterable[str], seeds: Sequence[int], epochs: int) -> LongTable:
    """The trainings of `epochs` epochs of the architectures that were trained under every seed."""
    complete = [key for key in keys if all((key, seed, epochs) in known for seed in seeds)]
    return [[known[key, seed, epochs] for seed in seeds] for key in complete]


def agreements_of(known: Known, table: LongTable, shorts: Iterable[int], seed: int) -> tuple[Agreement, ...]:
    """How trainings of each of `shorts` epochs under `seed` rank beside the long ones; last, what seeds alone allow.

    Nothing where there are fewer than `FEWEST` architectures.
    """
    found: list[Agreement] = []
    for epochs in shorts:
        short = [(row[0].architecture.key, seed, epochs) for row in table]
        here = [(known[key], row) for key, row in zip(short, table, strict=True) if key in known]
        if len(here) >= FEWEST:
            found += [_short_agreement(epochs, here, pair) for pair in PAIRS]
    if len(table) >= FEWEST and len(table[0]) > 1:
        found += [_ceiling(table[0][0].epochs, table, name) for name in ("score", "loss")]
    return tuple(found)


def scores_of(table: LongTable, name: str) -> Scores:
    """[architectures, seeds], higher is better."""
    sign = 1.0 if name == "score" else -1.0
    return sign * np.array([[getattr(r, name) for r in row] for row in table], float)


def _short_agreement(
    epochs: int, here: Sequence[tuple[Training, Sequence[Training]]], pair: tuple[str, str]
) -> Agreement:
    short = scores_of([[r] for r, _ in here], pair[0])[:, 0]
    long = scores_of([row for _, row in here], pair[1]).mean(1)
    cost = fmean(r.train_seconds for r, _ in here) / fmean(r.train_seconds for _, row in here for r in row)
    return _agreement(epochs, pair, cost, short[None], long[None], ceiling=False)


def _ceiling(epochs: int, table: LongTable, name: str) -> Agreement:
    scores = scores_of(table, name).T
    others = np.stack([np.delete(scores, s, axis=0).mean(0) for s in range(len(scores))])
    return _agreement(epochs, (name, name), 1.0, scores, others, ceiling=True)


def _agreement(epochs: int, pair: tuple[str, str], cost: float, x: Scores, y: Scores, ceiling: bool) -> Agreement:
    """x, y: [rows, architectures]; statistics are means over rows."""
    n = x.shape[1]
    k = ceil(n / 4)
    regret = float((y.max(1) - np.take_along_axis(y, x.argmax(1)[:, None], 1)[:, 0]).mean())
    tau, rho, recall = (estimate(statistic, x, y) for statistic in (kendall_tau, spearman, top_recall(k)))
    return Agreement(epochs, *pair, n, cost, k, tau, rho, recall, regret, ceiling)


def trust_story(view: RunView) -> list[str]:
    """What stands beside every ranking: the noise, the estimates, who is as good for all that is known, agreement."""
    floors = noise_floors(view)
    epochs = trial_epochs(view)
    story = noise_story([floor for floor in floors if floor.epochs == epochs], view.score_label)
    story += estimate_story(view)
    trust = trust_of(view)
    if trust is not None:
        story += _trust_sentences(trust)
    return story


def _trust_sentences(trust: Trust) -> list[str]:
    story = []
    for a in trust.agreements:
        if a.ranked_by == a.held_against == "score" and not a.ceiling:
            story.append(
                f"Trainings of {counted(a.epochs, 'epoch')} rank {a.architectures} architectures as {trust.epochs} "
                f"epochs (mean of {counted(trust.seeds, 'seed')}) do with a Kendall τ of {estimate_text(a.kendall)}, "
                f"at {format_percent(a.cost_share, 0)} of the cost."
            )
    if trust.distinguishable_pairs is not None:
        story.append(
            f"At {trust.epochs} epochs, {trust.distinguishable_pairs} of {trust.pairs} pairs are distinguishable by "
            f"{counted(trust.seeds, 'seed')} (of equal ones, 1 in 20 would be)."
        )
    if trust.missing:
        story.append(f"Of {trust.wanted} trainings that nas trust asked for, {trust.missing} are missing or failed.")
    return story


def estimate_text(e: Estimate) -> str:
    """`0.62 (0.31 to 0.82)`; without an interval where there are too few to give one."""
    if e.value is None:
        return "n/a"
    if e.low is None or e.high is None:
        return f"{_signed(e.value)} (too few for an interval)"
    return f"{_signed(e.value)} ({_signed(e.low)} to {_signed(e.high)})"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


AGREEMENT_COLUMNS = (
    "epochs", "cost", "ranked by", "held against", "Kendall τ", "Spearman ρ", "of the best k", "chance", "regret",
)  # fmt: skip


def agreement_rows(trust: Trust) -> list[list[str]]:
    """A line for each agreement, under `AGREEMENT_COLUMNS`."""
    return [
        [
            f"{a.epochs} (one seed, the others)" if a.ceiling else str(a.epochs), format_percent(a.cost_share, 0),
            a.ranked_by, f"{a.held_against} at {trust.epochs}", estimate_text(a.kendall), estimate_text(a.spearman),
            f"{estimate_text(a.recall)} of {a.k}", format_percent(a.k / a.architectures, 0),
            points(a.regret) if a.held_against == "score" else f"{a.regret:.4f}",
        ]
        for a in trust.agreements
    ]  # fmt: skip


AGREEMENT_LEGEND = (
    "cost: of one short training beside a long one; held against: the mean of the long seeds; in brackets 95 % "
    "intervals by resampling the architectures; of the best k: how many of the long ones' best are among the short "
    "ones'; regret: what the short ones' best falls short of the best; one seed, the others: what seeds alone allow"
)


def trust_json(view: RunView) -> dict[str, Any]:
    """Noise, agreement and what is not distinguishable, as programs read it."""
    floors, trust = noise_floors(view), trust_of(view)
    alike = not_told_apart(view)
    return {
        "noise": [floor.to_json() for floor in floors],
        "advice": None if view.advice is None else dict(view.advice),
        "agreement": None if trust is None else trust.to_json(),
        "not_distinguishable_from_best": None if alike is None else [t.result.number for t in alike],
    }
