"""What the estimates of a run say in words: the best beside all-add, and who may be as good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reports.evidence import short_name
from reports.formatting import format_percent
from reports.noise import counted
from reports.trial_view import TrialView
from reports.view import RunView
from trials.record.evidence import apart
from trials.trial import TrialState

#: With this probability of being better than all-add, what was chosen for its estimate is said to be a gain.
SURE = 0.975
ASSUMED_SEEDS = "No architecture was trained under two seeds: how much those move a score is assumed, see nas noise."
ASSUMED_LONG_SEEDS = "No architecture was trained for so long under two seeds: how much those move a score is assumed."
#: With a correlation below this, losses are said to tell little of scores.
LITTLE = 0.35
#: Trials that a sentence names.
_NAMED = 8


def trainings_text(view: RunView) -> str:
    """`all 14 trainings and 34 of runs/a`: what an estimated run's estimates are made from."""
    if view.model is None:
        return "no training"
    alike = sum(training.score is not None for training in apart(view.evidence, view.trainings)[0])
    used, scored = view.model.own, view.model.scored
    own = f"{used:,} of {scored + alike:,} trainings" if used < scored + alike else f"all {scored:,} trainings"
    return " and ".join([own, *(f"{len(one.trainings):,} of {short_name(one)}" for one in view.evidence)])


def seen_text(view: RunView, trial: TrialView, seen: str = " seen") -> str:
    """`70.40% seen`: a trial's score; with rungs that of the longest look, `71.20% seen at 9 epochs`."""
    text = f"{format_percent(trial.longest.score)}{seen}"
    return f"{text} at {counted(trial.longest.epochs, 'epoch')}" if len(view.rungs) > 1 else text


def rungs_story(view: RunView) -> list[str]:
    """How many architectures were looked at for how long, and of how many epochs the estimates are; nothing without
    rungs."""
    if len(view.rungs) < 2 or not view.complete:
        return []
    longest = Counter(trial.longest.epochs for trial in view.complete)
    looks = [(epochs, sum(count for e, count in longest.items() if e >= epochs)) for epochs in view.rungs]
    first, *more = [f"{count} for {counted(epochs, 'epoch')}" for epochs, count in looks]
    text = f"Looked at: {first}, of these {', '.join(more)}"
    if failed := [trial for trial in view.feasible if trial.fails_longer is not None]:
        text += f" (off the front, for a longer look failed: {_names(failed)})"
    if view.model is None:
        return [f"{text}; scores are those of the first look."]
    estimated = estimated_epochs(view)
    text += f"; estimates are of {counted(estimated, 'epoch')}."
    if short := [trial for trial in view.front if trial.longest.epochs < estimated]:
        text += f" On the front without so long a look, by what shorter ones tell: {_names(short)}."
    return [text]


def estimated_epochs(view: RunView) -> int:
    """Of how many epochs the estimates of a run are; 0 where there are none."""
    return 0 if view.model is None else view.model.epochs


def percent_interval(trial: TrialView) -> str:
    """`70.25 ± 0.18%`: the estimate of a trial's score, where it lies with a probability of 90 %."""
    if trial.estimate is None:
        return "n/a"
    score = trial.estimate.score
    return f"{score.mean:.2f} ± {(score.high - score.low) / 2:.2f}%"


def gain_text(trial: TrialView) -> str:
    """`+0.51 ± 0.20`: points above all-add; empty where there is no estimate of it, or of all-add itself."""
    gain = trial.gain
    if gain is None or gain.low == gain.high:
        return ""
    return f"{gain.mean:+.2f} ± {(gain.high - gain.low) / 2:.2f}".replace("-", "−")


def sure_of_gain(view: RunView) -> bool:
    """Whether the best trial of an estimated run is said to beat all-add."""
    best = next(iter(view.front), None)
    return best is not None and best.better is not None and best.better >= SURE


def not_told_apart(view: RunView) -> tuple[TrialView, ...] | None:
    """Feasible trials that may be better than the best for all that is known; None where nothing was estimated."""
    best = next(iter(view.front), None)
    if view.model is None or best is None:
        return None
    others = [trial for trial in view.able if trial.result.number != best.result.number]
    if not others:
        return ()
    alike = view.model.not_told_apart([t.result.architecture for t in others], best.result.architecture)
    return tuple(trial for trial, near in zip(others, alike, strict=True) if near)


def estimate_story(view: RunView) -> list[str]:
    """The estimates in a few sentences; none where no trial is complete."""
    if not view.complete:
        return []
    if view.model is None:
        return ["No estimate can be made: " + _why_not(view), *rungs_story(view)]
    best = next(iter(view.front), None)
    if best is None:
        return []
    story = [_of_the_best(view, best), *rungs_story(view)]
    alike = not_told_apart(view)
    if alike:
        story.append(
            f"Not told apart from it: {_names(alike)} (each with a probability of at least 5 % of being better)."
        )
    elif len(view.able) > 1:
        story.append("Every other trial within the budgets is worse with a probability of 95 %.")
    story += disagreement_story(view)
    if not view.model.seeds_seen:
        story.append(assumed_seeds(view))
    return story


def assumed_seeds(view: RunView) -> str:
    """That the noise of seeds was not seen at the schedule that is estimated."""
    return ASSUMED_SEEDS if len(view.rungs) < 2 else ASSUMED_LONG_SEEDS


def disagreement_story(view: RunView) -> list[str]:
    """Where scores and losses say different things, in a sentence; none where they go along, or there are no losses."""
    if view.model is None or (along := view.model.going_along) is None:
        return []
    if along < LITTLE:
        figure = f"{along:.2f}".replace("-", "−")
        return [f"Scores and losses go along by {figure} only, so that losses tell little of the scores of this run."]
    trials = {trial.result.architecture.key: trial.result.number for trial in view.complete}
    off = [(trials[one.architecture.key], one) for one in view.model.contradictions() if one.architecture.key in trials]
    if not off:
        return []
    number, first = off[0]
    others = ", ".join(str(number) for number, _ in off[1:_NAMED])
    more = f"; so do trials {others}" if others else ""
    return [
        f"Scores and losses disagree at trial {number}: its {view.score_label} is {abs(first.points):.2f} points "
        f"{'above' if first.points > 0 else 'below'} what its loss and all other trainings say, where noise is within "
        f"{first.noise:.2f}{more}."
    ]


def _of_the_best(view: RunView, best: TrialView) -> str:
    what = f"Estimated from {trainings_text(view)}, scores and losses together: trial {best.result.number} is best"
    base = view.baseline_trial
    if best.better is None:
        return f"{what}, with {percent_interval(best)} {view.score_label}."
    if base is not None and base.result.number == best.result.number:
        return f"{what}, all-add itself, with {percent_interval(best)} {view.score_label}."
    gain, better = gain_text(best), probability_text(best.better)
    return (
        f"{what} with {percent_interval(best)} {view.score_label}, {gain} points on all-add (intervals of 90 %), "
        f"better than it with a probability of {better}."
    )


def probability_text(p: float) -> str:
    """A probability in per cent, never 0 or 100 %."""
    if p > 0.995:
        return "over 99.5%"
    return "under 0.5%" if p < 0.005 else f"{100 * p:.0f}%"


def _why_not(view: RunView) -> str:
    trained = view.count(TrialState.COMPLETE)
    if trained == 1:
        return "one architecture has a score, and an estimate takes two."
    return "too few of the trainings have a score."


def _names(trials: Sequence[TrialView]) -> str:
    numbers = [str(trial.result.number) for trial in trials]
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(numbers[:_NAMED])}{more}"
