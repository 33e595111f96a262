"""Every registered operator holds every property; an operator that lacks one is told which."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_spaces import (
    AttentionWeights,
    ConformanceError,
    SpaceError,
    check_operator,
    check_shapes,
    operator,
    operator_names,
    register,
)
from search_spaces.closed_forms import CONCATENATIONS, SUMS, ClosedForm
from search_spaces.fusions import unregister
from search_spaces.properties import PROPERTIES
from trials.costs import count_macs

FAST = tuple(name for name in PROPERTIES if name != "onnx")


@pytest.mark.parametrize("name", operator_names())
def test_an_operator_conforms(name: str) -> None:
    findings = check_operator(name, properties=FAST, count_macs=count_macs)
    assert [finding.property for finding in findings] == list(FAST)


@pytest.mark.slow
@pytest.mark.parametrize("name", operator_names())
def test_an_operator_conforms_in_onnx_runtime(name: str) -> None:
    check_operator(name, properties=["onnx"])


@pytest.mark.parametrize("channels", [4, 9, 33])
@pytest.mark.parametrize("name", operator_names())
def test_an_operator_conforms_at_odd_widths(name: str, channels: int) -> None:
    properties = ["shapes", "mismatch", "identity", "gradients", "order", "parameters", "multiply-adds"]
    check_operator(name, channels=channels, sizes=[(1, 5), (3, 3)], properties=properties, count_macs=count_macs)


class Broken(nn.Module):
    """x + w·y, with a fault to be found in each subclass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_shapes((x, y))
        return self.fuse(x, y)

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self.weight * y


class Average(Broken):
    """Not the sum at step 0."""

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + self.weight * y) / 2


class Dead(Broken):
    """A parameter that nothing uses."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.unused = nn.Parameter(torch.zeros(3))


class Pooled(Broken):
    """Another shape."""

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + self.weight * y).mean(dim=(2, 3))


class Symmetric(Broken):
    """x and y alike, without saying so."""

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.weight * (x + y)


class Detached(Broken):
    """No gradient of y."""

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self.weight * y.detach()


class Wandering(Broken):
    """A branch on data, which an exported graph cannot have."""

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self.weight * y if x.sum() > -1e9 else x


class Forgetful(Broken):
    """State beside the state_dict."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("shift", 1e-8 * torch.randn(channels, 1, 1), persistent=False)

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self.weight * y + self.shift


class Broadcasting(Broken):
    """A map of another shape is taken."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.fuse(x, y)


class Vague(Broken):
    """A refusal that does not say what was given."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.shape != y.shape:
            raise ValueError(f"cannot fuse a map of shape {list(y.shape)}")
        return self.fuse(x, y)


class Lopsided(Broken):
    """torch's own refusal, which names two sizes."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.fuse(torch.stack([x, y])[0], y)


@pytest.mark.parametrize(
    ("module", "given"),
    [(Broadcasting, r"a map of shape \[2, 16, 6, 5\]: one was broadcast in silence"),
     (Vague, "ValueError: cannot fuse a map of shape"), (Lopsided, "RuntimeError: stack expects each tensor")],
)  # fmt: skip
def test_maps_that_do_not_match_are_to_be_refused_with_both_shapes(module: type[nn.Module], given: str) -> None:
    expected = r"a ValueError that names \[2, 16, 6, 5\] and \[1, 16, 6, 5\] .*search_spaces.check_shapes"
    with pytest.raises(ConformanceError, match=f"{module.__name__}: mismatch: expected {expected}.*, given {given}"):
        check_operator(module, properties=["mismatch"])


def test_an_operator_that_is_registered_as_aligning_must_give_the_shape_of_x() -> None:
    class Untouched(Broken):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if x.shape[:2] != y.shape[:2]:
                check_shapes((x, y))
            return self.fuse(x, y.mean(dim=(2, 3), keepdim=True) + 0 * y)

    register("untouched", aligns=True)(Untouched)
    try:
        with pytest.raises(ConformanceError, match=r"mismatch: expected \[2, 16, 1, 1\], .*given \[2, 16, 6, 5\]"):
            check_operator("untouched", properties=["mismatch"])
    finally:
        unregister("untouched")


def test_a_sound_operator_of_ones_own_passes_unregistered() -> None:
    assert all(finding.passed for finding in check_operator(Broken))


@pytest.mark.parametrize(
    ("module", "lacks"),
    [
        (Average, "identity"),
        (Dead, "gradients"),
        (Pooled, "shapes"),
        (Symmetric, "order"),
        (Detached, "gradcheck"),
        (Wandering, "export"),
        (Forgetful, "state_dict"),
        (Broadcasting, "mismatch"),
        (Vague, "mismatch"),
        (Lopsided, "mismatch"),
    ],
)
def test_what_an_operator_lacks_is_named(module: type[nn.Module], lacks: str) -> None:
    with pytest.raises(ConformanceError, match=f"{module.__name__}: {lacks}: expected .*, given ") as error:
        check_operator(module, properties=FAST)
    assert lacks in [finding.property for finding in error.value.findings if not finding.passed]
    assert error.value.exit_code == 2
    check_operator(module, properties=["autocast"]) if lacks not in ("identity", "shapes") else None


@pytest.mark.parametrize(("form", "lacks"), [("params", "parameters"), ("macs", "multiply-adds")])
def test_a_closed_form_that_does_not_hold(form: str, lacks: str) -> None:
    wrong = ClosedForm(**{form: lambda d: d.c * d.n + 1})  # type: ignore[arg-type]
    with pytest.raises(ConformanceError, match=f"Broken: {lacks}: expected .* by the closed form .* counted"):
        check_operator(Broken, properties=FAST, count_macs=count_macs, form=wrong)


def test_every_operator_has_its_closed_forms() -> None:
    assert set(SUMS) == set(operator_names())
    assert set(CONCATENATIONS) == {name for name in operator_names() if operator(name).cat is not None}


def test_unknown_operators_and_properties() -> None:
    with pytest.raises(SpaceError, match="did you mean 'aff'"):
        check_operator("afff")
    with pytest.raises(SpaceError, match="unknown property of fusion operators 'identiy': did you mean 'identity'"):
        check_operator("aff", properties=["identiy"])


def test_checking_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    check_operator("sk", properties=["identity", "gradients"])
    assert torch.equal(torch.get_rng_state(), before)


class Gate(Broken):
    """x + w·g·y, its gate seen where it is registered to be."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gate = nn.Sigmoid()
        self.logits = nn.Identity()

    def fuse(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + 2 * self.gate(self.logits(0 * y + self.weight - 1)) * y


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        (AttentionWeights("gate"), None),
        (AttentionWeights("logits"), "logits between 0 and 1, given -"),
        (AttentionWeights("gate", "shares"), "gate, shares that sum to 1, within 1e-05"),
        (AttentionWeights("mask"), "has no attribute `mask`"),
    ],
)
def test_attention_weights_are_where_they_are_registered(weights: AttentionWeights, complaint: str | None) -> None:
    register("gate", attention=(weights,))(Gate)
    try:
        if complaint is None:
            check_operator("gate", properties=["attention weights"])
        else:
            with pytest.raises(ConformanceError, match=complaint):
                check_operator("gate", properties=["attention weights"])
    finally:
        unregister("gate")
