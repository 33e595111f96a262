"""The last stage that trains: the finalists and all-add, anew, over paired seeds, until a verdict is decided.

What they come to is read after every seed, and only who is still open is trained under another. They are judged on the
test split at the end of each training, and nothing else ever is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from nas.engines.engine import Engine
from nas.engines.interruption import Interruption
from nas.planning.planner import Planner
from nas.planning.watched import Watched
from nas.stages.stage import Search
from nas.trainings.prepared import Prepared
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import TrainingSource, Wanted, always, missing
from reports.finalists import Finalist, FinalPlan, chosen, finals_of
from reports.formatting import format_percent
from reports.lines import choices_text
from reports.noise import counted
from reports.verdict import verdict_of
from reports.view import RunView
from trials.data import DataError
from trials.judge import TrialPlan
from trials.record.training import Training
from trials.training.final import judged_split


class Finalists:
    """Judges as many finalists as the configuration wants."""

    def missing(self, search: Search) -> bool:
        ended = search.planner.ended
        if ended is not None and ended.cut and search.view.baseline_trial is None:
            return False  # there was no time for it: it is not that it could not be trained
        return search.config.wanted_finalists > 0

    def run(self, search: Search) -> None:
        record = RunRecord(search.folder, search.store)
        judge_finalists(
            search.prepared, record, search.engine, search.plan, search.progress.say, search.interruption,
            search.planner,
        )  # fmt: skip


def judge_finalists(
    prepared: Prepared,
    record: RunRecord,
    engine: Engine,
    plan: TrialPlan,
    say: Callable[[str], None],
    interruption: Interruption,
    planner: Planner | None = None,
) -> RunView:
    """Train what is missing of the finalists, record each, and return the run with them; `plan` is a complete one.

    Where a planner has too little time left for all, they are fewer, or under fewer seeds; where it has none for even
    one under two, none is begun, and there is no verdict yet.

    Raises Interrupted, everything that was trained recorded.
    """
    view = record.view
    former, asked = view.finals_plan, _asked(view.estimated(), prepared)
    if asked.skipped is None and planner is not None:
        fitting = _fitting(asked, record, planner, say)
        if fitting is None:
            return record.view.estimated()
        asked = fitting
    record.put({"finals": asked.to_json()})
    if asked.skipped is not None:
        say(f"no finalists: {asked.skipped}")
        return record.view.estimated()
    looks = _Looks(record, asked, say, planner)
    todo = looks.next()
    if todo:
        _announce(looks, prepared, say)
        first = asked.seeds[0]

        def keep(training: Training, weights: bytes) -> None:
            if training.seed == first:
                record.keep_weights(training, weights)

        def ended(training: Training) -> None:
            found = training.error or f"{format_percent(training.score)} on the test images"
            say(f"finalist, seed {training.seed}: {found}  [{choices_text(training.architecture)}]")

        interruption.check()
        allowed = always if planner is None else planner.final
        source = TrainingSource(
            todo, plan.start.name, prepared, record, ended, interruption, looks.next, may_begin=allowed, keep=keep
        )
        engine.run(plan, source if planner is None else Watched(source, planner))
        if looks.cut_short:
            if former is not None and former["ended_at"] is not None:
                record.put({"finals": former})
                say("what is left is less than the finalists would take: the verdict of before stays")
            else:
                say("no verdict yet: what is left is less than the finalists would take")
            return record.view.estimated()
    record.put({"finals": replace(asked, ended_at=time.time()).to_json()})
    view = record.view.estimated()
    verdict = verdict_of(view)
    assert verdict is not None
    say(verdict.text)
    return view


def _fitting(asked: FinalPlan, record: RunRecord, planner: Planner, say: Callable[[str], None]) -> FinalPlan | None:
    """As many of the finalists under as many seeds as there is time for; None where there is too little."""
    view = record.view
    by_number = {t.result.number: t.result.architecture for t in view.complete}

    def trainings(finalists: int, seeds: int) -> list[Wanted]:
        who = [by_number[number] for number in (asked.baseline or 0, *asked.trials[:finalists])]
        return missing([Wanted(a, s, asked.epochs, True) for s in asked.seeds[:seeds] for a in who], view.finals)

    found = planner.finals(len(asked.trials), trainings)
    if found is None:
        planner.without_finals = True
        say(f"no finalists: {planner.too_little(trainings(1, 2))}")
        return None
    finalists, least = found
    if (finalists, least) != (len(asked.trials), asked.least):
        fewer = f"{counted(finalists, 'finalist')} × {counted(least, 'seed')}"
        say(f"{fewer} in place of {len(asked.trials)} × {asked.least}: more would not end in time")
    return replace(asked, trials=asked.trials[:finalists], least=least)


class _Looks:
    """What is to be trained next: the first look's seeds, then a seed more for who is still open, until nobody is, or
    there is no time for one more."""

    def __init__(
        self, record: RunRecord, asked: FinalPlan, say: Callable[[str], None], planner: Planner | None
    ) -> None:
        self._record, self._asked, self._say, self._planner = record, asked, say, planner
        self._seeds = 0  # of the look that was handed out last

    @property
    def everyone(self) -> tuple[Finalist, ...]:
        finals = finals_of(self._record.view)
        assert finals is not None
        return finals.everyone

    @property
    def cut_short(self) -> bool:
        """Whether they have not been trained under two seeds in common, nor failed, when time was over."""
        if self._planner is None:
            return False
        seeds = self._asked.seeds[: self._asked.least]
        wanted = [
            Wanted(o.trial.result.architecture, s, self._asked.epochs, True) for s in seeds for o in self.everyone
        ]
        left = missing(wanted, self._record.view.finals)
        self._planner.without_finals = bool(left) and len({one.seed for one in left}) > len(seeds) - 2
        return self._planner.without_finals

    def next(self) -> list[Wanted]:
        """Empty when the verdict is decided, or no seed is left that could."""
        asked = self._asked
        while self._seeds < len(asked.seeds):
            view = self._record.view
            finals = finals_of(view, self._seeds)
            assert finals is not None
            if self._seeds == 0:
                who, self._seeds, seeds = finals.everyone, asked.least, asked.seeds[: asked.least]
            else:
                open_ = finals.unfinished
                if not open_:
                    return []
                who, seeds = (finals.control, *open_), asked.seeds[self._seeds : self._seeds + 1]
                self._seeds += 1
            wanted = [Wanted(one.trial.result.architecture, seed, asked.epochs, True) for seed in seeds for one in who]
            if todo := missing(wanted, view.finals):
                if self._seeds > asked.least:
                    if self._planner is not None and not self._planner.fits_finals(todo):
                        self._planner.leave_out("not decided yet, and there is no time for a seed more")
                        return []
                    names = ", ".join(str(one.trial.result.number) for one in who if one is not finals.control)
                    self._say(f"not decided yet of {names}: a seed more, {self._seeds} now")
                return todo
        return []


def _asked(view: RunView, prepared: Prepared) -> FinalPlan:
    config = prepared.config
    seeds, wanted = config.seeds_of_finalists, config.wanted_finalists
    plan = FinalPlan((), None, seeds, config.finalist_seeds, config.rung_epochs[-1], wanted)
    base, finalists = view.baseline_trial, chosen(view, wanted)
    why = None
    try:
        judged_split(prepared.data)
    except DataError as error:
        why = str(error)
    if base is None:
        why = "all-add was not trained to its end, and there is nothing to hold them against"
    elif not finalists:
        why = "no trained network beside all-add is within the budgets"
    if why is not None or base is None:
        return replace(plan, skipped=why, ended_at=time.time())
    return replace(plan, trials=tuple(t.result.number for t in finalists), baseline=base.result.number)


def _announce(looks: _Looks, prepared: Prepared, say: Callable[[str], None]) -> None:
    config, data = prepared.config, prepared.data
    control, *rivals = looks.everyone
    names = ", ".join(str(one.trial.result.number) for one in rivals)
    most = len(config.seeds_of_finalists)
    more = f", up to {most} while the verdict is open" if most > config.finalist_seeds else ""
    say(
        f"finalists: {'trials' if len(rivals) > 1 else 'trial'} {names} and all-add (trial "
        f"{control.trial.result.number}) anew, {counted(config.finalist_seeds, 'seed')} each{more}: on "
        f"{len(data.train) + len(data.val):,} training and validation images, judged on "
        f"{len(judged_split(data)):,} that the search never saw"
    )
