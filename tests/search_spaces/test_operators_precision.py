"""Operators under autocast and in float16: the result has the maps' type, and what can be held is not infinite."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from search_spaces.architecture import FusionChoice
from search_spaces.fusions import FusionSettings, build_concatenation, build_fusion, operator, operator_names

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


LARGEST = 65_504  # of float16


def large_maps(count: int) -> dict[str, list[torch.Tensor]]:
    """`count` maps [4, 16, 6, 6] each way, of numbers that float16 holds and whose sums and products it does not."""
    draw = torch.Generator().manual_seed(0)
    positive = [torch.rand(4, CHANNELS, 6, 6, generator=draw) for _ in range(count)]
    signs = [1.0, -1.0, 0.5]
    return {
        "cancelling": [torch.full((4, CHANNELS, 6, 6), 60_000 * sign) for sign in signs[:count]],
        "uneven": [torch.full((4, CHANNELS, 6, 6), 50_000.0), *(8_000 * each for each in positive[1:])],
        "noise": [20_000 * torch.randn(4, CHANNELS, 6, 6, generator=draw).clamp(-2, 2) for _ in range(count)],
        "positive": [30_000 * each for each in positive],
        "moderate": [8_000 * each for each in positive],
    }


def built(name: str, form: str, settings: FusionSettings) -> tuple[nn.Module, int]:
    """The operator's module, and how many maps it is given: three where it takes any number."""
    op = operator(name)
    choice = FusionChoice(name, 4 if op.takes_reduction else None)
    torch.manual_seed(0)
    if form == "cat":
        return build_concatenation(choice, (CHANNELS,) * 3, settings), 3
    inputs = 2 if op.max_inputs else 3
    return build_fusion(choice, CHANNELS, settings, inputs=inputs), inputs


@pytest.mark.parametrize("form", ["sum", "cat"])
@pytest.mark.parametrize("name", operator_names())
def test_what_float16_holds_of_the_result_is_there(name: str, form: str) -> None:
    """Whatever is larger on the way: sums of maps and over channels, products of positions, gates that double."""
    if form == "cat" and operator(name).cat is None:
        pytest.skip("it has no such form")
    compared = 0
    for settings in (
        FusionSettings(scale=scale, norm=norm, identity_init=start)
        for scale in (None, 1.0)
        for norm in ("batch", "layer")
        for start in (True, False)
    ):
        half, count = built(name, form, settings)
        half = half.half()
        for training in (False, True):
            for label, maps in large_maps(count).items():
                given = [each.half() for each in maps]
                torch.manual_seed(1)
                single = copy.deepcopy(half).float().train(training)
                wanted = copy.deepcopy(single)(*(each.float() for each in given))
                if wanted.abs().amax() > 0.8 * LARGEST:
                    continue
                compared += 1
                torch.manual_seed(1)
                results = {"weights": copy.deepcopy(half).train(training)(*given)}
                for way, dtype in (("half", torch.float16), ("single", torch.float32)):
                    torch.manual_seed(1)
                    with torch.autocast("cpu", torch.float16):
                        results[way] = copy.deepcopy(single)(*(each.to(dtype) for each in given))
                for way, result in results.items():
                    case = f"{label} {way} {settings} training={training}"
                    assert result.dtype == (torch.float32 if way == "single" else torch.float16), case
                    assert result.isfinite().all(), case
                    assert (result.float() - wanted).abs().amax() <= 0.002 * max(wanted.abs().amax(), 30_000), case
    assert compared


def test_running_statistics_of_half_weights_are_kept() -> None:
    fusion = build_fusion(FusionChoice("aff", 4), CHANNELS).half().train()
    before = fusion.attention.local_context.norm1.running_mean.clone()
    fusion(*(torch.randn(4, CHANNELS, 6, 6).half() for _ in range(2)))
    after = fusion.attention.local_context.norm1.running_mean
    assert after.dtype == torch.float16
    assert not torch.equal(before, after)


@pytest.mark.parametrize("name", operator_names())
def test_bfloat16_is_left_as_it_is(name: str) -> None:
    """It has the range of float32: under autocast no module is run apart from it."""
    fusion, count = built(name, "sum", FusionSettings())
    maps = [60_000 * torch.rand(4, CHANNELS, 6, 6) for _ in range(count)]
    seen: list[torch.dtype] = []
    for part in fusion.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda part, given, result: seen.append(result.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert fusion.eval()(*maps).isfinite().all()
    assert set(seen) <= {torch.bfloat16}
