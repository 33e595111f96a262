"""What is asked of CUDA, and of which device. Without a GPU by what torch was called with; on one, for real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, ImageData, load_data
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.latency import LatencyBench, conditions, passes
from trials.latency.conditions import observe
from trials.machine import device as devices
from trials.machine.quiet import occupied
from trials.machine.target import Target
from trials.tasks.classification import ClassificationTask
from trials.tasks.evaluation import evaluate, judged_together
from trials.trial import Failure, LatencyProtocol, Recipe, TrialJob

SECOND = torch.device("cuda", 1)
SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
PLAN = TrialPlan(SPACE, DataConfig(train_images=64, val_fraction=0.05), Recipe(epochs=1), LatencyProtocol(), "cpu")


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DataConfig(train_images=100))


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The devices that are the current one, the innermost last."""
    inside: list[Any] = []

    @contextmanager
    def device(one: Any) -> Iterator[None]:
        inside.append(one)
        yield
        inside.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    return inside


def test_a_device_is_settled_itself_and_not_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: settled.append(device))
    with occupied(devices.synchronise(SECOND)) as machine, machine.away():
        pass
    assert settled == [SECOND, SECOND]


def test_a_device_is_asked_itself_whether_it_has_bfloat16(monkeypatch: pytest.MonkeyPatch, current: list[Any]) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1:] == [SECOND])
    assert devices.has_bf16(SECOND)


def test_a_device_that_fails_for_good_gives_a_result_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(replace(PLAN, screening=False))
    illegal = "CUDA error: an illegal memory access was encountered"

    def fails(*given: object, **more: object) -> Any:
        raise RuntimeError(illegal)

    # From here on the worker's device is one of which everything that is asked raises, as after such an access.
    bench.device = torch.device("cuda", 0)
    monkeypatch.setattr(bench, "build", fails)
    for name in ("empty_cache", "synchronize", "get_device_name", "is_bf16_supported", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, fails)
    (outcome,) = bench.judge(TrialJob(0, "sampler", SPACE.baseline, 0, 1, 1, 1))
    assert isinstance(outcome, TrialOutcome)
    assert (outcome.result.failure, outcome.result.error) == (Failure.ERROR, f"RuntimeError: {illegal}")
    assert outcome.result.environment["threads"] == 1


def test_a_pass_in_float32_is_one(monkeypatch: pytest.MonkeyPatch, current: list[Any]) -> None:
    events = SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda other: 3.0)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: events)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    found: list[bool] = []
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    one_pass = passes.clock(lambda: found.append(torch.backends.cudnn.allow_tf32), SECOND)
    assert one_pass() == 3.0
    assert (found, torch.backends.cudnn.allow_tf32) == ([False], True)


def test_the_use_of_a_gpu_is_read_when_our_own_passes_are_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", told.append)
    monkeypatch.setattr(conditions.time, "sleep", told.append)
    monkeypatch.setattr(conditions, "_nvidia_smi", lambda field, device, of="gpu": told.append(field) or "7")
    found = observe(Target("cuda:1"))
    assert told == [SECOND, "clocks.sm", "temperature.gpu", 1.0, "utilization.gpu", "pid"]
    assert (found.clock_mhz, found.temperature_c, found.foreign_share) == (7.0, 7.0, 0.07)


@pytest.mark.parametrize(
    ("size", "on", "together"),
    [(28, "cpu", 64), (224, "cpu", 64), (28, "cuda", 1024), (224, "cuda", 83), (512, "cuda", 64)],
)
def test_a_gpu_judges_more_images_at_once(size: int, on: str, together: int) -> None:
    split: Any = SimpleNamespace(images=torch.empty(1, 3, size, size, dtype=torch.uint8))
    assert judged_together(ClassificationTask(), split, torch.device(on)) == together


@pytest.mark.gpu
def test_on_a_gpu_what_is_settled_has_ended() -> None:
    device = devices.resolve("cuda")
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    began.record()
    torch.cuda._sleep(200_000_000)
    ended.record()
    assert not ended.query()
    devices.synchronise(device)()
    assert ended.query()


@pytest.mark.gpu
def test_on_a_gpu_larger_batches_judge_the_same(data: ImageData) -> None:
    device = devices.resolve("cuda")
    torch.manual_seed(0)
    network = SPACE.build(SPACE.uniform("se")).to(memory_format=torch.channels_last)
    with occupied() as machine:
        there = evaluate(network, data.val, data, machine)
    resident = replace(data, train=data.train.to(device), val=data.val.to(device))
    with occupied(devices.synchronise(device)) as machine:
        found = evaluate(devices.on_device(network, device), resident.val, resident, machine)
    assert found.loss == pytest.approx(there.loss, rel=1e-5)
    assert abs((found.correct or 0) - (there.correct or 0)) <= 1


@pytest.mark.gpu
def test_on_a_gpu_our_own_passes_are_nobody_elses() -> None:
    bench = LatencyBench(SPACE, Target("cuda"), LatencyProtocol(passes=60))
    found = [bench.measure(SPACE.baseline).conditions.foreign_share for _ in range(3)]
    assert max(share or 0.0 for share in found) < conditions.BUSY_SHARE


@pytest.mark.gpu
def test_on_a_gpu_float32_is_not_tf32() -> None:
    """A convolution of TF32 is about a thousandth off; exact float32 agrees with float64 to a millionth."""
    torch.manual_seed(0)
    images = torch.randn(8, 64, 32, 32, device="cuda").contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(64, 64, 3).cuda().to(memory_format=torch.channels_last)
    outputs: list[torch.Tensor] = []
    with torch.inference_mode():
        exact = layer.double()(images.double())
        layer.float()
        passes.clock(lambda: outputs.append(layer(images)), images.device)()
    assert float((outputs[0] - exact).abs().max() / exact.abs().max()) < 1e-5
