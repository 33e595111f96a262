"""Every runtime runs the network it is given, and what it cannot run is refused in one line."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace
from search_spaces.errors import UserError
from trials.latency import LatencyBench, Measurement, Target, prepare
from trials.latency.conditions import Conditions, describe_device, observe, versions
from trials.latency.onnx_session import check_installed
from trials.trial import LatencyProtocol

SPACE = SearchSpace.named("resnet8", InputSpec(3, 16, 10))
QUICK = LatencyProtocol(warmup=1, passes=30, attempts=1)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "runtime", ["eager", *(pytest.param(r, marks=pytest.mark.slow) for r in ("onnxruntime", "compile"))]
)
def test_a_runtime_measures_what_it_is_given(runtime: str) -> None:
    bench = LatencyBench(SPACE, Target(runtime=runtime), QUICK)
    measured = bench.measure(SPACE.uniform("iaff"))
    assert measured.relative > 1.2, "iAFF everywhere is several times the work of add"
    assert measured.latency.passes == 30
    assert measured.prepare_seconds > 0
    assert Measurement.from_json(measured.to_json()) == measured


@pytest.mark.slow
def test_onnx_runtime_runs_what_torch_exports() -> None:
    """The work grows with the images, so the network that runs is the one exported, on these images."""
    network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
    small, large = (prepare(network, torch.randn(1, 3, size, size), Target(runtime="onnxruntime")) for size in (8, 128))
    assert min(large() for _ in range(5)) > 3 * min(small() for _ in range(5))


def test_bf16_computes_in_bf16() -> None:
    seen: list[torch.dtype] = []
    network = SPACE.build(SPACE.uniform("aff"))
    network.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    assert prepare(network, torch.randn(2, 3, 16, 16), Target(dtype="bf16"))() > 0
    assert seen == [torch.bfloat16]


@pytest.mark.slow
def test_compile_does_not_give_up_after_some_networks() -> None:
    """torch stops compiling one code object after eight variants of it, and runs it eagerly without a word."""
    images = torch.randn(1, 1, 1, 4)
    for width in range(2, 14):
        prepare(nn.Linear(4, width), images, Target(runtime="compile"))()
    counters = torch._dynamo.utils.counters
    assert not any("limit" in str(reason) for reason in counters["unimplemented"])
    assert counters["frames"]["ok"] >= 12


def test_a_measurement_in_another_nominal_keeps_its_quotients() -> None:
    measured = LatencyBench(SPACE, Target(), QUICK).measure(SPACE.uniform("se"))
    moved = measured.with_nominal(2 * measured.latency.nominal_reference_p50_ms)
    assert moved.relative == pytest.approx(measured.relative)
    assert moved.latency.p50_ms == pytest.approx(2 * measured.latency.p50_ms)
    assert moved.latency.p95_ms == pytest.approx(2 * measured.latency.p95_ms)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"runtime": "eagre"}, "unknown runtime 'eagre': did you mean 'eager'"),
        ({"dtype": "fp8"}, "unknown dtype 'fp8'"),
        ({"dtype": "fp16"}, "fp16 is for CUDA devices"),
        ({"runtime": "cudagraph"}, "cudagraph needs a CUDA device, given cpu"),
        ({"runtime": "onnxruntime", "dtype": "bf16"}, "no bf16"),
        ({"threads": 0}, "--threads: given 0"),
    ],
)
def test_a_target_that_does_not_exist(target: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Target(**target)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_onnx_runtime_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("trials.latency.onnx_session.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UserError, match="needs onnxruntime, not installed here: pip install"):
        check_installed(Target(runtime="onnxruntime"))


def test_onnx_runtime_without_cuda_is_said() -> None:
    with pytest.raises(UserError, match=r"runs on .*CPUExecutionProvider.* only: install onnxruntime-gpu"):
        check_installed(Target("cuda", "onnxruntime"))


@pytest.mark.slow
def test_a_network_that_onnx_cannot_hold_is_one_line() -> None:
    class Spectral(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i0(x).linalg_eigvals()  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(UserError, match="ONNX Runtime cannot run this network: ") as error:
        prepare(Spectral(), torch.randn(1, 3, 16, 16), Target(runtime="onnxruntime"))
    assert "\n" not in str(error.value)


def test_others_on_the_machine_are_seen() -> None:
    spinner = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        seen = max((observe(Target(), seconds=0.1) for _ in range(5)), key=lambda found: found.foreign_share or 0.0)
    finally:
        spinner.kill()
        spinner.wait()
    assert seen.foreign_share is not None
    assert seen.foreign_share > 0.6 / (os.cpu_count() or 1)
    assert "of the device busy" in str(seen.warning)


def test_a_quiet_machine_is_not_warned_of() -> None:
    assert Conditions(2000.0, 50.0, 0.02, 0).warning is None
    assert re.match("1 other", str(Conditions(None, None, 0.0, 1).warning))


def test_the_device_is_described() -> None:
    described = describe_device(Target())
    assert described["name"]
    assert described["kind"] == "cpu"
    assert versions(Target(runtime="onnxruntime"))["torch"] == torch.__version__.partition("+")[0]
    seen = observe(Target(), seconds=0.05)
    assert all(value is None or math.isfinite(value) for value in seen.to_json().values())


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["eager", "cudagraph", "compile"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_gpu_measures_in_each_runtime(runtime: str, dtype: str) -> None:
    bench = LatencyBench(SPACE, Target("cuda", runtime, dtype), QUICK)
    assert bench.measure(SPACE.uniform("iaff")).relative > 1.1


@pytest.mark.gpu
def test_a_captured_graph_computes_what_the_network_computes() -> None:
    from trials.latency.runtimes import captured

    network = SPACE.build(SPACE.uniform("aff")).eval().cuda()
    images = torch.randn(2, 3, 16, 16, device="cuda").contiguous(memory_format=torch.channels_last)
    outputs: list[torch.Tensor] = []
    handle = network.register_forward_hook(lambda module, args, output: outputs.append(output))
    run = captured(network, images)
    handle.remove()
    for _ in range(2):
        images.copy_(torch.randn(2, 3, 16, 16))
        run()
        with torch.inference_mode():
            torch.testing.assert_close(outputs[-1], network(images), rtol=1e-3, atol=1e-3)
