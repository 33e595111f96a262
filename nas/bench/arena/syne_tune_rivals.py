"""Syne Tune's asynchronous multi-objective halving, from the library itself.

Takes syne-tune 0.16: `pip install 'fusion-nas[bench]'`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA as Scheduler  # noqa: N811

from nas.bench.arena.playing import Ask, Brief, Told
from nas.bench.arena.rivals import Remembering
from nas.bench.editions import Schedule
from search_spaces.architecture import FusionChoice
from trials.seeds import derive

_BEGUN = datetime(2020, 1, 1)


class MOASHA(Remembering):
    """Schmucker et al., Multi-objective Asynchronous Successive Halving, 2021, with the library's defaults: error and
    multiply-adds downwards, an epsilon-net within fronts. A trial that is let go on is trained at the next fidelity, a
    complete schedule. The library knows no budget: what is over it is trained all the same, and a duplicate too."""

    def __init__(self, brief: Brief, figure: str = "accuracy") -> None:
        super().__init__(brief, figure)
        self._epochs = {name: Schedule.parse(name).epochs for name in brief.looks}
        space = {variable.name: choice(list(map(str, variable.choices))) for variable in brief.space.variables}
        # It draws from numpy's global state, which is put back after each call.
        self._random = np.random.RandomState(derive(brief.seed, "moasha") % 2**32).get_state()
        self._scheduler = Scheduler(
            space, ["error", "macs"], time_attr="epochs", max_t=max(self._epochs.values()), grace_period=1,
            random_seed=brief.seed % 2**31,
        )  # fmt: skip
        self._asked: dict[int, tuple[Ask, Trial]] = {}
        self._going_on: list[tuple[Ask, Trial]] = []
        self._begun = 0

    def ask(self) -> Ask:
        if self._going_on:
            asked, trial = self._going_on.pop(0)
        else:
            suggestion = self._drawing(self._scheduler.suggest)
            choices = {name: FusionChoice.parse(value) for name, value in suggestion.config.items()}
            asked = Ask(self.brief.space.assign(choices), next(iter(self.brief.looks)), self.brief.seed)
            trial = Trial(self._begun, suggestion.config, _BEGUN)
            self._begun += 1
            self._drawing(lambda: self._scheduler.on_trial_add(trial))
        self._asked[id(asked)] = asked, trial
        return asked

    def tell(self, told: Told) -> None:
        super().tell(told)
        asked, trial = self._asked.pop(id(told.ask))
        epochs, macs = self._epochs[asked.fidelity], self.brief.price(asked.architecture).macs
        result = {"epochs": epochs, "error": -self.quality(told), "macs": float(macs)}
        if self._scheduler.on_trial_result(trial, result) == SchedulerDecision.CONTINUE:
            names = list(self.brief.looks)
            following = names[names.index(asked.fidelity) + 1]
            self._going_on.append((Ask(asked.architecture, following, asked.seed), trial))

    def _drawing(self, call: Any) -> Any:
        outside = np.random.get_state()
        np.random.set_state(self._random)
        try:
            return call()
        finally:
            self._random = np.random.get_state()
            np.random.set_state(outside)
