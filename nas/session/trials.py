"""The stage that a search is named for: architectures are proposed and trained, and the noise of the first measured."""

from __future__ import annotations

from itertools import count

from nas.engines.engine import JobSource
from nas.engines.interruption import Interrupted
from nas.proposing.promotion import Promoter
from nas.proposing.proposer import Problem, make_proposer
from nas.session.driver import Driver, Look
from nas.session.promotions import Promotions
from nas.stages.opening_noise import with_noise
from nas.stages.stage import Search


class Trials:
    """Trains what is missing of the trials that the configuration wants."""

    def missing(self, search: Search) -> bool:
        return True  # a complete search is not begun; one whose noise is to be known better may have all its trials

    def run(self, search: Search) -> None:
        config, prepared, view = search.config, search.prepared, search.view
        problem = Problem(
            prepared.space, prepared.feasibility, view.pricing, tuple(config.objectives), config.seed, config.beliefs,
            config.rung_epochs[-1], view.evidence,
        )  # fmt: skip
        look = Look(config.seed, config.training.epochs, search.plan.start.name)
        driver = Driver(
            search.folder, search.store, problem, prepared.costs, make_proposer(config.sampler, problem),
            config.trials, look, search.progress, search.interruption,
        )  # fmt: skip
        search.progress.begin(view, config.trials, config.training.epochs, search.engine.workers)
        source: JobSource = driver
        numbers = count(-1, -1)  # of what is no trial
        if len(config.rung_epochs) > 1:
            source = Promotions(
                driver, Promoter(problem, config.rung_epochs[-1]), look, config.rung_epochs, prepared, search.store,
                search.progress.say, search.interruption, numbers,
            )  # fmt: skip
        source = with_noise(
            source, prepared, search.store, view, look.start, search.progress.say, search.interruption, driver.learn,
            numbers,
        )  # fmt: skip
        try:
            search.engine.run(search.plan, source)
        except Interrupted:
            driver.stop()
            raise
        if driver.exhausted:
            search.progress.say("the search ended early: no unseen architecture within the budgets was found")
