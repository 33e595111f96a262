"""The stage that a search is named for: architectures are proposed and trained, and the noise of the first measured."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

from nas.engines.engine import JobSource
from nas.engines.interruption import Interrupted
from nas.planning.watched import Watched
from nas.proposing.promotion import Promoter
from nas.proposing.proposer import Problem, make_proposer
from nas.session.driver import Driver, Look
from nas.session.promotions import Promotions
from nas.stages.opening_noise import repeats, with_noise
from nas.stages.stage import Search


class Trials:
    """Trains what is missing of the trials that the configuration wants."""

    def missing(self, search: Search) -> bool:
        return True  # a complete search is not begun; one whose noise is to be known better may have all its trials

    def run(self, search: Search) -> None:
        config, prepared, view, planner = search.config, search.prepared, search.view, search.planner
        problem = Problem(
            prepared.space, prepared.feasibility, view.pricing, tuple(config.objectives), config.seed, config.beliefs,
            config.rung_epochs[-1], view.evidence,
        )  # fmt: skip
        look = Look(config.seed, config.training.epochs, search.plan.start.name)
        driver = Driver(
            search.folder, search.store, problem, prepared.costs, make_proposer(config.sampler, problem),
            config.wanted_trials, look, search.progress, search.interruption, planner.another, search.progress.say,
        )  # fmt: skip
        planner.trained = lambda: driver.trained
        if (narrow := problem.candidates.narrow()) is not None:
            search.progress.say(narrow)
        todo = repeats(prepared, view)
        planner.open(len(todo))
        search.progress.begin(view, planner.looks, config.training.epochs, search.engine.workers)
        planner.on_plan = lambda: search.progress.begin(
            search.view, planner.looks, config.training.epochs, search.engine.workers
        )  # fmt: skip
        source: JobSource = driver
        numbers = count(-1, -1)  # of what is no trial
        if len(config.rung_epochs) > 1:
            source = Promotions(
                driver, Promoter(problem, config.rung_epochs[-1]), look, config.rung_epochs, prepared, search.store,
                search.progress.say, search.interruption, numbers, planner.longer,
            )  # fmt: skip
        source = with_noise(
            source, todo, prepared, search.store, look.start, search.progress.say, search.interruption, driver.learn,
            numbers, planner.repeat, sum(r.trained or r.latency is not None for r in view.results),
        )  # fmt: skip
        try:
            search.engine.run(search.plan, Watched(source, planner))
        except Interrupted:
            driver.stop()
            raise
        except BaseException:
            with suppress(Exception):  # what cannot be recorded now (the disk is full, say) is tried again all the same
                driver.stop()
            raise
        finally:
            driver.close()
        if planner.lost:
            return  # the next session has looks to take, and what belongs to them
        why = driver.why_exhausted if driver.exhausted else None
        if why is not None:
            search.progress.say(f"the search ended early: {why}")
        planner.looks_are_over(why)
