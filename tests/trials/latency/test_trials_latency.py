"""Latency: figures that hang together, and slower networks measured slower."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace
from trials.latency import measure_latency, timing
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
    assert 0 < measured.p50_ms <= measured.p95_ms
    assert 0 < measured.raw_p50_ms <= measured.raw_p95_ms
    assert measured.p95_ms / measured.p50_ms == pytest.approx(measured.raw_p95_ms / measured.raw_p50_ms)
    assert measured.drift >= 0
    assert measured.spread >= 0


def test_a_known_latency_is_measured(images: torch.Tensor) -> None:
    measured = measure_latency(Sleep(3.0), Sleep(1.0), images, LENIENT)
    consistent(measured)
    assert 3.0 <= measured.raw_p50_ms < 6.0
    assert 1.0 <= measured.reference_p50_ms < 3.0
    assert measured.nominal_reference_p50_ms == measured.reference_p50_ms
    assert measured.p50_ms == pytest.approx(measured.raw_p50_ms, rel=0.3)
    assert measured.passes == 42  # whole blocks of 3
    assert measured.stable


def test_the_nominal_reference_corrects(images: torch.Tensor) -> None:
    """A machine on which the reference takes a third of its nominal time is three times too fast."""
    measured = measure_latency(Sleep(2.0), Sleep(1.0), images, LENIENT, nominal_reference_p50_ms=3.0)
    consistent(measured)
    assert measured.nominal_reference_p50_ms == 3.0
    assert measured.p50_ms == pytest.approx(measured.raw_p50_ms * 3.0 / measured.reference_p50_ms, rel=0.3)
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
    assert (measured.attempts, measured.passes) == (attempts, attempts * protocol.passes)


class Throttled(nn.Module):
    """A network on a machine whose clock halves for good after so many passes of both networks."""

    passes = 0

    def __init__(self, milliseconds: float, after: int) -> None:
        super().__init__()
        self.milliseconds, self.after = milliseconds, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Throttled.passes += 1
        time.sleep(self.milliseconds / 1000 * (2 if Throttled.passes > self.after else 1))
        return x


def test_a_clock_that_falls_meanwhile_cancels(images: torch.Tensor) -> None:
    protocol = replace(LENIENT, warmup=1, passes=60)
    Throttled.passes = 0
    measured = measure_latency(Throttled(3.0, 70), Throttled(1.5, 70), images, protocol, 1.5)
    assert measured.p50_ms == pytest.approx(3.0, rel=0.12)
    assert measured.drift < 0.12


def test_the_error_of_a_measurement_shrinks_with_its_passes() -> None:
    few = Latency(1.0, 1.1, 1.0, 1.1, 1.0, 1.0, 0.0, 0.1, True, 30)
    errors = [one.standard_error(LENIENT.block) for one in (few, replace(few, passes=120))]
    assert errors[0] == pytest.approx(2 * errors[1])
    # Blocks of normal noise: the formula against the spread of medians that are really drawn.
    rng = np.random.default_rng(0)
    draws = 1.0 + 0.1 / 1.349 * rng.standard_normal((4000, 10))
    assert errors[0] == pytest.approx(float(np.median(draws, axis=1).std()), rel=0.15)


@pytest.mark.parametrize(("jitter", "passes"), [(0.0, {30}), (0.03, {60, 120}), (0.3, {201})])
def test_passes_end_where_the_figure_is_precise_enough(jitter: float, passes: set[int]) -> None:
    """Looks after 30, 60 and 120 passes; what scatters takes all of the protocol's."""
    numbers = np.random.default_rng(0)
    protocol = replace(LENIENT, passes=200)
    measured = timing.measure(lambda: 2 + jitter * numbers.standard_normal(), lambda: 1.0, protocol, enough=0.003)
    assert measured.passes in passes
    assert measured.p50_ms == pytest.approx(2, rel=jitter / 10 + 1e-9)
    assert (measured.standard_error(protocol.block) <= 0.003) == (measured.passes < 201)


def test_a_slow_network_is_measured_less_often(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MAX_SECONDS", 0.0)
    measured = measure_latency(Sleep(0.1), Sleep(0.1), images, replace(LENIENT, passes=200))
    assert measured.passes == timing.MIN_PASSES


def test_a_measurement_goes_round_as_json(images: torch.Tensor) -> None:
    measured = measure_latency(Sleep(0.1), Sleep(0.1), images, replace(LENIENT, passes=10))
    assert Latency(**json.loads(json.dumps(measured.to_json()))) == measured
