"""Which architectures to measure, so that few of them tell what each choice at each point takes."""

from __future__ import annotations

import random
from collections.abc import Iterator

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.space import SearchSpace, stage_of

#: The most that a profile may measure beside the all-add network.
MAX_ARCHITECTURES = 100


def designed_architectures(space: SearchSpace, count: int, seed: int) -> list[tuple[str, Architecture]]:
    """`count` different architectures, each with its part in the design: `uniform`, `stage` or `random`.

    First every operator everywhere, then every operator in one stage at a time: the ends of the range, and sums
    of few effects. At least half are random mixtures in which every choice of a point comes equally often (a
    Latin hypercube, McKay et al. 1979): each of them tells of all points at once, so that an effect is seen
    against the noise of as many measurements as its choice occurs in. Fewer when the space holds fewer.
    """
    rng = random.Random(seed)
    found = {space.baseline: "baseline"}
    for part, architecture in [*_uniform(space), *_by_stage(space)]:
        if len(found) - 1 < count // 2:
            found.setdefault(architecture, part)
    # A space that is nearly used up yields the same mixtures again and again.
    for _ in range(20):
        for architecture in _balanced(space, count - len(found) + 1, rng):
            found.setdefault(architecture, "random")
    return [(part, architecture) for architecture, part in found.items() if part != "baseline"]


def _uniform(space: SearchSpace) -> Iterator[tuple[str, Architecture]]:
    for op in space.operators:
        if any(choice.op == op for point in space.points for choice in point.choices):
            yield "uniform", space.uniform(op)


def _by_stage(space: SearchSpace) -> Iterator[tuple[str, Architecture]]:
    stages = dict.fromkeys(stage_of(variable.name) for variable in space.variables)
    for stage in stages:
        for op in space.operators:
            values = {}
            for variable in space.variables:
                offered = [c for c in variable.choices if c.op == op and stage_of(variable.name) == stage]
                values[variable.name] = offered[0] if offered else FusionChoice("add")
            if any(value.op != "add" for value in values.values()):
                yield "stage", space.assign(values)


def _balanced(space: SearchSpace, count: int, rng: random.Random) -> Iterator[Architecture]:
    """Mixtures in which every variable has each of its choices equally often, or once more."""
    columns = {}
    for variable in space.variables:
        choices = rng.sample(variable.choices, len(variable.choices))
        column = [choices[index % len(choices)] for index in range(count)]
        rng.shuffle(column)
        columns[variable.name] = column
    for row in range(count):
        yield space.assign({name: column[row] for name, column in columns.items()})
