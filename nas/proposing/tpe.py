"""Optuna's tree-structured Parzen estimator, multivariate: told every violation, also of what was never trained.

Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; constraints as in Optuna's c-TPE.
"""

from __future__ import annotations

import optuna

from nas.proposing.proposer import Problem
from nas.proposing.study import Study
from nas.proposing.window import ReusedTPE


class TPE(Study):
    """One sampler for all proposals, whose random state is set anew for each."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._tpe = ReusedTPE(dict(self.distributions))

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        self._tpe.reseed(seed)
        return self._tpe
