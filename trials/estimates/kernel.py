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
    same_op = _equal_points(ops, other_ops)
    same = _equal_points(choices, other_choices)
    bags, other_bags = _bags(ops, operators), _bags(other_ops, operators)
    alike = sum(np.minimum(bags[:, None, i], other_bags[None, :, i]) for i in range(operators))
    pairs = same_op * (same_op - 1) / (points * (points - 1)) if points > 1 else same_op / points
    return np.stack([alike, same_op / points, same / points, pairs, (same == points).astype(float)])


def _numbers(architectures: Sequence[Architecture], names: Sequence[str], whole: bool = False) -> NDArray[np.int64]:
    """[n, points]: each choice's place among the names."""
    place = {name: number for number, name in enumerate(names)}
    rows = [[place[str(c) if whole else c.op] for c in a.choices.values()] for a in architectures]
    return np.array(rows, np.int64).reshape(len(architectures), -1)


def _equal_points(one: NDArray[np.int64], other: NDArray[np.int64]) -> Values:
    """[n, m]: at how many points they are equal; a point at a time, so that ten thousand rows fit in memory."""
    found = np.zeros((len(one), len(other)))
    for point in range(one.shape[1]):
        found += one[:, None, point] == other[None, :, point]
    return found


def _bags(numbers: NDArray[np.int64], size: int) -> Values:
    """[n, names]: the share of points that has each."""
    return np.stack([(numbers == name).mean(1) for name in range(size)], 1)
