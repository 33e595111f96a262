"""Random streams: the same for the same seed and purpose, on every machine and for ever."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trials.seeds import derive, drawing, generator

PURPOSES: tuple[tuple[str | int, ...], ...] = (
    ("initialisation",), ("order", 0), ("order", 1), ("order", 11), ("augmentation", 0), ("augmentation", 1),
)  # fmt: skip


def test_a_stream_is_for_ever() -> None:
    assert derive(0, "order", 1) == 4489457307835839548


@given(st.integers(-(2**70), 2**70), st.text(max_size=5), st.integers(0, 10**6))
def test_a_seed_is_one_that_torch_takes(seed: int, purpose: str, epoch: int) -> None:
    derived = derive(seed, purpose, epoch)
    assert 0 <= derived < 2**63
    assert derive(seed, purpose, epoch) == derived
    torch.Generator().manual_seed(derived)


@pytest.mark.parametrize("seed", [0, 1, -1])
def test_purposes_have_streams_of_their_own(seed: int) -> None:
    for one, other in combinations(PURPOSES, 2):
        assert derive(seed, *one) != derive(seed, *other)
    assert len({derive(given_seed, "order", 0) for given_seed in range(1000)}) == 1000


def test_a_generator_is_its_own() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (
        torch.rand(4, generator=generator(*given)) for given in ((0, "order", 1), (0, "order", 1), (1, "order", 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


def test_what_is_drawn_meanwhile_follows_from_seed_and_purpose_and_is_seen_by_nobody() -> None:
    """Of torch, numpy and Python alike, also where it ends in an error."""
    cpu, found = torch.device("cpu"), []
    for disturbance, purpose in ((1, ("network", 0)), (2, ("network", 0)), (2, ("network", 1))):
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)
        random.seed(disturbance)
        with suppress(KeyError), drawing(cpu, 7, *purpose):
            found.append(drawn())
            raise KeyError
        after = drawn()
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)
        random.seed(disturbance)
        assert after == drawn()
    assert found[0] == found[1]
    assert all(one != other for one, other in zip(found[1], found[2], strict=True))


@pytest.mark.gpu
def test_on_a_gpu_too() -> None:
    cuda = torch.device("cuda")
    before = torch.cuda.get_rng_state(cuda)
    found = []
    for _ in range(2):
        with drawing(cuda, 7, "network", 0):
            found.append(torch.rand(8, device=cuda))
        assert torch.equal(torch.cuda.get_rng_state(cuda), before)
    assert torch.equal(*found)
