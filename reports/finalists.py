"""The end of a search: its finalists, trained anew over paired seeds and judged on images that it never saw.

Which trials are finalists is decided in `chosen` alone. What their trainings came to is read from the record, the
figures of single images from the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.trial_view import TrialView
from reports.view import RunView
from trials.record.images import final_images_path, read_images
from trials.record.training import Training

if TYPE_CHECKING:
    from reports.paired import Gain, Plan
    from trials.readings import Images


def chosen(view: RunView, count: int) -> tuple[TrialView, ...]:
    """The finalists: the best of the front and, where that has fewer, the best of what else is within the budgets
    and did not fail in a longer look; without all-add, which is trained beside them whatever it costs."""
    base = view.baseline_trial
    others = (t for t in view.able if not t.on_front)
    rest = sorted(others, key=lambda t: (-(t.quality or 0.0), t.result.number))
    order = [t for t in (*view.front, *rest) if base is None or t.result.number != base.result.number]
    return tuple(order[:count])


@dataclass(frozen=True)
class FinalPlan:
    """What is asked of the finalists: their `trials` and that of all-add, under `seeds` in their order, of which
    `least` before the first look and all at most; `epochs` each; `wanted` is how many finalists there were to be.
    `skipped` says why there are none, `ended_at` when they were through."""

    trials: tuple[int, ...]
    baseline: int | None
    seeds: tuple[int, ...]
    least: int
    epochs: int
    wanted: int
    ended_at: float | None = None
    skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FinalPlan:
        lists = {name: tuple(data[name]) for name in ("trials", "seeds")}
        return cls(**{**data, **lists})


@dataclass(frozen=True)
class Finalist:
    """A trial and its trainings as a finalist, by seed: those that have a score."""

    trial: TrialView
    trainings: Mapping[int, Training]
    failed: tuple[Training, ...]

    @property
    def score(self) -> float | None:
        """On the test split, the mean over its seeds."""
        scores = [t.score for t in self.trainings.values() if t.score is not None]
        return fmean(scores) if scores else None


@dataclass(frozen=True)
class Finals:
    """The finalists of a run, all-add first, and how they compare."""

    view: RunView
    plan: FinalPlan
    control: Finalist
    rivals: tuple[Finalist, ...]

    @property
    def everyone(self) -> tuple[Finalist, ...]:
        return (self.control, *self.rivals)

    @property
    def test(self) -> Plan:
        """The plan of the sequential test."""
        from reports.paired import Plan  # with scipy: read where there are finalists only

        return Plan(len(self.rivals), self.plan.least, len(self.plan.seeds))

    @cached_property
    def by_score(self) -> tuple[Gain | None, ...]:
        """Of each rival, by the leading figure."""
        return self._gains("score", lambda images: images.right)

    @cached_property
    def by_loss(self) -> tuple[Gain | None, ...]:
        """Of each rival, by how much lower its loss is: of classifiers at each network's own temperature."""
        return self._gains("loss", lambda images: None if images.tempered is None else -images.tempered.astype(float))

    @property
    def images(self) -> int | None:
        """How many each was judged by."""
        return next((t.images for one in self.everyone for t in one.trainings.values()), None)

    @property
    def tempered(self) -> bool:
        """Whether losses are those at each network's own temperature."""
        return all(each is not None and each.tempered is not None for each in self._readings.values())

    @cached_property
    def _readings(self) -> dict[tuple[int, int], Images | None]:
        """By trial and seed; None of what has none, or whose file is gone."""
        found: dict[tuple[int, int], Images | None] = {}
        for one in self.everyone:
            for seed, training in one.trainings.items():
                path = final_images_path(self.view.path, training)
                found[one.trial.result.number, seed] = read_images(path) if path.is_file() else None
        return found

    def _gains(self, figure: str, of_images: Any) -> tuple[Gain | None, ...]:
        from reports.paired import gains

        if not self.rivals:
            return ()
        seeds = self.plan.seeds
        table = np.full((1 + len(self.rivals), len(seeds)), np.nan)
        for row, one in enumerate(self.everyone):
            for seed, training in one.trainings.items():
                plain = training.score if figure == "score" else -(training.loss or 0.0)
                table[row, seeds.index(seed)] = plain
        values = {key: of_images(each) for key, each in self._readings.items() if each is not None}
        if any(values.get(key) is None for key in self._readings):  # scenes, or a file is gone: seeds alone
            return tuple(gains(table, self.test))
        for row, one in enumerate(self.everyone):
            for seed in one.trainings:
                table[row, seeds.index(seed)] = float(np.mean(values[one.trial.result.number, seed]))
        by_image: list[Any] = []
        base = self.control.trial.result.number
        for one in self.rivals:
            common = [seed for seed in seeds if seed in one.trainings and seed in self.control.trainings]
            number = one.trial.result.number
            pairs = [values[number, seed].astype(float) - values[base, seed].astype(float) for seed in common]
            by_image.append(np.stack(pairs) if pairs else None)
        return tuple(gains(table, self.test, by_image))

    @property
    def unfinished(self) -> tuple[Finalist, ...]:
        """Whom another seed is to be spent on."""
        from reports.paired import unfinished

        return tuple(self.rivals[place] for place in unfinished(self.by_score, self.by_loss, self.test))


def finals_of(view: RunView, looked_at: int | None = None) -> Finals | None:
    """The finalists that a run asked for, as after so many seeds where that is given; None where it asked for none, or
    none could be chosen."""
    if view.finals_plan is None:
        return None
    plan = FinalPlan.from_json(view.finals_plan)
    trials = {trial.result.number: trial for trial in view.complete}
    if plan.baseline not in trials or not plan.trials or not set(plan.trials) <= trials.keys():
        return None
    by_key: dict[str, list[Training]] = {}
    start = trials[plan.baseline].result.start
    for training in view.finals:
        if (training.epochs, training.start) == (plan.epochs, start) and training.seed in plan.seeds[:looked_at]:
            by_key.setdefault(training.architecture.key, []).append(training)

    def finalist(number: int) -> Finalist:
        mine = by_key.get(trials[number].result.architecture.key, [])
        scored = {t.seed: t for t in mine if t.score is not None}
        return Finalist(trials[number], scored, tuple(t for t in mine if t.error is not None))

    return Finals(view, plan, finalist(plan.baseline), tuple(finalist(number) for number in plan.trials))
