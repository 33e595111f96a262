"""Each fusion operator against its formula, written out here in plain tensor algebra."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from search_spaces.architecture import FusionChoice
from search_spaces.fusions import build_fusion, operator

State = dict[str, Tensor]
Reference = Callable[[State, Tensor, Tensor, float], Tensor]

OPERATORS = ("add", "concat", "se", "cbam", "aff", "iaff")
WITH_RATIO = ("se", "cbam", "aff", "iaff")
PARAMETRIC = ("concat", *WITH_RATIO)
#: channels, height, width, reduction: small, odd and narrow ones, and a ratio below the least width
SHAPES = ((4, 5, 7, 4), (6, 3, 3, 2), (16, 7, 5, 4), (20, 1, 6, 3), (33, 4, 4, 16))


def fusion(name: str, channels: int, reduction: int, **options: object) -> nn.Module:
    op = operator(name)
    return op.module(channels, reduction, **options) if op.takes_reduction else op.module(channels, **options)


def maps(
    batch: int, channels: int, height: int, width: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(7)
    x, y = torch.randn(2, batch, channels, height, width, generator=random, dtype=torch.float64).to(dtype)
    return x, y


def randomised(module: nn.Module, seed: int = 3) -> nn.Module:
    """The module in float64 and eval mode, every weight and every running statistic random."""
    random = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=random, dtype=torch.float64))
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(tensor.abs() + 0.5)
    return module


# ---- the formulas


def pointwise(state: State, name: str, u: Tensor) -> Tensor:
    out = torch.einsum("oc,bchw->bohw", state[f"{name}.weight"][:, :, 0, 0], u)
    bias = state.get(f"{name}.bias")
    return out if bias is None else out + bias[:, None, None]


def batch_norm(state: State, name: str, u: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (u - mean) / (var + 1e-5).sqrt() * weight + bias


def sigmoid(u: Tensor) -> Tensor:
    return 1 / (1 + (-u).exp())


def relu(u: Tensor) -> Tensor:
    return u.clamp(min=0)


def pooled(u: Tensor) -> Tensor:
    return u.sum(dim=(2, 3), keepdim=True) / (u.shape[2] * u.shape[3])


def context(state: State, name: str, u: Tensor) -> Tensor:
    hidden = relu(batch_norm(state, f"{name}.norm1", pointwise(state, f"{name}.reduce", u)))
    return batch_norm(state, f"{name}.norm2", pointwise(state, f"{name}.expand", hidden))


def mscam(state: State, name: str, u: Tensor) -> Tensor:
    return sigmoid(context(state, f"{name}.local_context", u) + context(state, f"{name}.global_context", pooled(u)))


def add_reference(state: State, x: Tensor, y: Tensor, scale: float) -> Tensor:
    return x + y


def concat_reference(state: State, x: Tensor, y: Tensor, scale: float) -> Tensor:
    channels = x.shape[1]
    weight = state["project.weight"][:, :, 0, 0]
    from_x = torch.einsum("oc,bchw->bohw", weight[:, :channels], x)
    return from_x + torch.einsum("oc,bchw->bohw", weight[:, channels:], y)


def se_reference(state: State, x: Tensor, y: Tensor, scale: float) -> Tensor:
    gate = sigmoid(pointwise(state, "gate.fc2", relu(pointwise(state, "gate.fc1", pooled(y)))))
    return x + scale * gate * y


def cbam_reference(state: State, x: Tensor, y: Tensor, scale: float) -> Tensor:
    def mlp(u: Tensor) -> Tensor:
        return pointwise(state, "channel_gate.fc2", relu(pointwise(state, "channel_gate.fc1", u)))

    height, width = y.shape[2:]
    v = scale * sigmoid(mlp(pooled(y)) + mlp(y.flatten(2).max(dim=2).values[:, :, None, None])) * y
    summary = F.pad(torch.stack([v.sum(dim=1) / v.shape[1], v.max(dim=1).values], dim=1), (3, 3, 3, 3))
    kernel = state["spatial_gate.conv.weight"][0]
    smoothed = torch.zeros_like(v[:, :1])
    for row in range(7):
        for column in range(7):
            window = summary[:, :, row : row + height, column : column + width]
            smoothed += (kernel[:, row, column, None, None] * window).sum(dim=1, keepdim=True)
    return x + scale * sigmoid(batch_norm(state, "spatial_gate.norm", smoothed)) * v


def aff_reference(state: State, x: Tensor, y: Tensor, scale: float) -> Tensor:
    weight = mscam(state, "attention", x + y)
    return scale * (weight * x + (1 - weight) * y)


def iaff_reference(state: State, x: Tensor, y: Tensor, scale: float) -> Tensor:
    first = mscam(state, "attention1", x + y)
    u = scale * (first * x + (1 - first) * y)
    second = mscam(state, "attention2", u)
    return scale * (second * x + (1 - second) * y)


REFERENCES: dict[str, Reference] = {
    "add": add_reference,
    "concat": concat_reference,
    "se": se_reference,
    "cbam": cbam_reference,
    "aff": aff_reference,
    "iaff": iaff_reference,
}


@pytest.mark.parametrize(("channels", "height", "width", "reduction"), SHAPES)
@pytest.mark.parametrize("scale", [2.0, 1.0])
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_its_formula(
    name: str, scale: float, channels: int, height: int, width: int, reduction: int
) -> None:
    options = {"scale": scale} if name in WITH_RATIO else {}
    module = randomised(fusion(name, channels, reduction, **options))
    x, y = maps(3, channels, height, width, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            module(x, y), REFERENCES[name](module.state_dict(), x, y, scale), rtol=1e-6, atol=1e-6
        )


def test_sums_to_two_is_the_default() -> None:
    x, y = maps(2, 8, 3, 3, torch.float64)
    for name in WITH_RATIO:
        module = randomised(fusion(name, 8, 2))
        with torch.no_grad():
            torch.testing.assert_close(module(x, y), REFERENCES[name](module.state_dict(), x, y, 2.0))


# ---- at step 0


@pytest.mark.parametrize(("channels", "height", "width", "reduction"), SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_starts_as_the_sum(
    name: str, training: bool, channels: int, height: int, width: int, reduction: int
) -> None:
    module = fusion(name, channels, reduction).train(training)
    x, y = maps(2, channels, height, width)
    fused = module(x, y)
    assert fused.shape == x.shape
    torch.testing.assert_close(fused, x + y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPERATORS)
def test_one_image_of_one_pixel_in_eval(name: str) -> None:
    x, y = maps(1, 8, 1, 1)
    torch.testing.assert_close(fusion(name, 8, 4).eval()(x, y), x + y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PARAMETRIC)
def test_without_identity_init_it_starts_elsewhere(name: str) -> None:
    torch.manual_seed(0)
    x, y = maps(4, 16, 5, 5)
    fused = fusion(name, 16, 4, identity_init=False)(x, y)
    assert (fused - (x + y)).abs().max() > 0.05


# aff's second stage hides its first at step 0, so iaff's first stage wakes one step later.
@pytest.mark.parametrize(("name", "steps"), [("concat", 0), ("se", 1), ("cbam", 1), ("aff", 1), ("iaff", 2)])
def test_every_parameter_learns_within_two_steps(name: str, steps: int) -> None:
    torch.manual_seed(0)
    module = fusion(name, 16, 4)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    x, y = maps(8, 16, 6, 6)
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    reached: set[str] = set()
    for _ in range(steps + 1):
        optimiser.zero_grad()
        F.mse_loss(module(x, y), target).backward()
        for parameter_name, parameter in module.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            if parameter.grad.abs().max() > 0:
                reached.add(parameter_name)
        optimiser.step()
    assert reached == {parameter_name for parameter_name, _ in module.named_parameters()}


# ---- faults of the source documents and of public ports


def test_iaff_is_not_aff_of_x_and_aff() -> None:
    module = randomised(fusion("iaff", 8, 2, scale=1.0))
    state = module.state_dict()
    x, y = maps(2, 8, 4, 4, torch.float64)
    first = mscam(state, "attention1", x + y)
    u = first * x + (1 - first) * y
    second = mscam(state, "attention2", x + u)
    faulty = second * x + (1 - second) * u
    with torch.no_grad():
        assert (module(x, y) - faulty).abs().max() > 0.1


@pytest.mark.parametrize("branch", ["local_context", "global_context"])
@pytest.mark.parametrize("stage", ["attention1", "attention2"])
def test_each_branch_of_both_iaff_stages_matters(stage: str, branch: str) -> None:
    module = randomised(fusion("iaff", 8, 2))
    x, y = maps(2, 8, 4, 4, torch.float64)
    with torch.no_grad():
        before = module(x, y)
        for parameter in module.get_submodule(f"{stage}.{branch}").parameters():
            parameter.mul_(-1.5)
        assert (module(x, y) - before).abs().max() > 1e-3


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_se_is_torchvisions(scale: float) -> None:
    module = randomised(fusion("se", 16, 4, scale=scale))
    torchvisions = SqueezeExcitation(16, 4).double()
    torchvisions.load_state_dict({name.removeprefix("gate."): value for name, value in module.state_dict().items()})
    x, y = maps(2, 16, 5, 3, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(x, y), x + scale * torchvisions(y))


def test_cbam_never_amplifies_at_the_published_scale() -> None:
    """A sigmoid of each pooling, summed, would reach 2."""
    module = randomised(fusion("cbam", 8, 2, scale=1.0))
    with torch.no_grad():
        for weight in module.channel_gate.parameters():
            weight.abs_().add_(5)
        module.spatial_gate.conv.weight.zero_()
        module.spatial_gate.norm.running_mean.zero_()
        module.spatial_gate.norm.bias.fill_(30.0)
        x, y = (u.abs() for u in maps(2, 8, 4, 4, torch.float64))
        gate = (module(x, y) - x) / y
    assert gate.max() <= 1.0 + 1e-12
    assert gate.min() > 0.99


def test_cbam_normalises_its_spatial_map() -> None:
    module = randomised(fusion("cbam", 8, 2)).train()
    before = module.spatial_gate.norm.running_mean.clone()
    x, y = maps(4, 8, 5, 5, torch.float64)
    module(x, y)
    assert not torch.equal(module.spatial_gate.norm.running_mean, before)


# ---- the roles of x and y


@pytest.mark.parametrize("name", ["se", "cbam"])
def test_gates_read_and_scale_y_alone(name: str) -> None:
    module = randomised(fusion(name, 8, 2))
    x, y = maps(2, 8, 4, 4, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(x, y) - x, module(torch.zeros_like(x), y))
        torch.testing.assert_close(module(x, torch.zeros_like(y)), x)
        assert (module(x, y) - module(y, x)).abs().max() > 0.1


def test_aff_shares_the_sum_out_between_x_and_y() -> None:
    module = randomised(fusion("aff", 8, 2))
    x, y = maps(2, 8, 4, 4, torch.float64)
    with torch.no_grad():
        assert (module(x, y) - module(y, x)).abs().max() > 0.1
        torch.testing.assert_close(module(x, y) + module(y, x), 2 * (x + y))


@pytest.mark.parametrize("name", ["concat", "iaff"])
def test_order_matters(name: str) -> None:
    module = randomised(fusion(name, 8, 2))
    x, y = maps(2, 8, 4, 4, torch.float64)
    with torch.no_grad():
        assert (module(x, y) - module(y, x)).abs().max() > 0.1


# ---- what they cost, keep and tolerate

PARAMETERS: dict[str, Callable[[int, int], int]] = {
    "add": lambda c, w: 0,
    "concat": lambda c, w: 2 * c * c,
    "se": lambda c, w: 2 * c * w + c + w,
    "cbam": lambda c, w: 2 * c * w + 100,
    "aff": lambda c, w: 4 * c * w + 4 * w + 4 * c,
    "iaff": lambda c, w: 8 * c * w + 8 * w + 8 * c,
}


@pytest.mark.parametrize(("channels", "reduction"), [(4, 4), (16, 4), (16, 16), (30, 4), (64, 8), (256, 16)])
@pytest.mark.parametrize("name", OPERATORS)
def test_parameters_are_those_of_the_documentation(name: str, channels: int, reduction: int) -> None:
    module = fusion(name, channels, reduction)
    width = max(4, channels // reduction)
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[name](channels, width)


def test_aff_makes_the_authors_resnet50_of_30_million() -> None:
    """Their AFF-ResNet-50: r = 16, in stages 3 and 4 (6 blocks of 1024 channels, 3 of 2048)."""
    extra = sum(
        blocks * sum(p.numel() for p in fusion("aff", channels, 16).parameters())
        for blocks, channels in ((6, 1024), (3, 2048))
    )
    assert 25.56e6 + extra == pytest.approx(30.3e6, rel=0.002)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_state_dict_goes_round(name: str) -> None:
    module = randomised(fusion(name, 8, 2))
    other = fusion(name, 8, 2).double().eval()
    other.load_state_dict(module.state_dict(), strict=True)
    x, y = maps(2, 8, 3, 5, torch.float64)
    with torch.no_grad():
        assert torch.equal(other(x, y), module(x, y))


@pytest.mark.parametrize("name", OPERATORS)
def test_bfloat16_autocast(name: str) -> None:
    module = fusion(name, 16, 4)
    x, y = maps(4, 16, 5, 5)
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        fused = module(x, y)
    torch.testing.assert_close(fused.float(), x + y, rtol=0.02, atol=0.02)
    fused.float().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["aff", "iaff"])
def test_training_on_one_image_is_refused_by_the_pooled_norm(name: str) -> None:
    x, y = maps(1, 8, 4, 4)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fusion(name, 8, 4).train()(x, y)


@pytest.mark.parametrize("name", OPERATORS)
def test_channels_last_in_channels_last_out(name: str) -> None:
    module = fusion(name, 8, 4).to(memory_format=torch.channels_last)
    x, y = (u.contiguous(memory_format=torch.channels_last) for u in maps(2, 8, 4, 6))
    assert module(x, y).is_contiguous(memory_format=torch.channels_last)


def test_build_fusion_gives_the_choice() -> None:
    for label in ("add", "concat", "se/4", "cbam/4", "aff/4", "iaff/8"):
        choice = FusionChoice.parse(label)
        assert type(build_fusion(choice, 16)) is operator(choice.op).module
