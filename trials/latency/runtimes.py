"""The runtimes: each turns a network and its images into a function that makes one pass and returns its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import nn

from trials.errors import LatencyError
from trials.latency.passes import Pass, clock
from trials.machine.device import exact_float32, on_device
from trials.machine.target import Target

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Passes before a capture: cuDNN chooses its algorithms in the first.
_PASSES_BEFORE_CAPTURE = 3


def prepare(network: nn.Module, images: torch.Tensor, target: Target) -> Pass:
    """The network, ready to be timed on `images` [B, C, H, W] in float32; both are moved and converted.

    Raises:
        LatencyError: the runtime is not installed, or cannot run the network.
    """
    if target.runtime == "onnxruntime":
        from trials.latency.onnx_session import onnx_pass

        return onnx_pass(network.eval(), images, target)
    dtype = _DTYPES[target.dtype]
    converted = network.eval().to(dtype)
    placed = images.to(target.device, dtype).contiguous(memory_format=torch.channels_last)
    return {"eager": eager, "compile": compiled, "cudagraph": captured}[target.runtime](converted, placed)


def eager(network: nn.Module, images: torch.Tensor) -> Pass:
    """PyTorch as it stands."""
    placed = on_device(network, images.device)
    return clock(lambda: placed(images), images.device)


def compiled(network: nn.Module, images: torch.Tensor) -> Pass:
    """`torch.compile` in its default mode; compiled here, not in the first timed pass."""
    placed = on_device(network, images.device)

    def forward() -> torch.Tensor:
        output: torch.Tensor = placed(images)
        return output

    # torch keeps what it compiled by code object, and gives up after eight networks of one code: each gets its own.
    own = FunctionType(forward.__code__.replace(), forward.__globals__, closure=forward.__closure__)
    try:
        run = torch.compile(own)
        with exact_float32(), torch.inference_mode():
            run()
    except Exception as error:  # whatever the compiler meets, the user's next step is the same
        detail = " ".join(str(error).split())[:200]
        raise LatencyError(
            f"torch.compile fails here: {detail}; it needs a C++ compiler on a CPU and triton on a GPU, "
            "or take runtime eager"
        ) from error
    return clock(run, images.device)


def captured(network: nn.Module, images: torch.Tensor) -> Pass:
    """One CUDA graph of the whole pass, replayed: no launch from Python is left in it."""
    placed = on_device(network, images.device)
    stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(images.device))
    with exact_float32(), torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(_PASSES_BEFORE_CAPTURE):
            placed(images)
    torch.cuda.current_stream(images.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with exact_float32(), torch.inference_mode(), torch.cuda.device(images.device), torch.cuda.graph(graph):
            output: torch.Tensor = placed(images)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise LatencyError(f"the network cannot be captured as a CUDA graph: {detail}; take runtime eager") from error

    def replay() -> torch.Tensor:
        graph.replay()
        return output  # and with it the memory that the graph writes to

    return clock(replay, images.device)


@contextmanager
def intra_op_threads(threads: int) -> Iterator[None]:
    """So many threads inside one operation of torch, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
