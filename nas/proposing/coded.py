"""Architectures of a space as rows of numbers, so that ten thousand of them are priced and compared at once."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.budgets.feasibility import Feasibility
from trials.estimates.kernel import Numbered, Values
from trials.profile.predicted_set import PredictedSet

#: Row by row, the number of the choice of each variable: [n, variables].
Rows = NDArray[np.int64]
#: Spaces of up to so many architectures are looked at whole.
ENUMERATED = 20_000


class Coded:
    """The rows of a space, and which of them are within the budgets that are known without measuring."""

    def __init__(self, space: SearchSpace, feasibility: Feasibility, predicted: PredictedSet | None = None) -> None:
        """`predicted` are those within a predicted latency as well, where there is a limit to one."""
        self._predicted = predicted
        self.space, self._feasibility = space, feasibility
        self.choices = np.array([len(v.choices) for v in space.variables], np.int64)
        self._places = [{choice: n for n, choice in enumerate(v.choices)} for v in space.variables]
        names = {op: n for n, op in enumerate(space.operators)}
        self.operators = len(names)
        labels = {c: n for n, c in enumerate(dict.fromkeys(c for point in space.points for c in point.choices))}
        where = {point: (v, variable) for v, variable in enumerate(space.variables) for point in variable.points}
        #: Of each point its variable (None: it does not vary), and of each of its choices the operator and the label.
        self._points = [
            (where[p.name][0], np.array([names[c.op] for c in where[p.name][1].choices]),
             np.array([labels[c] for c in where[p.name][1].choices]))
            if p.name in where else (None, np.array([names[p.choices[0].op]]), np.array([labels[p.choices[0]]]))
            for p in space.points
        ]  # fmt: skip
        self._options = [np.array(feasibility.costs.options(v), np.int64) for v in space.variables]
        self._fixed = np.array(feasibility.costs.fixed, np.int64)

    def rows(self, architectures: Iterable[Architecture]) -> Rows:
        variables = self.space.variables
        found = [
            [place[a.choices[v.points[0]]] for v, place in zip(variables, self._places, strict=True)]
            for a in architectures
        ]
        return np.array(found, np.int64).reshape(-1, len(variables))

    def architecture(self, row: Rows) -> Architecture:
        chosen = {v.name: v.choices[number] for v, number in zip(self.space.variables, row.tolist(), strict=True)}
        return self.space.assign(chosen)

    @cached_property
    def baseline(self) -> Rows:
        """[1, variables]: all-add."""
        return self.rows([self.space.baseline])

    def numbered(self, rows: Rows) -> Numbered:
        """As the kernel takes them, point by point."""
        ops = [op[0 if v is None else rows[:, v]] for v, op, _ in self._points]
        labels = [label[0 if v is None else rows[:, v]] for v, _, label in self._points]
        return tuple(np.stack([np.broadcast_to(c, len(rows)) for c in columns], 1) for columns in (ops, labels))  # type: ignore[return-value]

    def beliefs(self, weights: Mapping[str, float], rows: Rows) -> Values:
        """[n]: how much a user believes in each: the mean over points of log2 of the operators' weights."""
        if not weights:
            return np.zeros(len(rows))
        by_op = np.log2([weights.get(name, 1.0) for name in self.space.operators])
        return np.asarray(by_op[self.numbered(rows)[0]].mean(1))

    def costs(self, rows: Rows) -> NDArray[np.int64]:
        """[n, 2]: multiply-adds and parameters, exact."""
        return self._fixed + sum(option[rows[:, v]] for v, option in enumerate(self._options))

    def within(self, rows: Rows) -> Rows:
        """Those of them within the budgets, each once, in an order that does not depend on theirs."""
        rows = np.unique(rows, axis=0)
        inside = (self.costs(rows) <= np.array(self._feasibility.bounds)).all(1)
        return np.asarray(rows[inside if self._predicted is None else inside & self._predicted.inside(rows)])

    @property
    def small(self) -> bool:
        """Whether the whole space can be looked at."""
        return self.space.size <= ENUMERATED

    @cached_property
    def all(self) -> Rows:
        """Every row within the budgets. Mind `small`."""
        whole = np.indices(tuple(self.choices)).reshape(len(self.choices), -1).T
        return self.within(whole.astype(np.int64))

    def drawn(self, rng: random.Random, count: int) -> Rows:
        """Uniform draws from within the budgets, repeated ones among them."""
        if self._predicted is not None:
            return self._predicted.drawn(rng, count)
        found = [row for row in (self._feasibility.draw(rng) for _ in range(count)) if row is not None]
        return np.array(found, np.int64).reshape(-1, len(self.choices))

    def near(self, parents: Rows, rng: random.Random, pairs: int) -> Rows:
        """Every change of one variable of the parents, and so many random changes of two of each."""
        found: list[Rows] = []
        for variable, choices in enumerate(self.choices):
            for choice in range(choices):
                changed = parents.copy()
                changed[:, variable] = choice
                found.append(changed)
        numbers = np.random.default_rng(rng.getrandbits(64))
        if len(self.choices) > 1 and len(parents):
            changed = np.repeat(parents, pairs, 0)
            order = numbers.random((len(changed), len(self.choices))).argsort(1)[:, :2]
            for place in (0, 1):
                which = order[:, place]
                changed[np.arange(len(changed)), which] = (numbers.random(len(changed)) * self.choices[which]).astype(
                    int
                )
            found.append(changed)
        return np.concatenate(found) if found else parents


def together(parts: Sequence[Rows]) -> Rows:
    """All rows, each once, in a fixed order."""
    return np.unique(np.concatenate(list(parts)), axis=0)
