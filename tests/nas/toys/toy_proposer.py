"""A proposer that is Optuna's quasi-random sampler."""

from __future__ import annotations

import optuna

from nas.proposing.study import Study


class ToyProposer(Study):
    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed)
