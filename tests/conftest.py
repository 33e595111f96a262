"""What holds for all tests: random numbers are seeded; what needs a GPU skips, with the reason, where none is."""

from __future__ import annotations

import sys

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Without it a test that draws numbers draws others on every run, and fails on some day for no reason.
    # One that never imported torch is not made to.
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, and there is none")
