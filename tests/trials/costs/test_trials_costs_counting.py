"""Counting: each operation costs what it does, however it is written, and none is free in silence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.flop_count import _DEFAULT_SUPPORTED_OPS as FVCORE
from fvcore.nn.jit_analysis import _IGNORED_OPS
from torch import nn
from torchvision.ops import deform_conv2d

from search_spaces import FusionChoice
from search_spaces.fusions import build_fusion
from trials.costs import Work, count_macs, count_work
from trials.costs.counting import products_by_fvcore, refuse
from trials.costs.handles import HANDLES
from trials.errors import UncountedError

# One multiply-add is one; of elementwise work one for each element computed, of pooling one for each read, of
# batch norm two for each (its statistics are folded into a scale and a shift). n = H·W, w the bottleneck's width.
Formula = Callable[[int, int, int], int]


def aff(c: int, n: int, w: int) -> int:
    local = 2 * c * w * n + 3 * w * n + 2 * c * n
    pooled = c * n + 2 * c * w + 3 * w + 2 * c
    gate = 2 * c * n
    selection = 4 * c * n
    return c * n + local + pooled + gate + selection


FORMULAS: dict[str, Formula] = {
    "add": lambda c, n, w: c * n,
    "concat": lambda c, n, w: 2 * c * c * n,
    "se": lambda c, n, w: 3 * c * n + 2 * c * w + w + 2 * c,
    "cbam": lambda c, n, w: (3 * c * n + 2 * (2 * c * w + w) + 3 * c) + (4 * c * n + (98 + 2 + 2) * n),
    "aff": aff,
    "iaff": lambda c, n, w: 2 * aff(c, n, w) - c * n,
}


@pytest.mark.parametrize(("channels", "height", "width", "reduction"), [(16, 7, 5, 4), (30, 4, 4, 2), (64, 1, 1, 16)])
@pytest.mark.parametrize("name", FORMULAS)
def test_an_operator_costs_what_its_formula_says(
    name: str, channels: int, height: int, width: int, reduction: int
) -> None:
    choice = FusionChoice(name, None if name in ("add", "concat") else reduction)
    maps = torch.zeros(1, channels, height, width)
    counted = count_macs(build_fusion(choice, channels), maps, maps)
    assert counted == FORMULAS[name](channels, height * width, max(4, channels // reduction))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 5, 5), 3 * 8 * 9 * 25),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), (1, 4, 6, 6), 2 * 8 * 9 * 9),
        (nn.Conv2d(3, 8, 3, padding="same"), (1, 3, 5, 5), 3 * 8 * 9 * 25),
        (nn.Conv2d(3, 8, 3, padding="valid"), (1, 3, 5, 5), 3 * 8 * 9 * 9),
        (nn.Conv2d(4, 8, 3, padding="same", groups=2, dilation=2), (2, 4, 6, 6), 2 * 2 * 8 * 9 * 36),
        (nn.Conv1d(4, 6, 3, padding="same"), (1, 4, 7), 4 * 6 * 3 * 7),
        (nn.Linear(10, 7), (1, 10), 70),
        (nn.BatchNorm2d(4), (1, 4, 3, 3), 72),
        (nn.MaxPool2d(3, stride=2, padding=1), (1, 4, 6, 6), 144),
        (nn.AdaptiveAvgPool2d(1), (1, 4, 6, 6), 144),
        (nn.RMSNorm(6), (1, 4, 6, 6), 4 * 144),
        (nn.RMSNorm(6, elementwise_affine=False), (1, 4, 6, 6), 3 * 144),
        (nn.ReLU(), (1, 4, 6, 6), 144),
        (nn.SiLU(), (1, 4, 6, 6), 2 * 144),
        (nn.Softmax(dim=1), (1, 4, 6, 6), 144),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_costs_its_multiply_adds(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert count_macs(layer, torch.zeros(shape)) == expected


class Calls(nn.Module):
    """One function of tensors as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.function(*tensors)


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.bmm, [(1, 3, 4), (1, 4, 5)], 60),
        (torch.matmul, [(2, 3, 4), (2, 4, 5)], 120),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch.addmv, [(3,), (3, 4), (4,)], 12),
        (torch.mv, [(3, 4), (4,)], 12),
        (torch.dot, [(4,), (4,)], 4),
        (torch.outer, [(3,), (4,)], 12),
        (torch.inner, [(2, 3, 4), (5, 4)], 120),
        (lambda u, v: torch.tensordot(u, v, ([0, 2], [1, 0])), [(2, 3, 4), (4, 2, 5)], 120),
        (nn.functional.bilinear, [(2, 3), (2, 4), (5, 3, 4)], 2 * 5 * (3 + 1) * 4),
        (lambda u, w, o: deform_conv2d(u, o, w), [(1, 4, 5, 5), (6, 4, 3, 3), (1, 18, 3, 3)], 9 * 36 * (6 + 4)),
        (nn.functional.scaled_dot_product_attention, [(1, 5, 4), (1, 7, 4), (1, 7, 6)], 5 * 7 * (4 + 1 + 6)),
        (lambda u: nn.functional.group_norm(u, 2, torch.ones(4), torch.ones(4)), [(1, 4, 3, 3)], 5 * 36),
        (
            lambda u: nn.functional.layer_norm(u, [4, 1, 1], torch.ones(4, 1, 1), torch.ones(4, 1, 1)),
            [(1, 4, 1, 1)],
            20,
        ),
        (lambda u: torch.softmax(u, 1), [(1, 4, 3, 3)], 36),
        (lambda u: u.argmax(dim=1), [(1, 4, 3, 3)], 36),
        (lambda u: nn.functional.interpolate(u, size=(6, 5), mode="nearest"), [(1, 4, 3, 3)], 0),
        (lambda u: nn.functional.interpolate(u, size=(6, 5), mode="bilinear"), [(1, 4, 3, 3)], 4 * 120),
        (lambda u, v: torch.cat([u, v], dim=1), [(1, 4, 3, 3), (1, 2, 3, 3)], 0),
        (lambda u: nn.functional.pad(u, (1, 1)), [(1, 4, 3, 3)], 0),
        (lambda u: u.unsqueeze(1).expand(-1, 3, -1)[:, 0].transpose(0, 1).reshape(-1), [(1, 8)], 0),
        (lambda u: nn.functional.dropout(u, 0.5, training=False), [(1, 8)], 0),
    ],
)
def test_what_operators_use_costs(
    function: Callable[..., torch.Tensor], shapes: list[tuple[int, ...]], expected: int
) -> None:
    assert count_macs(Calls(function), *map(torch.zeros, shapes)) == expected


@pytest.mark.parametrize(
    ("fused", "written_out"),
    [
        (torch.addcmul, lambda a, b, c: a + b * c),
        (lambda a, b, c: a.clone().addcmul_(b, c), lambda a, b, c: a + b * c),
        (torch.lerp, lambda a, b, c: a + c * (b - a)),
        (lambda a, b, c: torch.add(a, b, alpha=3), lambda a, b, c: a + 3 * b),
        (lambda a, b, c: torch.sub(a, b, alpha=3), lambda a, b, c: a - 3 * b),
        (lambda a, b, c: torch.addcdiv(a, b, c), lambda a, b, c: a + b / c),
        (lambda a, b, c: nn.functional.silu(a), lambda a, b, c: a * torch.sigmoid(a)),
        (lambda a, b, c: nn.functional.hardswish(a), lambda a, b, c: a * nn.functional.hardsigmoid(a)),
        (lambda a, b, c: nn.functional.mish(a), lambda a, b, c: a * torch.tanh(nn.functional.softplus(a))),
        (lambda a, b, c: a.clone().add_(b), lambda a, b, c: a + b),
        (
            lambda a, b, c: nn.functional.scaled_dot_product_attention(a, b, c, scale=1.0),
            lambda a, b, c: torch.softmax(a @ b.transpose(1, 2), dim=2) @ c,
        ),
        (lambda a, b, c: a.var(dim=2), lambda a, b, c: (a - a.mean(dim=2, keepdim=True)).square().mean(dim=2)),
    ],
)
def test_a_fused_operation_costs_what_its_parts_cost(
    fused: Callable[..., torch.Tensor], written_out: Callable[..., torch.Tensor]
) -> None:
    maps = [torch.rand(2, 5, 5) for _ in range(3)]
    assert count_macs(Calls(fused), *maps) == count_macs(Calls(written_out), *maps) > 0


def test_elementwise_work_is_told_apart_and_bytes_are_those_of_all_tensors() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(), nn.Flatten())
    work = count_work(layer, torch.zeros(1, 3, 4, 4))
    assert work == Work(macs=24 * 16 + 128, elementwise_ops=128, bytes_moved=4 * (48 + 24 + 128 + 128 + 128), kernels=2)
    joined = count_work(Calls(lambda u, v: torch.cat([u, v], dim=1)), torch.zeros(1, 3, 4, 4), torch.zeros(1, 5, 4, 4))
    assert joined == Work(0, 0, 4 * 2 * 128, kernels=1)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 8, 8)),
        (nn.Conv1d(4, 4, 3), (1, 4, 9)),
        (nn.ConvTranspose2d(3, 4, 3, 2), (1, 3, 8, 8)),
        (nn.Linear(3, 4), (2, 7, 3)),
        (nn.BatchNorm2d(3), (2, 3, 8, 8)),
        (nn.BatchNorm2d(3, affine=False), (2, 3, 8, 8)),
        (nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 8, 8)),
        (nn.GroupNorm(1, 3, affine=False), (1, 3, 8, 8)),
        (nn.InstanceNorm2d(3, affine=True), (1, 3, 8, 8)),
        (nn.LayerNorm(8), (1, 3, 8, 8)),
        (nn.AdaptiveAvgPool2d(1), (1, 3, 8, 8)),
        (nn.UpsamplingBilinear2d(scale_factor=2), (1, 3, 8, 8)),
    ],
)
def test_what_fvcore_counts_is_counted_as_fvcore_does(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with torch.no_grad():
        theirs = FlopCountAnalysis(layer.eval(), torch.zeros(shape)).total()
    assert count_macs(layer, torch.zeros(shape)) == theirs > 0


@pytest.mark.parametrize(
    ("product", "shapes"),
    [
        (torch.matmul, ((3, 4), (4, 5))),
        (torch.matmul, ((2, 3, 4), (4, 5))),
        (torch.bmm, ((2, 3, 4), (2, 4, 5))),
        (lambda u, v: torch.einsum("bij,bjk->bik", u, v), ((2, 3, 4), (2, 4, 5))),
        (lambda u, v: torch.einsum("bchw,cd->bdhw", u, v), ((2, 3, 4, 4), (3, 5))),
        (lambda u, v: torch.addmm(u, v, v.T), ((3, 3), (3, 4))),
    ],
)
def test_products_are_counted_as_fvcore_does(
    product: Callable[..., torch.Tensor], shapes: tuple[tuple[int, ...], ...]
) -> None:
    factors = tuple(torch.zeros(shape) for shape in shapes)
    theirs = FlopCountAnalysis(Calls(product), factors).unsupported_ops_warnings(False).total()
    assert count_macs(Calls(product), *factors) == theirs > 0


def test_what_fvcore_cannot_count_is_none() -> None:
    of_a_vector = Calls(torch.matmul)
    factors = torch.zeros(1, 3, 8, 8), torch.ones(8)
    assert products_by_fvcore(of_a_vector, *factors) is None
    assert count_work(of_a_vector, *factors).macs == 3 * 8 * 8


def test_nothing_that_fvcore_ignores_is_ignored_without_a_reason() -> None:
    assert {name for name in _IGNORED_OPS if name not in HANDLES} == set()
    assert {name for name in FVCORE if name not in HANDLES} == set()


def test_an_unknown_operation_is_named() -> None:
    special = Calls(lambda u: torch.special.i0(u) + 1)
    with pytest.warns(UserWarning, match="not counted, so free of cost in what follows: aten::(special_)?i0"):
        assert count_macs(special, torch.zeros(3)) == 3
    with pytest.raises(UncountedError, match=r"no cost is known of aten::(special_)?i0"):
        count_work(special, torch.zeros(3), uncounted=refuse)


class Weighs(nn.Module):
    """A function of maps [B, C] and of weights [C], and of nothing else."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.weight)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * weight


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.special.xlog1py, r"aten::special_xlog1py"),
        (lambda x, w: torch.special.xlog1py(x.view(-1), w.square().repeat(2)), r"aten::special_xlog1py"),
        (lambda x, w: Product.apply(x, w), r"prim::PythonOp\.Product"),
    ],
)
def test_an_unknown_operation_with_weights_is_refused_in_any_network(
    function: Callable[..., torch.Tensor], named: str
) -> None:
    told = rf"^no cost is known of {named}, which the network gives weights: [^\n]+$"
    with pytest.raises(UncountedError, match=told):
        count_macs(Weighs(function), torch.zeros(2, 4))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: x * torch.special.i0(w),  # before it meets a map, once for all
        lambda x, w: x + torch.special.xlog1py(w, x.shape[0]),
        lambda x, w: torch.special.i0(x) * w,
    ],
)
def test_one_of_maps_alone_or_weights_alone_is_warned_of(function: Callable[..., torch.Tensor]) -> None:
    with pytest.warns(UserWarning, match="not counted, so free of cost in what follows: aten::"):
        assert count_macs(Weighs(function), torch.zeros(2, 4)) == 8


def test_a_handle_of_a_user_s_function_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HANDLES, "prim::PythonOp.Product", HANDLES["aten::mul"])
    assert count_macs(Weighs(lambda x, w: Product.apply(x, w)), torch.zeros(2, 4)) == 8


def test_multi_head_attention_is_counted_in_its_parts() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    tokens, width = 5, 8
    products = 4 * tokens * width * width + 2 * tokens * tokens * width
    maps = torch.zeros(1, tokens, width)
    work = count_work(layer, maps, maps, maps)
    assert work.macs - work.elementwise_ops == products
    assert torch.backends.mha.get_fastpath_enabled()
