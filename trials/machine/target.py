"""What a latency is of: device, runtime, precision and threads. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from search_spaces.errors import unknown
from trials.errors import LatencyError

RUNTIMES = ("eager", "compile", "cudagraph", "onnxruntime")
DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Target:
    """Where and how a network is to run. `threads` are those of one forward pass on a CPU.

    Raises:
        SpaceError: an unknown runtime or dtype, with the nearest known one.
        LatencyError: a combination that does not exist.
    """

    device: str = "cpu"
    runtime: str = "eager"
    dtype: str = "fp32"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise unknown("runtime", self.runtime, RUNTIMES)
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        if self.threads < 1:
            raise LatencyError(f"--threads: given {self.threads}; expected a whole number above 0")
        if self.runtime == "cudagraph" and not self.on_gpu:
            raise LatencyError(f"runtime cudagraph needs a CUDA device, given {self.device}: take eager or compile")
        if self.dtype == "fp16" and not self.on_gpu:
            raise LatencyError("dtype fp16 is for CUDA devices, a CPU computes it in fp32: take bf16 or fp32")
        if self.runtime == "onnxruntime" and self.dtype == "bf16":
            raise LatencyError("runtime onnxruntime has no bf16 convolution: take fp32, or fp16 on a CUDA device")

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def memory_format(self) -> str:
        """How maps lie in memory: ONNX Runtime takes NCHW and arranges them as it likes."""
        return "contiguous" if self.runtime == "onnxruntime" else "channels_last"

    @property
    def label(self) -> str:
        """All but the device."""
        threads = "" if self.on_gpu else f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.runtime}, {self.dtype}, {self.memory_format}{threads}"

    def of(self, name: str, batch_size: int) -> str:
        """All of it for a device of that name, as `FinalMeasurement.target` has it."""
        return f"{name}, {self.label}, batch {batch_size}"

    def __str__(self) -> str:
        return f"{self.device}, {self.label}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "memory_format": self.memory_format}
