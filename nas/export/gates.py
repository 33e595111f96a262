"""Attention that stands still: weights that are the same for every image. They are said, not removed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.attention_weights import See, watched

#: Some so many images of the split that it is judged on are looked at, evenly spaced.
IMAGES = 256
_BATCH = 64
#: What moves by less than this share of its scale over all of them stands still.
STILL = 1e-3


def constant_gates(network: nn.Module, architecture: Architecture, images: Tensor) -> list[dict[str, Any]]:
    """Of each part of a fusion whose weights no image moves: its point, choice and part, their mean, and `moves`, how
    far the one that moves most does, as a share of the scale (from 0 to 1 for a gate).

    `images` are float32 [N, C, H, W], scaled, N at least 2; `network` is in evaluation.
    """
    seen: dict[tuple[str, str], list[tuple[Tensor, Tensor, float, float]]] = {}

    def see(point: str) -> See:
        def tell(part: str, weights: Tensor, upper: float) -> None:
            known = seen.setdefault((point, part), [])
            known.append((weights.amin(dim=0), weights.amax(dim=0), upper, weights.mean().item()))

        return tell

    with watched(network, architecture, see), torch.inference_mode():
        for batch in torch.split(images, _BATCH):
            network(batch)
    found = []
    for (point, part), tallies in seen.items():
        if len({tuple(low.shape) for low, *_ in tallies}) > 1:  # maps of several sizes go through it
            continue
        low = torch.stack([tally[0] for tally in tallies]).amin(dim=0)
        high = torch.stack([tally[1] for tally in tallies]).amax(dim=0)
        moves = float((high - low).max()) / tallies[0][2]
        if moves < STILL:
            mean = sum(tally[3] for tally in tallies) / len(tallies)
            choice = str(architecture.choices[point])
            found.append({"point": point, "choice": choice, "part": part, "mean": mean, "moves": moves})
    return found


def said(gate: dict[str, Any], split: str) -> str:
    """In one line; `split` is the name of the one whose images were looked at."""
    return (
        f"the {gate['part']} of {gate['choice']} at {gate['point']} is the same for every {split} image "
        f"(mean {gate['mean']:.3f}): a plainer operator would do there"
    )
