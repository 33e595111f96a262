"""What an export of a searched network will hold, before anything is trained: one is made of an untrained network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.discovery.reference import ReferencedDesign
from search_spaces.fusions import operator
from search_spaces.space import SearchSpace

_OURS = "search_spaces."


def left_out(space: SearchSpace, announce: Callable[[str], None]) -> dict[str, str]:
    """The artefacts that cannot be made of the space's networks, each with the reason in one line.

    One network with every operator on offer is tried. Those of the catalogue with our operators are not: tests export
    each of them.
    """
    from nas.export import ExportError, TrainedNetwork, export_network

    own = all(operator(name).module.__module__.startswith(_OURS) for name in space.operators)
    if own and type(space.design).__module__.startswith(_OURS) and not isinstance(space.design, ReferencedDesign):
        return {}
    announce("exporting an untrained network, to see what can be exported")
    architecture = with_every_operator(space)
    with torch.random.fork_rng(devices=[]), TemporaryDirectory(prefix="fusion-nas-check-") as folder:
        torch.manual_seed(0)
        weights = space.build(architecture).state_dict()
        classes = tuple(map(str, range(space.input.classes)))
        channels = space.input.channels
        trained = TrainedNetwork(space, architecture, weights, classes, (0.5,) * channels, (0.5,) * channels, {})
        try:
            found: dict[str, str] = export_network(trained, Path(folder) / "exported")["left_out"]
        except ExportError as error:
            return {"everything": str(error)}
    return found


def with_every_operator(space: SearchSpace) -> Architecture:
    """An architecture in which as many of the operators on offer stand as there are points, the costly ones first."""
    wanted = list(reversed(space.operators))
    choices: dict[str, FusionChoice] = {}
    chosen: dict[str, FusionChoice] = {}
    for point in space.points:
        if point.variable not in chosen:
            found = next((c for op in wanted for c in point.choices if c.op == op), point.choices[0])
            if found.op in wanted:
                wanted.remove(found.op)
            chosen[point.variable] = found
        choices[point.name] = chosen[point.variable]
    return space.architecture(choices)
