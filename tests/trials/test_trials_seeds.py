"""Random streams: the same for the same seed and purpose, on every machine and for ever."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trials.seeds import derive, generator

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
