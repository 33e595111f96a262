"""ONNX Runtime as a runtime: the program that an export would hold, in a session with the target's threads."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import nn

from trials.errors import LatencyError
from trials.latency.onnx_program import onnx_program
from trials.latency.passes import Pass, wall_clock
from trials.machine.target import Target

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed(target: Target) -> None:
    """Raises LatencyError when what the runtime needs is missing, or has no CUDA where that is asked for."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise LatencyError(
            f"runtime onnxruntime needs {' and '.join(missing)}, not installed here: pip install {' '.join(_NEEDED)}, "
            "or take runtime eager"
        )
    import onnxruntime

    if target.on_gpu and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise LatencyError(
            f"onnxruntime {onnxruntime.__version__} runs on {', '.join(onnxruntime.get_available_providers())} only: "
            "install onnxruntime-gpu, or take --device cpu"
        )


def onnx_pass(network: nn.Module, images: torch.Tensor, target: Target) -> Pass:
    """A pass of ONNX Runtime, input and output bound to memory of the device.

    Raises:
        LatencyError: not installed, or the network cannot be exported or loaded.
    """
    check_installed(target)
    import onnxruntime

    half = target.dtype == "fp16"
    source = images.cpu().contiguous()
    if half:
        network, source = network.half(), source.half()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    # Threads of two sessions that take turns must not spin through each other's passes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    index = int(target.device.partition(":")[2] or 0)
    # Its own default is TF32.
    on_gpu = ("CUDAExecutionProvider", {"device_id": index, "use_tf32": 0})
    provider = on_gpu if target.on_gpu else "CPUExecutionProvider"
    try:
        program = onnx_program(network.cpu(), source[:1])
        session = onnxruntime.InferenceSession(program.SerializeToString(), options, providers=[provider])
        binding = session.io_binding()
        device = "cuda" if target.on_gpu else "cpu"
        bound = onnxruntime.OrtValue.ortvalue_from_numpy(source.numpy(), device, index)
        binding.bind_ortvalue_input("images", bound)
        binding.bind_output("logits", device, index)
        session.run_with_iobinding(binding)
    except Exception as error:  # whatever exporter and runtime meet, the user's next step is the same
        detail = " ".join(str(error).split())[:200]
        raise LatencyError(f"ONNX Runtime cannot run this network: {detail}; take runtime eager") from error

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return wall_clock(run)
