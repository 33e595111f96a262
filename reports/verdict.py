"""What a search came to, in words and numbers: by its finalists, or by estimates where none were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from reports.budgets import over_budget
from reports.estimates import gain_text, percent_interval, seen_text, sure_of_gain, trainings_text
from reports.finalists import Finalist, FinalPlan, Finals, finals_of
from reports.formatting import format_percent
from reports.lines import choices_text
from reports.noise import counted
from reports.trial_view import TrialView
from reports.view import RunView
from trials.trial import TrialResult

if TYPE_CHECKING:
    from reports.paired import Gain


#: Choices of so many characters at the most stand in a verdict: those of a deep network are a paragraph.
_READABLE = 80


@dataclass(frozen=True)
class Verdict:
    """What a search came to, in one sentence and in numbers.

    `trial` is the finalist that beats all-add and is within the run's present budgets, None where none does; `outside`
    the one that beats it and is not within them, where that is all there is: budgets may have been tightened since it
    was judged. `decided` is False where neither can be said, nor the contrary. `by` is the figure that decided, `loss`
    where the leading one could not, `estimate` where no finalists were judged. `gain`, `low` and `high` are of the
    leading figure (0..1) on the test split: of that trial or, where nothing wins, of the finalist that came nearest to
    it. `missed` is the largest gain of any finalist that cannot be excluded, None where none could be judged.
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
    outside: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
    # What is named is to be shipped: who is not within the present budgets stands behind all who are.
    within = [place for place in judged if finals.rivals[place].trial.feasible]
    for places in (within, judged):
        if (found := _by_score(finals, judged, places) or _by_loss(finals, judged, places)) is not None:
            return found
    return _none(finals, judged)


def verdict_by_estimates(view: RunView) -> Verdict | None:
    """What the estimates of a run say where no finalists were judged; None where nothing was estimated, nothing is
    within the budgets, or all-add has no score."""
    best = next(iter(view.front), None)
    if best is None or best.gain is None or view.model is None:
        return None
    gain = best.gain
    missed = max(0.0, *(t.gain.high / 100 for t in view.able if t.gain is not None))
    of = f"by estimate from {trainings_text(view)} on images that it was selected by"
    sure = sure_of_gain(view)
    if sure:
        named = _trial_name(best.result, capital=True)
        text = f"{named} beats all-add by {gain_text(best)} points of {view.score_label}, {of}"
    else:
        text = f"Nothing is known to beat all-add, {of}; the largest gain that could have been missed is "
        text += f"{100 * missed:.1f} points of {view.score_label}"
    return Verdict(
        f"{text}; nas finalists judges it on others", decided=False, trial=best.result.number if sure else None,
        by="estimate", gain=gain.mean / 100, low=gain.low / 100, high=gain.high / 100, missed=missed,
    )  # fmt: skip


def _by_score(finals: Finals, judged: Sequence[int], places: Sequence[int]) -> Verdict | None:
    there = [place for place in places if (found := finals.by_score[place]) is not None and found.wins]
    if not there:
        return None
    place, gain = _best(finals.by_score, there)
    text = (
        f"{_named(finals.rivals[place], capital=True)} beats all-add by {_points(gain)} of {_label(finals)} on "
        f"{_unseen(finals)} ({counted(gain.seeds, 'seed')})"
    )
    return _verdict(finals, judged, place, text, decided=True, by=finals.view.metric)


def _by_loss(finals: Finals, judged: Sequence[int], places: Sequence[int]) -> Verdict | None:
    from reports.paired import wins_by_loss

    there = [place for place in places if wins_by_loss(finals.by_score[place], finals.by_loss[place])]
    if not there:
        return None
    place, loss = _best(finals.by_loss, there)
    gain = finals.by_score[place]
    assert gain is not None
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

    # A gain that nobody may ship is not missed.
    within = [place for place in judged if finals.rivals[place].trial.feasible] or judged
    place, gain = max(((p, g) for p in within if (g := finals.by_score[p]) is not None), key=lambda each: each[1].high)
    missed = max(0.0, gain.high)
    seeds = max(g.seeds for g in finals.by_score if g is not None)
    text = (
        f"Nothing beats all-add on {_unseen(finals)} ({counted(len(judged), 'finalist')}, "
        f"{counted(seeds, 'seed')}); the largest gain that could have been missed is {100 * missed:.1f} points of "
        f"{_label(finals)} ({_named(finals.rivals[place])}){_contrary(finals, judged)}"
    )
    return _verdict(finals, within, place, text, decided=missed < MATTERS, by=None)


def _contrary(finals: Finals, judged: Sequence[int]) -> str:
    """Who has the lower loss and is worse by the leading figure all the same: no winner, and not to be passed over."""
    there = [p for p in judged if (loss := finals.by_loss[p]) is not None and loss.wins]
    if not there:
        return ""
    named = ", ".join(f"trial {finals.rivals[place].trial.result.number}" for place in there)
    have = "have" if len(there) > 1 else "has"
    return f"; {named} {have} a lower loss, but a worse {_label(finals)}"


def _verdict(finals: Finals, judged: Sequence[int], place: int, text: str, decided: bool, by: str | None) -> Verdict:
    gain, loss, trial = finals.by_score[place], finals.by_loss[place], finals.rivals[place].trial
    assert gain is not None
    missed = max(0.0, *(g.high for p in judged if (g := finals.by_score[p]) is not None))
    winner = None if by is None else trial.result.number
    outside = winner is not None and not trial.feasible
    return Verdict(
        text + (_not_within(trial) if outside else ""), decided, None if outside else winner, by, gain.mean, gain.low,
        gain.high, missed, None if loss is None else {"gain": loss.mean, "low": loss.low, "high": loss.high},
        winner if outside else None,
    )  # fmt: skip


def _not_within(trial: TrialView) -> str:
    if trial.feasible is None:
        return f"; but whether trial {trial.result.number} is within the present budgets is not known"
    return f"; but trial {trial.result.number} is not within the present budgets: {over_budget(trial)}"


def _best(found: Sequence[Gain | None], places: Sequence[int]) -> tuple[int, Gain]:
    """That of the largest mean."""
    there = [(place, gain) for place in places if (gain := found[place]) is not None]
    return max(there, key=lambda each: each[1].mean)


def _named(finalist: Finalist, capital: bool = False) -> str:
    return _trial_name(finalist.trial.result, capital)


def _trial_name(r: TrialResult, capital: bool = False) -> str:
    """With its choices, where these can be read in a sentence."""
    choices = choices_text(r.architecture)
    said = f" ({choices})" if len(choices) <= _READABLE else ""
    return f"{'T' if capital else 't'}rial {r.number}{said}"


def _points(gain: Gain, sign: bool = False) -> str:
    mean, margin = 100 * gain.mean, 100 * gain.margin
    places = 1 if margin >= 0.095 else 2
    return f"{mean:{'+' if sign else ''}.{places}f} ± {margin:.{places}f} points"


def _label(finals: Finals) -> str:
    return finals.view.score_label


def _unseen(finals: Finals) -> str:
    return f"{finals.images:,} test images that the search never saw"


FINAL_COLUMNS = ("trial", "seen", "selected by", "test", "gain", "loss", "seeds", "choices")


def final_rows(finals: Finals) -> list[list[str]]:
    """A line for each finalist under `FINAL_COLUMNS`, all-add first: the score that was seen on the validation images,
    the estimate that it was selected by, and what came of it."""
    rows = []
    for one, gain, loss in zip(finals.everyone, (None, *finals.by_score), (None, *finals.by_loss), strict=True):
        r = one.trial.result
        rows.append(
            [
                f"{r.number}" + (", all-add" if one is finals.control else ""),
                seen_text(finals.view, one.trial, ""),
                format_percent(r.score) if one.trial.estimate is None else percent_interval(one.trial),
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
    base = finals.control.trial.quality
    said = [
        f"Each is trained anew on training and validation images together, under {counted(finals.plan.least, 'seed')} "
        f"or more that all-add has too, and judged on {_unseen(finals)}. ± are the gains that cannot be excluded: "
        f"corrected for {counted(len(finals.rivals), 'finalist')} and for looking again after each further seed."
    ]
    # Gains, which are paired by seed: who was dropped has fewer of them than all-add.
    there = [
        (one.trial.quality - base, gain.mean)
        for one, gain in zip(finals.rivals, finals.by_score, strict=True)
        if one.trial.quality is not None and gain is not None and base is not None
    ]
    if there:
        selected, tested = (100 * fmean(part) for part in zip(*there, strict=True))
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
                "seen": one.trial.result.score,
                "selected": one.trial.quality,
                "score": one.score,
                "seeds": {str(seed): t.score for seed, t in one.trainings.items()},
                "gain": None if gain is None else asdict(gain),
                "loss_gain": None if loss is None else asdict(loss),
                "errors": [t.error for t in one.failed],
            }
            for one, gain, loss in compared
        ],
    }
