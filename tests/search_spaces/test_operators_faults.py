"""The twelve faults of the source documents: the right behaviour passes, the faulty formula fails the same test."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import InputSpec, SearchSpace, operator_names
from search_spaces.closed_forms import SUMS, Dims
from search_spaces.fusions import FusionSettings, operator
from search_spaces.fusions.aff import MultiScaleChannelAttention
from search_spaces.fusions.squeeze_excite import ChannelExcitation
from search_spaces.properties import perturbed

Fuse = Callable[[Tensor, Tensor], Tensor]


def made(name: str, channels: int = 8, reduction: int = 4, **options: object) -> nn.Module:
    op = operator(name)
    torch.manual_seed(1)
    return op.module(channels, *([reduction] if op.takes_reduction else []), **options)


def maps(channels: int = 8, size: int = 4, batch: int = 2) -> tuple[Tensor, Tensor]:
    x, y = torch.randn(2, batch, channels, size, size, generator=torch.Generator().manual_seed(2))
    return x, y


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except (RuntimeError, ValueError):
        return False
    return True


def test_1_iaff_keeps_y_whole() -> None:
    """z = AFF₂(x, AFF₁(x, y)) leaves y with (1 − M₁)(1 − M₂): a quarter where it should be a half."""

    def y_coefficient(fuse: Fuse) -> float:
        x, y = maps()
        return float((fuse(torch.zeros_like(x), y) / y).mean().detach())

    first, second = (made("aff", scale=1.0).eval() for _ in range(2))
    assert y_coefficient(made("iaff", scale=1.0).eval()) == pytest.approx(0.5, abs=1e-6)
    assert y_coefficient(lambda x, y: second(x, first(x, y))) == pytest.approx(0.25, abs=1e-6)


def test_1_both_stages_of_iaff_use_their_global_branch() -> None:
    """A public port computes its second stage from the first stage's context: parameters without a gradient."""

    class Port(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (MultiScaleChannelAttention(8, 4, identity_init=False) for _ in range(2))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            pooled = self.first.global_context((x + y).mean((2, 3), keepdim=True))
            m1 = torch.sigmoid(self.first.local_context(x + y) + pooled)
            u = m1 * x + (1 - m1) * y
            m2 = torch.sigmoid(self.second.local_context(u) + pooled)
            return m2 * x + (1 - m2) * y

    def without_gradient(module: nn.Module) -> list[str]:
        x, y = maps(batch=8)
        module(x, y).square().sum().backward()
        return [name for name, p in module.named_parameters() if p.grad is None]

    assert without_gradient(made("iaff", identity_init=False)) == []
    assert all(name.startswith("second.global_context") for name in without_gradient(Port()))
    assert without_gradient(Port())


def test_2_the_global_branch_is_normalised() -> None:
    """Without the norm, the global context grows with the features and saturates the gate."""

    def spread(last: Callable[[MultiScaleChannelAttention, Tensor], Tensor]) -> float:
        torch.manual_seed(0)
        attention = MultiScaleChannelAttention(16, 4, identity_init=False).train()
        pooled = 1000 * torch.randn(64, 16, 1, 1)
        return float(last(attention, pooled).std().detach())

    def faulty(attention: MultiScaleChannelAttention, u: Tensor) -> Tensor:
        return attention.global_context.expand(F.relu(attention.global_context.reduce(u)))

    assert spread(lambda attention, u: attention.global_context(u)) == pytest.approx(1, abs=0.2)
    assert spread(faulty) > 50


@pytest.mark.parametrize("name", ["aff", "iaff", "mscam", "sk"])
def test_2_group_and_layer_norm_train_on_one_image(name: str) -> None:
    x, y = maps(batch=1)
    assert not works(lambda: made(name).train()(x, y))
    for norm in ("group", "layer"):
        assert works(lambda norm=norm: made(name, norm=norm).train()(x, y))


class FaultyAttention(nn.Module):
    """The document's: projections of C, γ·attention + x, logits without 1/√d."""

    def __init__(self, channels: int, in_channels: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Conv2d(in_channels, channels // 2, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def logits(self, u: Tensor) -> Tensor:
        return torch.bmm(self.query(u).flatten(2).transpose(1, 2), self.key(u).flatten(2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        u = torch.cat([x, y], dim=1)
        out = torch.bmm(self.value(u).flatten(2), torch.softmax(self.logits(u), -1).transpose(1, 2))
        return self.gamma * out.view_as(x) + x


def test_3_attention_takes_both_maps_and_keeps_y() -> None:
    x, y = maps()
    assert works(lambda: made("attention")(x, y))
    assert not works(lambda: FaultyAttention(8, 8)(x, y))
    torch.testing.assert_close(made("attention")(x, y), x + y)
    torch.testing.assert_close(FaultyAttention(8, 16)(x, y), x)


def test_3_attention_divides_by_the_root_of_d() -> None:
    """Logits of unit-variance queries and keys have unit variance, whatever d is."""
    module = made("attention", 256, 4)
    q, k = torch.randn(2, 1, 64, 64, 1)
    assert module.scale * float((q[0, :, :, 0].T @ k[0, :, :, 0]).std()) == pytest.approx(1, abs=0.1)
    assert float((q[0, :, :, 0].T @ k[0, :, :, 0]).std()) > 7


def test_4_cbam_takes_one_sigmoid_and_normalises() -> None:
    gate = made("cbam", scale=1.0).channel_gate
    with torch.no_grad():
        for weight in gate.parameters():
            weight.fill_(3.0)
        u = maps()[0].abs() + 1
        pooled = u.mean((2, 3), keepdim=True), u.amax((2, 3), keepdim=True)
        assert gate(u).max() <= 1
        assert sum(torch.sigmoid(gate.mlp(p)) for p in pooled).max() > 1.9
    assert isinstance(made("cbam").spatial_gate.norm, nn.BatchNorm2d)


@pytest.mark.parametrize("name", ["cbam", "cbam_concat"])
def test_5_cbam_at_a_pyramid_takes_both_maps_and_uses_them(name: str) -> None:
    lateral, upsampled = maps()
    module = perturbed(made(name)).eval()
    assert module(lateral, upsampled).shape == lateral.shape
    assert (module(lateral, upsampled) - (lateral + upsampled)).abs().max() > 0.01

    refine = perturbed(made("cbam")).eval().refine  # of C channels
    assert not works(lambda: refine(torch.cat([lateral, upsampled], dim=1)))

    def faulty(lateral: Tensor, upsampled: Tensor) -> Tensor:
        refine(lateral + upsampled)  # "fused", and never used again
        return lateral + upsampled

    assert (faulty(lateral, upsampled) - (lateral + upsampled)).abs().max() == 0


@pytest.mark.parametrize("name", ["dynamic", "dynamic_top1"])
def test_6_the_router_reads_both_maps(name: str) -> None:
    module = perturbed(made(name)).eval()
    x, y = maps()
    pooled = torch.cat([x, y], dim=1).mean((2, 3))
    assert works(lambda: module.router(pooled))
    assert not works(lambda: nn.Linear(8, 4)(pooled))
    assert module(x, y).shape == x.shape


def test_7_cross_modal_attention_takes_y_of_another_size() -> None:
    x, y = maps()[0], torch.randn(2, 8, 3, 5)
    assert works(lambda: made("cross_modal")(x, y))
    assert not works(lambda: y.reshape(2, 8, -1).view(2, 8, x.shape[2] * x.shape[3]))


def test_8_a_bottleneck_of_one_is_no_gate() -> None:
    """LayerNorm over one value is its bias: the gate would be the same for every image."""
    x, y = maps(8, batch=6)
    module = perturbed(made("efficient", 8, 8)).eval()
    faulty = perturbed(nn.Sequential(nn.Conv2d(8, 1, 1), nn.LayerNorm([1, 1, 1]), nn.ReLU(), nn.Conv2d(1, 8, 1)))
    pooled = (x + y).mean((2, 3), keepdim=True)
    ours = module.fc2(F.relu(module.norm(module.fc1(pooled))))
    assert ours.std(dim=0).max() > 0.05
    assert faulty(pooled).std(dim=0).max() < 1e-6


def test_9_a_block_has_a_stride_and_a_projection() -> None:
    space = SearchSpace.named("resnet8", InputSpec(3, 16, 4))
    network = space.build(space.baseline).eval()
    x = torch.randn(1, 16, 16, 16)
    block = network.get_submodule("layer2.0")
    assert block(x).shape == (1, 32, 8, 8)

    def faulty() -> Tensor:
        return x + block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))

    assert not works(faulty)


def test_10_zeroed_are_the_last_layers_and_no_others() -> None:
    """By shape, `init_weights` zeroes queries (square) and leaves SE's last layer (not square)."""

    def by_shape(module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d) and layer.in_channels == layer.out_channels:
                nn.init.zeros_(layer.weight)

    def right(attention: nn.Module, excitation: nn.Module) -> bool:
        last = excitation.get_submodule("fc2").weight
        return bool(attention.get_submodule("query").weight.abs().max() > 0 and last.abs().max() == 0)

    attention, gate = made("cross_modal", 4, 1), made("se").gate  # 4 channels of queries from 4
    assert right(attention, gate)
    random_gate = ChannelExcitation(8, 4)
    by_shape(attention)
    by_shape(random_gate)
    assert not right(attention, random_gate)
    for name in operator_names():  # what is zeroed is a last layer or a norm's, never all of an operator
        convolutions = [m for m in made(name).modules() if isinstance(m, nn.Conv2d)]
        zeroed = sum(bool(m.weight.abs().max() == 0) for m in convolutions)
        assert zeroed <= 1 + (name.startswith("dynamic")), name


def test_11_se_adds_two_and_a_half_million_to_resnet50() -> None:
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    params = SUMS["se"].params
    assert params is not None
    added = sum(count * params(Dims.of(operator("se"), channels, 16)) for channels, count in blocks.items())
    assert added == pytest.approx(2.53e6, rel=0.005)
    assert added != pytest.approx(0.03e6, rel=0.5)


@pytest.mark.parametrize("name", ["attention", "nonlocal", "cross_modal", "aff", "iaff", "se", "cbam", "sk"])
def test_12_attention_learns_at_the_networks_own_rate(name: str) -> None:
    """At a tenth of it, the same steps get less far. No operator or setting has a rate of its own."""

    def loss_after(rate: float) -> float:
        module = made(name, 16, 4).train()
        optimiser = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9)
        x, y = maps(16, 4, 16)
        target = 1.6 * x + 0.4 * y
        for _ in range(40):
            optimiser.zero_grad()
            loss = F.mse_loss(module(x, y), target)
            loss.backward()
            optimiser.step()
        return loss.item()

    start = F.mse_loss(torch.add(*maps(16, 4, 16)), 1.6 * maps(16, 4, 16)[0] + 0.4 * maps(16, 4, 16)[1]).item()
    assert loss_after(0.1) < loss_after(0.01) <= start
    assert not any("lr" in name for name in inspect.signature(FusionSettings).parameters)
