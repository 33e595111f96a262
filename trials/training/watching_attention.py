"""How the attention weights of a network move while it is trained: a look at a few images after a few of its epochs.

Bounded in time and room: each look is one forward pass of `IMAGES` images, and what is kept of a part are two numbers
at each of at most `MOMENTS` epochs. The training is the same to the bit: nothing of the network is changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.attention_weights import See, watched
from search_spaces.fusions.registry import operator
from trials.tasks.inputs import network_inputs
from trials.training.trainer import Trainer, evenly_spaced
from trials.trial import AttentionByEpoch

#: Validation images of a look.
IMAGES = 32
#: Epochs after which it is taken at the most: of more, so many evenly spaced, the first and the last among them.
MOMENTS = 8

#: Of each part, by point and name: the end of its scale, mean and standard deviation of its weights.
_Look = dict[tuple[str, str], tuple[float, float, float]]


def moments(epochs: int) -> frozenset[int]:
    """The epochs, from 1, after which it is looked."""
    if epochs <= MOMENTS:
        return frozenset(range(1, epochs + 1))
    return frozenset(1 + round(place * (epochs - 1) / (MOMENTS - 1)) for place in range(MOMENTS))


class Watch:
    """On one training of an architecture."""

    def __init__(self, architecture: Architecture, trainer: Trainer, epochs: int) -> None:
        self._architecture, self._trainer = architecture, trainer
        attends = any(operator(choice.op).attention for choice in architecture.choices.values())
        self._moments = moments(epochs) if attends else frozenset()
        self._looks: dict[int, _Look] = {}

    def look(self, network: nn.Module, epoch: int) -> None:
        """After so many epochs of the network, on the device of its data."""
        if epoch not in self._moments:
            return
        data = self._trainer.data
        images = data.val.images[evenly_spaced(len(data.val), IMAGES).to(data.val.images.device)]
        found = _weights(network, self._architecture, images.to(next(network.parameters()).device), self._trainer)
        if all(math.isfinite(value) for figures in found.values() for value in figures):
            self._looks[epoch] = found

    def told(self) -> AttentionByEpoch | None:
        """What was seen; None where nothing was."""
        if not any(self._looks.values()):
            return None
        places = {point: place for place, point in enumerate(self._architecture.choices)}
        seen = dict.fromkeys(part for look in self._looks.values() for part in look)
        parts = sorted(seen, key=lambda part: places[part[0]])
        looks = {epoch: look for epoch, look in sorted(self._looks.items()) if look.keys() == set(parts)}
        if not looks:
            return None
        first = next(iter(looks.values()))
        return AttentionByEpoch(
            tuple(parts), tuple(first[part][0] for part in parts), tuple(looks),
            tuple(tuple(round(look[part][1], 4) for part in parts) for look in looks.values()),
            tuple(tuple(round(look[part][2], 4) for part in parts) for look in looks.values()),
        )  # fmt: skip


def _weights(network: nn.Module, architecture: Architecture, images: Tensor, trainer: Trainer) -> _Look:
    seen: dict[tuple[str, str], tuple[float, Tensor]] = {}

    def see(point: str) -> See:
        def tell(part: str, weights: Tensor, upper: float) -> None:
            values = weights.float()
            seen[point, part] = upper, torch.stack([values.mean(), values.std(correction=0)])

        return tell

    # Not in inference mode: what a network keeps of a pass for the next one must do for training, too.
    with torch.no_grad(), _evaluating(network), watched(network, architecture, see):
        network(network_inputs(images, trainer.data))
    if not seen:
        return {}
    figures = torch.stack([both for _, both in seen.values()]).tolist()  # one wait for the device
    return {part: (upper, *both) for (part, (upper, _)), both in zip(seen.items(), figures, strict=True)}


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Every module in evaluation, and afterwards as it was."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
