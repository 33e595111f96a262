"""Operators under autocast and in float16: the result has the maps' type, and what can be held is not infinite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_spaces.architecture import FusionChoice
from search_spaces.fusions import build_concatenation, build_fusion, operator, operator_names

CHANNELS = 16
#: Those that weigh x against y, of numbers whose difference float16 does not hold.
SELECTING = ("aff", "iaff", "gated", "efficient")


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """There autocast computes a softmax and a group norm in float32; on a CPU it does not."""
    monkeypatch.setattr(nn.Softmax, "forward", lambda self, given: torch.softmax(given.float(), self.dim))
    group_norm = torch.group_norm
    monkeypatch.setattr(
        torch, "group_norm", lambda given, groups, w, b, eps: group_norm(given.float(), groups, w, b, eps)
    )


@pytest.mark.parametrize("form", ["sum", "cat"])
@pytest.mark.parametrize("name", operator_names())
def test_the_result_has_the_type_of_the_maps(name: str, form: str, as_on_a_gpu: None) -> None:
    op = operator(name)
    if form == "cat" and op.cat is None:
        pytest.skip("it has no such form")
    choice = FusionChoice(name, 4 if op.takes_reduction else None)
    fusion = build_fusion(choice, CHANNELS) if form == "sum" else build_concatenation(choice, (CHANNELS, CHANNELS))
    for given in (torch.float32, torch.bfloat16):
        for training in (True, False):
            x, y = (torch.randn(4, CHANNELS, 6, 6).to(given).requires_grad_() for _ in range(2))
            with torch.autocast("cpu", torch.bfloat16):
                fused = fusion.train(training)(x, y)
            assert fused.dtype == given
            fused.float().sum().backward()


@pytest.mark.parametrize("name", SELECTING)
def test_large_maps_of_opposite_sign_do_not_overflow(name: str) -> None:
    fusion = build_fusion(FusionChoice(name, 4 if operator(name).takes_reduction else None), CHANNELS).half().eval()
    x = torch.full((2, CHANNELS, 4, 4), 60_000.0).half()
    assert torch.equal(fusion(x, -x), torch.zeros_like(x))
