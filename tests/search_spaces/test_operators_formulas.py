"""The wider set of operators against their formulas in plain tensor algebra, and against public modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import FusionChoice
from search_spaces.fusions import build_fusion, operator
from search_spaces.properties import perturbed

State = dict[str, Tensor]


def made(name: str, channels: int, reduction: int = 4, **options: object) -> nn.Module:
    """In float64 and eval mode, as training might leave it."""
    op = operator(name)
    torch.manual_seed(5)
    ratio = [reduction] if op.takes_reduction else []
    return perturbed(op.module(channels, *ratio, **options)).double().eval()


def maps(count: int, *shape: int) -> list[Tensor]:
    return list(torch.randn(count, *shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64))


def pw(state: State, name: str, u: Tensor) -> Tensor:
    out = torch.einsum("oc,bchw->bohw", state[f"{name}.weight"][:, :, 0, 0], u)
    return out + state[f"{name}.bias"][:, None, None] if f"{name}.bias" in state else out


def norm(state: State, name: str, u: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (u - mean) / (var + 1e-5).sqrt() * weight + bias


def sigmoid(u: Tensor) -> Tensor:
    return 1 / (1 + (-u).exp())


def softmax(u: Tensor, dim: int) -> Tensor:
    return u.exp() / u.exp().sum(dim=dim, keepdim=True)


def gap(u: Tensor) -> Tensor:
    return u.flatten(2).sum(dim=2)[:, :, None, None] / (u.shape[2] * u.shape[3])


def positions(u: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, N, C]."""
    return u.permute(0, 2, 3, 1).reshape(u.shape[0], -1, u.shape[1])


def attention_of(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    q, k, v = map(positions, (query, key, value))
    out = torch.zeros(q.shape[0], q.shape[1], v.shape[2], dtype=q.dtype)
    for image in range(q.shape[0]):
        for i in range(q.shape[1]):
            weights = torch.stack([scale * (q[image, i] * k[image, j]).sum() for j in range(k.shape[1])]).exp()
            out[image, i] = (weights[:, None] / weights.sum() * v[image]).sum(dim=0)
    return out.transpose(1, 2).reshape(q.shape[0], -1, *query.shape[2:])


def mscam_gate(state: State, u: Tensor) -> Tensor:
    def context(name: str, v: Tensor) -> Tensor:
        hidden = norm(state, f"{name}.norm1", pw(state, f"{name}.reduce", v)).clamp(min=0)
        return norm(state, f"{name}.norm2", pw(state, f"{name}.expand", hidden))

    return sigmoid(context("attention.local_context", u) + context("attention.global_context", gap(u)))


def channel_gate(state: State, u: Tensor, scale: float, name: str = "gate") -> Tensor:
    return scale * sigmoid(pw(state, f"{name}.fc2", pw(state, f"{name}.fc1", gap(u)).clamp(min=0)))


def cbam_refine(state: State, u: Tensor, s: float) -> Tensor:
    def mlp(v: Tensor) -> Tensor:
        return pw(state, "channel_gate.fc2", pw(state, "channel_gate.fc1", v).clamp(min=0))

    v = s * sigmoid(mlp(gap(u)) + mlp(u.flatten(2).max(dim=2).values[:, :, None, None])) * u
    summary = torch.stack([v.sum(dim=1) / v.shape[1], v.max(dim=1).values], dim=1)
    smoothed = nn.functional.conv2d(summary, state["spatial_gate.conv.weight"], padding=3)
    return s * sigmoid(norm(state, "spatial_gate.norm", smoothed)) * v


def sub(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def experts(state: State, x: Tensor, y: Tensor, s: float) -> tuple[Tensor, list[Tensor]]:
    pooled = gap(torch.cat([x, y], 1))[:, :, 0, 0]
    logits = torch.einsum("oc,bc->bo", state["router.weight"], pooled) + state["router.bias"]
    return logits, [
        x + y,
        x + channel_gate(sub(state, "experts.1."), y, s) * y,
        x + cbam_refine(sub(state, "experts.2."), y, s),
        pw(state, "experts.3.project", torch.cat([x, y], 1)),
    ]


def dynamic(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    logits, outputs = experts(state, x, y, s)
    weights = softmax(logits, 1)
    return torch.stack([weights[:, i, None, None, None] * output for i, output in enumerate(outputs)]).sum(dim=0)


def dynamic_top1(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    logits, outputs = experts(state, x, y, s)
    return torch.stack([outputs[int(row.argmax())][image] for image, row in enumerate(logits)])


def eca(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    weight, pooled = state["conv.weight"].flatten(), gap(y)[:, :, 0, 0]
    half = len(weight) // 2
    padded = nn.functional.pad(pooled, (half, half))
    mixed = torch.stack([(padded[:, c : c + len(weight)] * weight).sum(1) for c in range(y.shape[1])], dim=1)
    return x + s * sigmoid(mixed)[:, :, None, None] * y


def efficient(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    hidden = pw(state, "fc1", gap(x + y))
    mean = hidden.mean(dim=1, keepdim=True)
    hidden = (hidden - mean) / (((hidden - mean) ** 2).mean(dim=1, keepdim=True) + 1e-5).sqrt()
    a = sigmoid(pw(state, "fc2", (hidden * state["norm.weight"] + state["norm.bias"]).clamp(min=0)))
    return s * (a * x + (1 - a) * y)


def gated(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    g = sigmoid(pw(state, "gate", torch.cat([x, y], 1)))
    return s * (g * x + (1 - g) * y)


def attention(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    u = torch.cat([x, y], 1)
    q, k, v = (pw(state, part, u) for part in ("query", "key", "value"))
    return x + y + state["gamma"] * attention_of(q, k, v, 1 / math.sqrt(q.shape[1]))


def nonlocal_(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    u = x + y
    return u + pw(state, "out", attention_of(*(pw(state, part, u) for part in ("theta", "phi", "g")), 1.0))


def cross_modal(state: State, x: Tensor, y: Tensor, s: float) -> Tensor:
    q, k, v = pw(state, "query", x), pw(state, "key", y), pw(state, "value", y)
    return x + y + state["gamma"] * attention_of(q, k, v, 1 / math.sqrt(q.shape[1]))


def se_concat(state: State, s: float, *inputs: Tensor) -> Tensor:
    u = torch.cat(inputs, 1)
    return pw(state, "project", channel_gate(state, u, s) * u)


def sk(state: State, s: float, *inputs: Tensor) -> Tensor:
    hidden = norm(state, "norm", pw(state, "reduce", gap(torch.stack(inputs).sum(0)))).clamp(min=0)
    logits = pw(state, "choose", hidden).chunk(len(inputs), dim=1)
    weights = softmax(torch.stack(logits), 0)
    return s * (weights * torch.stack(inputs)).sum(dim=0)


def weighted(state: State, s: float, *inputs: Tensor) -> Tensor:
    w = state["weight"].clamp(min=0)
    return s * sum((w[i] / (1e-4 + w.sum()) * u for i, u in enumerate(inputs)), torch.zeros_like(inputs[0]))


PAIRWISE: dict[str, Callable[[State, Tensor, Tensor, float], Tensor]] = {
    "mscam": lambda state, x, y, s: s * mscam_gate(state, x + y) * (x + y),
    "cbam_concat": lambda state, x, y, s: pw(state, "project", cbam_refine(state, torch.cat([x, y], 1), s)),
    "attention": attention,
    "nonlocal": nonlocal_,
    "cross_modal": cross_modal,
    "dynamic": dynamic,
    "dynamic_top1": dynamic_top1,
    "eca": eca,
    "efficient": efficient,
    "gated": gated,
}
ANY_NUMBER: dict[str, tuple[Callable[..., Tensor], Callable[[int], float]]] = {
    "se_concat": (se_concat, lambda n: 2.0),
    "sk": (sk, lambda n: float(n)),
    "weighted": (weighted, lambda n: n + 1e-4),
}
SHAPES = ((8, 3, 4, 2), (6, 1, 5, 4), (33, 3, 3, 16))
UNSCALED = ("attention", "nonlocal", "cross_modal")


def test_every_operator_has_a_reference() -> None:
    from search_spaces import operator_names

    elsewhere = {"add", "concat", "se", "cbam", "aff", "iaff"}  # test_spaces_fusions.py
    assert {*PAIRWISE, *ANY_NUMBER} == {*operator_names()} - elsewhere


@pytest.mark.parametrize(("channels", "height", "width", "reduction"), SHAPES)
@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("name", PAIRWISE)
def test_an_operator_computes_its_formula(
    name: str, scale: float, channels: int, height: int, width: int, reduction: int
) -> None:
    module = made(name, channels, reduction, **({} if name in UNSCALED else {"scale": scale}))
    x, y = maps(2, 3, channels, height, width)
    with torch.no_grad():
        expected = PAIRWISE[name](module.state_dict(), x, y, scale)
        torch.testing.assert_close(module(x, y), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("inputs", [2, 3, 4])
@pytest.mark.parametrize("name", ANY_NUMBER)
def test_an_operator_of_n_maps_computes_its_formula(name: str, inputs: int, scale: float | None) -> None:
    reference, default = ANY_NUMBER[name]
    module = made(name, 8, 2, inputs=inputs, **({} if scale is None else {"scale": scale}))
    given = maps(inputs, 3, 8, 3, 5)
    with torch.no_grad():
        expected = reference(module.state_dict(), default(inputs) if scale is None else scale, *given)
        torch.testing.assert_close(module(*given), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("y_shape", [(5, 3, 2), (8, 7, 9), (12, 4, 4)])
def test_cross_modal_attention_takes_y_of_another_shape(y_shape: tuple[int, int, int]) -> None:
    module = made("cross_modal", 8, 2, y_channels=y_shape[0])
    (x,), (y,) = maps(1, 2, 8, 4, 4), maps(1, 2, *y_shape)
    state = module.state_dict()
    q, k, v = pw(state, "query", x), pw(state, "key", y), pw(state, "value", y)
    aligned = y if y_shape[0] == 8 else pw(state, "align", y)
    rows = torch.arange(4) * y_shape[1] // 4
    columns = torch.arange(4) * y_shape[2] // 4
    expected = x + aligned[:, :, rows][:, :, :, columns] + state["gamma"] * attention_of(q, k, v, 0.5)
    with torch.no_grad():
        torch.testing.assert_close(module(x, y), expected)
        with pytest.raises(ValueError, match=rf"and \[2, 3, 4, 4\] cannot .* {y_shape[0]} of y"):
            module(x, y.new_zeros(2, 3, 4, 4))


# ---- public modules


@pytest.fixture(scope="module")
def timm() -> Any:
    pytest.importorskip("timm")
    from timm.layers import EcaModule, SEModule
    from timm.layers.cbam import CbamModule
    from timm.layers.non_local_attn import NonLocalAttn
    from timm.layers.selective_kernel import SelectiveKernelAttn

    return {"se": SEModule, "cbam": CbamModule, "eca": EcaModule, "sk": SelectiveKernelAttn, "nonlocal": NonLocalAttn}


def loaded(theirs: nn.Module, ours: State, names: dict[str, str]) -> nn.Module:
    state = {new: ours[old] for new, old in names.items()}
    missing, unexpected = theirs.double().eval().load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    return theirs


def test_se_is_timms(timm: Any) -> None:
    module = made("se", 16, 4, scale=1.0)
    parts = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    theirs = loaded(timm["se"](16, rd_channels=4), module.state_dict(), {part: f"gate.{part}" for part in parts})
    x, y = maps(2, 2, 16, 5, 3)
    torch.testing.assert_close(module(x, y), x + theirs(y))


def test_cbam_is_timms(timm: Any) -> None:
    module = made("cbam", 16, 4, scale=1.0)
    batch_norm = ("weight", "bias", "running_mean", "running_var")
    names = {f"channel.{fc}.weight": f"channel_gate.{fc}.weight" for fc in ("fc1", "fc2")}
    names |= {"spatial.conv.conv.weight": "spatial_gate.conv.weight"}
    names |= {f"spatial.conv.bn.{part}": f"spatial_gate.norm.{part}" for part in batch_norm}
    theirs = loaded(timm["cbam"](16, rd_channels=4), module.state_dict(), names)
    x, y = maps(2, 2, 16, 5, 3)
    torch.testing.assert_close(module(x, y), x + theirs(y))


@pytest.mark.parametrize("channels", [4, 16, 33, 64, 128, 512, 2048])
def test_eca_is_timms(timm: Any, channels: int) -> None:
    module = made("eca", channels, scale=1.0)
    theirs = loaded(timm["eca"](channels), module.state_dict(), {"conv.weight": "conv.weight"})
    x, y = maps(2, 2, channels, 3, 3)
    torch.testing.assert_close(module(x, y), x + theirs(y))


@pytest.mark.parametrize("inputs", [2, 3])
def test_sk_is_timms(timm: Any, inputs: int) -> None:
    module = made("sk", 16, 2, inputs=inputs, scale=1.0)
    names = {"fc_reduce.weight": "reduce.weight", "fc_select.weight": "choose.weight"}
    names |= {f"bn.{part}": f"norm.{part}" for part in ("weight", "bias", "running_mean", "running_var")}
    theirs = loaded(timm["sk"](16, inputs, attn_channels=8), module.state_dict(), names)
    stacked = torch.stack(maps(inputs, 2, 16, 4, 4), dim=1)
    torch.testing.assert_close(module(*stacked.unbind(1)), (theirs(stacked) * stacked).sum(dim=1))


def test_nonlocal_is_timms_without_its_biases_and_norm(timm: Any) -> None:
    module = made("nonlocal", 16, 2)
    theirs = timm["nonlocal"](16, use_scale=False, rd_channels=8).double().eval()
    theirs.norm = nn.Identity()
    for new, old in {"t": "theta", "p": "phi", "g": "g", "z": "out"}.items():
        getattr(theirs, new).load_state_dict(
            {"weight": module.state_dict()[f"{old}.weight"], "bias": torch.zeros(16 if new == "z" else 8)}
        )
    x, y = maps(2, 2, 16, 4, 4)
    torch.testing.assert_close(module(x, y), theirs(x + y))


def test_a_choice_builds_each() -> None:
    for name in (*PAIRWISE, *ANY_NUMBER):
        ratio = 4 if operator(name).takes_reduction else None
        assert type(build_fusion(FusionChoice(name, ratio), 16)) is operator(name).module
