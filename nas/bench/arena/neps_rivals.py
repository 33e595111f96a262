"""NePS's PriMO, from the library itself. Takes neural-pipeline-search 0.17; docs/bench.md says how it is installed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

with warnings.catch_warnings():  # of what it imports, at import
    warnings.simplefilter("ignore")
    from neps import AskAndTell, Categorical, IntegerFidelity, PipelineSpace
    from neps.optimizers import algorithms

from nas.bench.arena.playing import Ask, Brief, Told
from nas.bench.arena.rivals import Remembering
from nas.bench.editions import Schedule
from search_spaces.architecture import FusionChoice
from trials.seeds import derive

Found = TypeVar("Found")


class PriMO(Remembering):
    """Basu et al., PriMO, 2025, without an expert's prior, for nobody has one here: a beginning by asynchronous
    multi-objective halving, then a Gaussian process on error and multiply-adds weighed at random, at the longest look.
    It knows no budget. Multiply-adds are told in multiples of all-add's."""

    def __init__(self, brief: Brief, figure: str = "accuracy") -> None:
        super().__init__(brief, figure)
        self._fidelities = {Schedule.parse(name).epochs: name for name in brief.looks}
        fields: dict[str, Any] = {
            f"point{place}": Categorical(tuple(map(str, variable.choices)))
            for place, variable in enumerate(brief.space.variables)
        }
        fields["epochs"] = IntegerFidelity(lower=min(self._fidelities), upper=max(self._fidelities))
        space = algorithms.convert_neps_to_classic_search_space(type("Space", (PipelineSpace,), fields)())
        seed = derive(brief.seed, "primo") % 2**32
        self._state = random.Random(seed).getstate(), np.random.RandomState(seed).get_state(), _torch_state(seed)
        self._optimiser = self._drawing(lambda: AskAndTell(algorithms.primo(space, prior_centers={})))
        self._asked: dict[int, str] = {}
        self._all_add = brief.price(brief.space.baseline).macs

    def ask(self) -> Ask | None:
        try:
            trial = self._drawing(self._optimiser.ask)
        except (ValueError, AssertionError):
            # The library fails where no training of a rung has ended, or none at the longest look: wait for them.
            if self._asked:
                return None
            raise
        variables = self.brief.space.variables
        choices = {v.name: FusionChoice.parse(trial.config[f"point{place}"]) for place, v in enumerate(variables)}
        asked = Ask(self.brief.space.assign(choices), self._fidelities[trial.config["epochs"]], self.brief.seed)
        self._asked[id(asked)] = trial.metadata.id
        return asked

    def tell(self, told: Told) -> None:
        super().tell(told)
        macs = self.brief.price(told.ask.architecture).macs / self._all_add
        result = {"objective_to_minimize": [-self.quality(told), macs]}
        self._drawing(lambda: self._optimiser.tell(self._asked.pop(id(told.ask)), result))

    def _drawing(self, call: Callable[[], Found]) -> Found:
        """Under random states of its own: it draws from the global ones."""
        outside = random.getstate(), np.random.get_state(), torch.get_rng_state()
        _set(self._state)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call()
        finally:
            self._state = random.getstate(), np.random.get_state(), torch.get_rng_state()
            _set(outside)


def _torch_state(seed: int) -> torch.Tensor:
    return torch.Generator().manual_seed(seed).get_state()


def _set(states: tuple[Any, Any, torch.Tensor]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
