"""A few seconds of the fuzz of networks; `python -m tests.fuzz.networks --count 300` is the whole of it."""

from __future__ import annotations

import os

import pytest
from networks import run

SECONDS = 12.0


@pytest.mark.slow
def test_random_networks_are_refused_in_a_line_or_searched_as_they_are() -> None:
    """FUZZ_SEED gives other ones."""
    seed = int(os.environ.get("FUZZ_SEED", 0))
    figures = run(range(seed, seed + 1_000), export_every=8, seconds=SECONDS)
    assert figures.admitted
    assert not figures.wrong, f"FUZZ_SEED={seed}: {figures}"
    assert not figures.tracebacks, f"FUZZ_SEED={seed}: {figures}"


@pytest.mark.slow
@pytest.mark.long
def test_many_random_networks() -> None:
    figures = run(range(300), export_every=1)
    assert not figures.wrong + figures.tracebacks, str(figures)
