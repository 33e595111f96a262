"""The first architectures of a search, before anything can be estimated: well spread, every operator among them."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from nas.proposing.coded import Coded, Rows
from trials.estimates.kernel import Values, parts_of

#: Of the kernel's five parts, as the model weighs them before it has seen anything.
_MIXTURE = np.full(5, 0.2)
#: Of all that may be alike, what a weight of 2 everywhere counts.
_BELIEVED = 0.2
#: Candidates that are weighed.
_WEIGHED = 2_000


def spread_choice(coded: Coded, pool: Rows, seen: Rows, rng: random.Random, beliefs: Values) -> NDArray[np.int64]:
    """Places of the pool [n], the best next one first: that with most operators that were not seen, of these the
    farthest from its nearest among the seen ones, by the kernel; what a user believes in [n] counts as some distance.

    Source: maximin designs, Johnson, Moore & Ylvisaker 1990.
    """
    numbers = np.random.default_rng(rng.getrandbits(64))
    some = numbers.permutation(len(pool))[:_WEIGHED]
    ops, labels = coded.numbered(pool[some])
    present = np.zeros((len(some), coded.operators), bool)
    present[np.arange(len(some))[:, None], ops] = True
    there = coded.numbered(seen) if len(seen) else coded.numbered(coded.baseline)
    new = present[:, ~np.isin(np.arange(coded.operators), there[0])].sum(1)
    alike = np.tensordot(_MIXTURE, parts_of((ops, labels), there, coded.operators), 1).max(1)
    order = np.lexsort((alike - _BELIEVED * beliefs[some], -new))
    rest = np.setdiff1d(np.arange(len(pool)), some)
    return np.concatenate([some[order], rest])
