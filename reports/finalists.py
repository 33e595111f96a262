"""The end of a search: its finalists, trained anew over paired seeds, judged on images that it never saw; the verdict.

Which trials are finalists is decided in `chosen` alone. What their trainings came to is read from the record, the
figures of single images from the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.estimates import gain_text, sure_of_gain
from reports.formatting import format_percent
from reports.lines import choices_text
from reports.noise import counted
from reports.view import RunView, TrialView
from trials.record.images import final_images_path, read_images
from trials.record.training import Training

if TYPE_CHECKING:
    from reports.paired import Gain, Plan
    from trials.readings import Images


def chosen(view: RunView, count: int) -> tuple[TrialView, ...]:
    """The finalists: the best of the front and, where that has fewer, the best of what else is within the budgets;
    without all-add, which is trained beside them whatever it costs."""
    base = view.baseline_trial
    others = (t for t in view.feasible if not t.on_front)
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
class Verdict:
    """What a search came to, in one sentence and in numbers.

    `trial` is the finalist that beats all-add, None where nothing does; `decided` is False where neither that nor
    the contrary can be said. `by` is the figure that decided, `loss` where the leading one could not, `estimate` where
    no finalists were judged. `gain`, `low` and `high` are of the leading figure (0..1) on the test split: of that trial
    or, where nothing wins, of the finalist that came nearest to it. `missed` is the largest gain of any finalist that
    cannot be excluded, None where none could be judged.
    """

    text: str
    decided: bool
    trial: int | None = None
    by: str | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    missed: float | None = None
    loss: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
        return all(each is not None for each in self._readings.values())

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


def verdict_of(view: RunView) -> Verdict | None:
    """What the finalists say; None where none were asked for, or they are not through."""
    if view.finals_plan is None:
        return None
    plan = FinalPlan.from_json(view.finals_plan)
    if plan.skipped is not None:
        return Verdict(f"No verdict: {plan.skipped}", decided=False)
    finals = finals_of(view)
    if finals is None or plan.ended_at is None:
        return None
    judged = [place for place, gain in enumerate(finals.by_score) if gain is not None]
    if not judged:
        reasons = [t.error for one in finals.everyone for t in one.failed if t.error]
        why = f": {reasons[0]}" if reasons else ""
        return Verdict(f"No verdict: the finalists and all-add have fewer than two seeds in common{why}", decided=False)
    return _by_score(finals, judged) or _by_loss(finals, judged) or _none(finals, judged)


def verdict_by_estimates(view: RunView) -> Verdict | None:
    """What the estimates of a run say where no finalists were judged; None where nothing was estimated, or nothing is
    within the budgets."""
    best, base = next(iter(view.front), None), view.baseline_trial
    if best is None or best.estimate is None or view.model is None:
        return None
    gain = best.estimate.gain
    missed = max(0.0, *(t.estimate.gain.high / 100 for t in view.feasible if t.estimate is not None))
    of = f"by estimate from {view.model.looks.trainings} trainings on images that it was selected by"
    if sure_of_gain(view):
        text = (
            f"Trial {best.result.number} ({choices_text(best.result.architecture)}) beats all-add by {gain_text(best)}"
        )
        text += f" points of {view.score_label}, {of}"
    else:
        text = f"Nothing is known to beat all-add, {of}; the largest gain that could have been missed is "
        text += f"{100 * missed:.1f} points of {view.score_label}"
    own = base is not None and base.result.number == best.result.number
    return Verdict(
        f"{text}; nas finalists judges it on others", decided=False,
        trial=best.result.number if sure_of_gain(view) and not own else None, by="estimate",
        gain=gain.mean / 100, low=gain.low / 100, high=gain.high / 100, missed=missed,
    )  # fmt: skip


def _by_score(finals: Finals, judged: Sequence[int]) -> Verdict | None:
    place, gain = _best(finals.by_score, judged)
    if not gain.wins:
        return None
    text = (
        f"{_named(finals.rivals[place], capital=True)} beats all-add by {_points(gain)} of {_label(finals)} on "
        f"{_unseen(finals)} ({counted(gain.seeds, 'seed')})"
    )
    return _verdict(finals, judged, place, text, decided=True, by=finals.view.metric)


def _by_loss(finals: Finals, judged: Sequence[int]) -> Verdict | None:
    there = [place for place in judged if finals.by_loss[place] is not None]
    if not there:
        return None
    place, loss = _best(finals.by_loss, there)
    gain = finals.by_score[place]
    if not loss.wins or gain is None:
        return None
    what = "log-loss at each network's own temperature (how probable it holds the right class)"
    kind = what if finals.tempered else "task's loss (how near it comes, not only whether it is right)"
    text = (
        f"{_named(finals.rivals[place], capital=True)} beats all-add by the {kind}: {loss.mean:.4f} ± "
        f"{loss.margin:.4f} lower on {_unseen(finals)} ({counted(loss.seeds, 'seed')}); {_label(finals)} differs by "
        f"{_points(gain, sign=True)}, which these images and seeds cannot decide"
    )
    return _verdict(finals, judged, place, text, decided=True, by="loss")


def _none(finals: Finals, judged: Sequence[int]) -> Verdict:
    from reports.paired import MATTERS

    place, gain = max(((p, g) for p in judged if (g := finals.by_score[p]) is not None), key=lambda each: each[1].high)
    missed = max(0.0, gain.high)
    seeds = max(g.seeds for g in finals.by_score if g is not None)
    text = (
        f"Nothing beats all-add on {_unseen(finals)} ({counted(len(judged), 'finalist')}, "
        f"{counted(seeds, 'seed')}); the largest gain that could have been missed is {100 * missed:.1f} points of "
        f"{_label(finals)} ({_named(finals.rivals[place])})"
    )
    return _verdict(finals, judged, place, text, decided=missed < MATTERS, by=None)


def _verdict(finals: Finals, judged: Sequence[int], place: int, text: str, decided: bool, by: str | None) -> Verdict:
    gain, loss = finals.by_score[place], finals.by_loss[place]
    assert gain is not None
    missed = max(0.0, *(g.high for p in judged if (g := finals.by_score[p]) is not None))
    return Verdict(
        text, decided, None if by is None else finals.rivals[place].trial.result.number, by, gain.mean, gain.low,
        gain.high, missed, None if loss is None else {"gain": loss.mean, "low": loss.low, "high": loss.high},
    )  # fmt: skip


def _best(found: Sequence[Gain | None], places: Sequence[int]) -> tuple[int, Gain]:
    """Of those that win, else of all, that of the largest mean."""
    there = [(place, gain) for place in places if (gain := found[place]) is not None]
    return max(there, key=lambda each: (each[1].wins, each[1].mean))


def _named(finalist: Finalist, capital: bool = False) -> str:
    r = finalist.trial.result
    return f"{'T' if capital else 't'}rial {r.number} ({choices_text(r.architecture)})"


def _points(gain: Gain, sign: bool = False) -> str:
    mean, margin = 100 * gain.mean, 100 * gain.margin
    places = 1 if margin >= 0.095 else 2
    return f"{mean:{'+' if sign else ''}.{places}f} ± {margin:.{places}f} points"


def _label(finals: Finals) -> str:
    return finals.view.score_label


def _unseen(finals: Finals) -> str:
    return f"{finals.images:,} test images that the search never saw"


FINAL_COLUMNS = ("trial", "selected by", "test", "gain", "loss", "seeds", "choices")


def final_rows(finals: Finals) -> list[list[str]]:
    """A line for each finalist under `FINAL_COLUMNS`, all-add first: what it was selected by, and what came of it."""
    rows = []
    for one, gain, loss in zip(finals.everyone, (None, *finals.by_score), (None, *finals.by_loss), strict=True):
        r = one.trial.result
        rows.append(
            [
                f"{r.number}" + (", all-add" if one is finals.control else ""),
                format_percent(r.score),
                format_percent(one.score),
                "" if gain is None else _points(gain, sign=True),
                "" if loss is None else f"{-loss.mean:+.4f} ± {loss.margin:.4f}",
                str(len(one.trainings)) + (f", {len(one.failed)} failed" if one.failed else ""),
                choices_text(r.architecture),
            ]
        )
    return rows


def finals_story(finals: Finals) -> list[str]:
    """What the table shows, in sentences: regression to the mean as well."""
    pairs = [(one.trial.result.score, one.score) for one in finals.rivals]
    base = finals.control.trial.result.score, finals.control.score
    said = [
        f"Each is trained anew on training and validation images together, under {counted(finals.plan.least, 'seed')} "
        f"or more that all-add has too, and judged on {_unseen(finals)}. ± are the gains that cannot be excluded: "
        f"corrected for {counted(len(finals.rivals), 'finalist')} and for looking again after each further seed."
    ]
    there = [(a - base[0], b - base[1]) for a, b in pairs if None not in (a, b, *base)]  # type: ignore[operator]
    if there:
        selected, tested = (100 * fmean(each[k] for each in there) for k in (0, 1))
        lucky = ": the best of many is partly lucky" if tested < selected else ""
        said.append(
            f"When they were selected the finalists were {selected:+.2f} points of {_label(finals)} on all-add, on "
            f"images that they were not selected by {tested:+.2f}{lucky}."
        )
    if finals.tempered:
        said.append("The loss is each network's own, its temperature fitted on the other half of the test images.")
    return said


def finals_json(view: RunView) -> dict[str, Any] | None:
    """The finalists and the verdict as JSON, None without any."""
    finals, verdict = finals_of(view), verdict_of(view)
    if finals is None:
        return None if verdict is None else {"verdict": verdict.to_json(), "finalists": []}
    compared = zip(finals.everyone, (None, *finals.by_score), (None, *finals.by_loss), strict=True)
    return {
        "verdict": None if verdict is None else verdict.to_json(),
        "images": finals.images,
        "finalists": [
            {
                "trial": one.trial.result.number,
                "choices": one.trial.result.architecture.labels(),
                "selected": one.trial.result.score,
                "score": one.score,
                "seeds": {str(seed): t.score for seed, t in one.trainings.items()},
                "gain": None if gain is None else asdict(gain),
                "loss_gain": None if loss is None else asdict(loss),
                "errors": [t.error for t in one.failed],
            }
            for one, gain, loss in compared
        ],
    }
