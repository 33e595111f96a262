"""Optuna's samplers as people use them: asked and told, the budget neither gated nor told unless said."""

from __future__ import annotations

import optuna

from nas.bench.arena.playing import Ask, Brief, Told
from nas.bench.arena.rivals import Remembering
from search_spaces.architecture import FusionChoice
from trials.seeds import derive


class _Asked(Remembering):
    """Accuracy upwards and multiply-adds downwards, by whatever sampler; duplicates are trained again."""

    tells_budget = False

    def __init__(self, brief: Brief, figure: str = "accuracy") -> None:
        super().__init__(brief, figure)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=self.sampler(derive(brief.seed, "sampler") % 2**32)
        )
        self._trials: list[tuple[Ask, optuna.Trial]] = []

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        raise NotImplementedError

    def ask(self) -> Ask:
        trial = self._study.ask()
        choices = {
            variable.name: FusionChoice.parse(
                trial.suggest_categorical(variable.name, list(map(str, variable.choices)))
            )
            for variable in self.brief.space.variables
        }
        asked = self.look(self.brief.space.assign(choices))
        self._trials.append((asked, trial))
        return asked

    def tell(self, told: Told) -> None:
        super().tell(told)
        place = next(place for place, (asked, _) in enumerate(self._trials) if asked is told.ask)
        _, trial = self._trials.pop(place)
        macs = self.brief.price(told.ask.architecture).macs
        if self.tells_budget and self.brief.max_macs is not None:
            trial.set_constraint("macs", macs / self.brief.max_macs - 1)
        self._study.tell(trial, [self.quality(told), float(macs)])


class OptunaSearch(_Asked):
    """What `ray.tune.search.optuna.OptunaSearch` makes unless told otherwise: a TPE sampler with Optuna's defaults."""

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=seed)


class NSGA2(_Asked):
    """Deb et al., IEEE TEC 2002, as Optuna has it, told the budget. Its population of 50 would not see a second
    generation here: a quarter of the looks that there are, at most that."""

    tells_budget = True

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        looks = self.brief.images // self.brief.looks[self.brief.look]
        return optuna.samplers.NSGAIISampler(population_size=max(4, min(50, looks // 4)), seed=seed)


class GaussianProcess(_Asked):
    """Optuna's GPSampler, told the budget. Seconds an ask: for the whole comparison alone."""

    tells_budget = True

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)
