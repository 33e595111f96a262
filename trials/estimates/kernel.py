"""How alike architectures are: five parts of a kernel over fusion choices, each between 0 and 1 and 1 of itself.

The kernel knows that operators do alike wherever they are, that an operator may do otherwise at one point, that ratios
of one operator are close, that pairs of points may go together, and that an architecture has something of its own:

    alike      the share of points with the same operator, whichever point each stands at (histogram intersection)
    operator   the share of points at which both have the same operator
    choice     the share of points at which both have the same operator with the same ratio
    pairs      the share of pairs of points at which both have the same operators
    identity   whether they are one architecture

Each is positive definite: a sum, or a product, of comparisons for equality.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture

Values = NDArray[np.float64]
#: Architectures as numbers [n, points] of operators, and of choices.
Numbered = tuple[NDArray[np.int64], NDArray[np.int64]]
PARTS = ("alike", "operator", "choice", "pairs", "identity")


def parts(one: Sequence[Architecture], other: Sequence[Architecture]) -> Values:
    """[5, n, m] of architectures of one space, in the order of `PARTS`."""
    names = sorted({choice.op for a in (*one, *other) for choice in a.choices.values()})
    labels = sorted({str(choice) for a in (*one, *other) for choice in a.choices.values()})
    first, second = ((_numbers(some, names), _numbers(some, labels, whole=True)) for some in (one, other))
    return parts_of(first, second, len(names))


def parts_of(one: Numbered, other: Numbered, operators: int) -> Values:
    """[5, n, m], likewise, of architectures that are numbers already, of so many operators."""
    (ops, choices), (other_ops, other_choices) = one, other
    points = ops.shape[1]
    labels = 1 + max(int(choices.max(initial=0)), int(other_choices.max(initial=0)))
    found = np.empty((len(PARTS), len(ops), len(other_ops)))
    bags, same_op, same, pairs, identity = found
    np.matmul(_bags(ops, operators), _bags(other_ops, operators).T, out=bags)
    np.matmul(_indicators(ops, operators), _indicators(other_ops, operators).T, out=same_op)
    np.matmul(_indicators(choices, labels), _indicators(other_choices, labels).T, out=same)
    np.equal(same, points, out=identity, casting="unsafe")
    pairs[:] = same_op * (same_op - 1) / (points * (points - 1)) if points > 1 else same_op
    for counted in (bags, same_op, same):
        counted /= points
    return found


def _numbers(architectures: Sequence[Architecture], names: Sequence[str], whole: bool = False) -> NDArray[np.int64]:
    """[n, points]: each choice's place among the names."""
    place = {name: number for number, name in enumerate(names)}
    rows = [[place[str(c) if whole else c.op] for c in a.choices.values()] for a in architectures]
    return np.array(rows, np.int64).reshape(len(architectures), -1)


def _indicators(numbers: NDArray[np.int64], size: int) -> Values:
    """[n, points · size]: 1 where a point has a number. Their products count the points at which two are equal."""
    return np.asarray((numbers[:, :, None] == np.arange(size)).reshape(len(numbers), -1), np.float64)


def _bags(numbers: NDArray[np.int64], size: int) -> Values:
    """[n, size · points]: 1 where a number stands at so many points or more. Their products count what is common."""
    counts = (numbers[:, :, None] == np.arange(size)).sum(1)
    return np.asarray((counts[:, :, None] > np.arange(numbers.shape[1])).reshape(len(numbers), -1), np.float64)
