"""Latency: figures that hang together, and slower networks measured slower."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace
from trials import latency as latency_module
from trials.latency import measure_latency
from trials.trial import Latency, LatencyProtocol

LENIENT = LatencyProtocol(warmup=3, passes=40, max_drift=1e9, max_spread=1e9)


class Sleep(nn.Module):
    """A network of known latency."""

    def __init__(self, milliseconds: float) -> None:
        super().__init__()
        self.milliseconds = milliseconds
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        time.sleep(self.milliseconds / 1000)
        return x


@pytest.fixture
def images() -> torch.Tensor:
    return torch.zeros(1, 1, 28, 28)


def network(name: str, op: str = "add") -> nn.Module:
    space = SearchSpace.named(name, InputSpec(1, 28, 10))
    return space.build(space.uniform(op))


def consistent(measured: Latency) -> None:
    correction = measured.nominal_reference_p50_ms / measured.reference_p50_ms
    assert 0 < measured.p50_ms <= measured.p95_ms
    assert 0 < measured.raw_p50_ms <= measured.raw_p95_ms
    assert measured.p50_ms == pytest.approx(measured.raw_p50_ms * correction)
    assert measured.p95_ms == pytest.approx(measured.raw_p95_ms * correction)
    assert measured.drift >= 0
    assert measured.spread >= 0


def test_a_known_latency_is_measured(images: torch.Tensor) -> None:
    measured = measure_latency(Sleep(3.0), Sleep(1.0), images, LENIENT)
    consistent(measured)
    assert 3.0 <= measured.raw_p50_ms < 6.0
    assert 1.0 <= measured.reference_p50_ms < 3.0
    assert measured.nominal_reference_p50_ms == measured.reference_p50_ms
    assert measured.p50_ms == measured.raw_p50_ms
    assert measured.passes == 40
    assert measured.stable


def test_the_nominal_reference_corrects(images: torch.Tensor) -> None:
    """A machine on which the reference takes a third of its nominal time is three times too fast."""
    measured = measure_latency(Sleep(2.0), Sleep(1.0), images, LENIENT, nominal_reference_p50_ms=3.0)
    consistent(measured)
    assert measured.nominal_reference_p50_ms == 3.0
    assert measured.p50_ms == pytest.approx(measured.raw_p50_ms * 3.0 / measured.reference_p50_ms)
    assert measured.p50_ms > 1.5 * measured.raw_p50_ms


def test_a_deeper_network_is_slower(images: torch.Tensor) -> None:
    shallow, deep = network("resnet8"), network("resnet56")
    measured = measure_latency(deep, shallow, images, LENIENT)
    consistent(measured)
    assert measured.p50_ms > 2 * measured.reference_p50_ms


def test_a_network_beside_itself_is_as_fast(images: torch.Tensor) -> None:
    reference = network("resnet8")
    measured = measure_latency(reference, reference, images, LENIENT)
    assert measured.p50_ms == pytest.approx(measured.reference_p50_ms, rel=0.5)


def test_measuring_leaves_the_networks_as_they_were(images: torch.Tensor) -> None:
    candidate, reference = network("resnet8", "iaff").train(), network("resnet8").train()
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in (candidate, reference)]
    randomness = torch.get_rng_state()
    measure_latency(candidate, reference, images, replace(LENIENT, passes=10))
    for net, state in zip((candidate, reference), before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
        assert not any(parameter.is_inference() for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), randomness)


@pytest.mark.parametrize(("limits", "attempts"), [({}, 1), ({"max_drift": -1.0}, 3), ({"max_spread": -1.0}, 3)])
def test_an_unquiet_measurement_is_repeated_and_marked(
    images: torch.Tensor, limits: dict[str, float], attempts: int
) -> None:
    candidate, reference = Sleep(0.1), Sleep(0.1)
    protocol = replace(LENIENT, passes=20, block=5, **limits)
    measured = measure_latency(candidate, reference, images, protocol)
    assert measured.stable is (attempts == 1)
    assert candidate.passes == reference.passes == attempts * (protocol.warmup + protocol.passes)


def test_a_slow_network_is_measured_less_often(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_module, "MAX_SECONDS", 0.0)
    measured = measure_latency(Sleep(0.1), Sleep(0.1), images, replace(LENIENT, passes=200))
    assert measured.passes == latency_module.MIN_PASSES


def test_a_measurement_goes_round_as_json(images: torch.Tensor) -> None:
    measured = measure_latency(Sleep(0.1), Sleep(0.1), images, replace(LENIENT, passes=10))
    assert Latency(**json.loads(json.dumps(measured.to_json()))) == measured
