"""What a network is before the first step of its training: new, a trained parent's child, a path of a supernet."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from safetensors.torch import load
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.inheritance import inherit
from search_spaces.loading import load_weights
from search_spaces.space import SearchSpace
from search_spaces.supernet import build_path, build_supernet, choose_path
from trials.seeds import derive


class Start(Protocol):
    """Makes the network that a trial trains. Part of a plan, so it is pickled once for all workers.

    `recalibrates` says that the running statistics of batch norms are taken anew before evaluation.
    """

    recalibrates: ClassVar[bool]

    @property
    def name(self) -> str:
        """As a record has it: `scratch`, or a regime and the digest of the weights that are started from."""

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        """On the CPU, what is new in it from torch's seed; `seed` is for what is random later."""


@dataclass(frozen=True)
class FromScratch:
    """`scratch`: new weights throughout."""

    recalibrates: ClassVar[bool] = False
    name: ClassVar[str] = "scratch"

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        return space.build(architecture)


@dataclass(frozen=True)
class FromParent:
    """`inherit`: a trained all-add network (its state as safetensors bytes) into which the operators are put.

    An operator that starts as the sum leaves the parent's outputs as they are; of any other the trunk is inherited.
    """

    recalibrates: ClassVar[bool] = False
    weights: bytes = field(repr=False)

    @cached_property
    def name(self) -> str:
        return f"inherit:{digest_of(self.weights)}"

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # new fusions have the weights that they have in a new network
            parent = space.build(space.baseline)
        load_weights(parent, load(self.weights), "the parent")
        return inherit(parent, architecture, space)


@dataclass(frozen=True)
class FromSupernet:
    """`supernet`: the architecture's path through a trained supernet (its state as safetensors bytes)."""

    recalibrates: ClassVar[bool] = True
    weights: bytes = field(repr=False)

    @cached_property
    def name(self) -> str:
        return f"supernet:{digest_of(self.weights)}"

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        return build_path(space, architecture, load(self.weights))


@dataclass(frozen=True)
class WholeSupernet:
    """The supernet itself, to be trained: each step takes a path drawn uniformly from the space by (seed, step).

    In evaluation it is the architecture that was asked for.
    Source: Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020.
    """

    recalibrates: ClassVar[bool] = True
    name: ClassVar[str] = "scratch"

    def network(self, space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
        supernet = build_supernet(space)
        supernet.path_steps = 0  # type: ignore[assignment]  # how many it has taken, see trials.training.resumable

        def take_path(module: Any, inputs: Any) -> None:
            drawn = architecture
            if module.training:
                drawn = space.sample(random.Random(derive(seed, "path", module.path_steps)))
                module.path_steps += 1
            choose_path(supernet, drawn)

        supernet.register_forward_pre_hook(take_path)
        return supernet


def digest_of(weights: bytes) -> str:
    """16 hex digits that tell a file of weights from any other."""
    return hashlib.sha256(weights).hexdigest()[:16]


def start_from(regime: str, weights: bytes) -> Start:
    """The start of a trial under a regime that shares trained weights."""
    kinds: Mapping[str, type[FromParent] | type[FromSupernet]] = {"inherit": FromParent, "supernet": FromSupernet}
    return kinds[regime](weights)
