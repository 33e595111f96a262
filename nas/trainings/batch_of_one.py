"""Whether batches of a single image can be trained on: a batch norm of a pooled map would see one value a channel."""

from __future__ import annotations

import torch
from torch import nn

from nas.settings.errors import ConfigError
from search_spaces.fusions.norms import NORMS
from search_spaces.space import SearchSpace, fusion_at


def check_batch(space: SearchSpace, batch_size: int) -> None:
    """Raises ConfigError naming the operators on offer, or the network, that do not train on batches of that size."""
    if batch_size > 1:
        return
    refusing = [op for op in space.operators if not _trains(space, op)]
    if refusing:
        others = " or ".join(norm for norm in NORMS if norm != "batch")
        raise ConfigError(
            f"training.batch_size: given {batch_size}, but {', '.join(refusing)} normalise one value a channel then, "
            f"by batch norm: give 2 or more, leave them out of operators, or give fusion.norm {others}"
        )
    with torch.random.fork_rng(devices=[]):
        network = space.build(space.baseline).train()
        image = torch.rand(1, *space.input_shape)
    if why := _error(network, image):
        raise ConfigError(
            f"training.batch_size: given {batch_size}, but {space.name} does not train on one image: {why}"
        )


def _trains(space: SearchSpace, op: str) -> bool:
    """At the first point of each kind that offers it; without gradients, for speed."""
    seen = set[object]()
    with torch.random.fork_rng(devices=[]):
        for point in space.points:
            shape, choice = point.shape, next((c for c in point.choices if c.op == op), None)
            kind = (shape.merge, len(shape.inputs), shape.height * shape.width == 1)
            if choice is None or kind in seen:
                continue
            seen.add(kind)
            channels = shape.inputs if shape.merge == "cat" else (shape.channels,) * len(shape.inputs)
            maps = [torch.rand(1, count, shape.height, shape.width) for count in channels]
            if _error(fusion_at(shape, choice, space.settings).train(), *maps):
                return False
    return True


def _error(module: nn.Module, *inputs: torch.Tensor) -> str:
    with torch.no_grad():
        try:
            module(*inputs)
        except ValueError as error:  # what torch's norms raise
            return " ".join(str(error).split())[:200]
    return ""
