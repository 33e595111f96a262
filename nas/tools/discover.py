"""`nas discover`: the fusion points of one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from search_spaces.discovery import DiscoveredSpace, examine
from search_spaces.discovery.loading import load_model
from search_spaces.errors import SpaceError


def discover_model(
    reference: str, channels: int, size: int, operators: Sequence[str], reductions: Sequence[int]
) -> DiscoveredSpace:
    """The space of the network that `reference` names, without points when nothing in it can be varied.

    Raises SpaceError when it cannot be loaded or traced, or the size is not positive.
    """
    for option, value in (("--channels", channels), ("--size", size)):
        if value <= 0:
            raise SpaceError(f"{option}: given {value}; expected a whole number above 0")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, channels, size, size, generator=generator)
    return examine(load_model(reference), images, operators, reductions, name=reference)
