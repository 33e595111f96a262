"""One process, or several as torchrun starts them: each takes its share of every batch, gradients are averaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import distributed, nn

from trials.tasks.batches import Draws
from trials.tasks.scenes import SceneDraws


@dataclass(frozen=True)
class Processes:
    """This process's place among them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """The one that writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Its own of several GPUs."""
        found = torch.device(name)
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if found.type == "cuda" else found

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are the mean over all processes."""
        return network if self.count == 1 else nn.parallel.DistributedDataParallel(network)

    def share(self, draws: Draws | SceneDraws) -> Draws | SceneDraws:
        """This process's images of a batch, as many as the others have.

        Of scenes the first of each process are flipped and cut alike, and so on.
        """
        if self.count == 1:
            return draws
        most = len(draws.places) // self.count * self.count
        if isinstance(draws, SceneDraws):
            return replace(draws, places=draws.places[self.rank : most : self.count])

        def own(given: torch.Tensor | None) -> torch.Tensor | None:
            return None if given is None else given[..., self.rank : most : self.count]

        # Mixed within its share: the partners' order there is a permutation again.
        partners = None if draws.partners is None else draws.partners[self.rank : most : self.count].argsort().argsort()
        places = draws.places[self.rank : most : self.count]
        return Draws(places, own(draws.shifts), own(draws.colours), own(draws.holes), partners, draws.share)

    def barrier(self) -> None:
        """Wait until all are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def processes() -> Iterator[Processes]:
    """Those that torchrun started, connected while inside; one where it did not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
