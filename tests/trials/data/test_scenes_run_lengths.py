"""Compressed run lengths: the check before pycocotools agrees with pycocotools."""

from __future__ import annotations

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trials.data.problems import BadEntry
from trials.data.readers.run_lengths import area, decode, mask_counts


def encode(mask: NDArray[np.uint8]) -> bytes:
    counts: bytes = pycocotools.mask.encode(np.asfortranarray(mask))["counts"]
    return counts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.02, 0.98), st.integers(0, 2**31))
def test_what_pycocotools_wrote_is_read_as_it_was(height: int, width: int, share: float, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    mask[0, 0] = 1
    counts = encode(mask)
    assert mask_counts({"size": [height, width], "counts": counts.decode()}, height, width) == counts
    np.testing.assert_array_equal(decode(counts, height, width), mask)
    assert area(counts, height, width) == mask.sum()


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12))
def test_any_text_is_a_mask_of_the_size_or_refused(text: str) -> None:
    try:
        counts = mask_counts({"size": [6, 5], "counts": text}, 6, 5)
    except BadEntry:
        return
    assert 0 < decode(counts, 6, 5).sum() <= 30


def test_a_text_cut_in_mid_number_is_refused() -> None:
    counts = encode(np.pad(np.ones((30, 30), dtype=np.uint8), 40)).decode()
    for length in range(len(counts)):
        with pytest.raises(BadEntry):
            mask_counts({"size": [110, 110], "counts": counts[:length]}, 110, 110)
