"""The device a trial runs on: which one, in which precision, and what to call it in a report."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trials.cores import cores
from trials.errors import DeviceError
from trials.trial import Precision


def resolve(name: str) -> torch.device:
    """`auto` is the first CUDA device, else the CPU. Raises DeviceError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = _parsed(name)
    if not _is_there(device):
        raise DeviceError(f"device {name!r} is not there: this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def check_name(name: str) -> None:
    """Raises DeviceError for what is the name of no device, wherever."""
    if name != "auto":
        _parsed(name)


def nearest(name: str) -> torch.device:
    """As `resolve`, and the CPU where this machine has no such device: a cluster's head need not have what its workers
    have."""
    return resolve(name) if name == "auto" or _is_there(_parsed(name)) else torch.device("cpu")


def _parsed(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name!r}: give auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r}: give auto, cpu, cuda or cuda:N")
    return device


def _is_there(device: torch.device) -> bool:
    return device.type == "cpu" or (device.index or 0) < torch.cuda.device_count()


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (emulation would slow a trial down)."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch asks whichever is the current one
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether a training in this precision multiplies in bfloat16 there."""
    return precision == "bfloat16" or (precision != "float32" and has_bf16(device))


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """What a network of float32 weights computes in under a training's precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(precision, device))


@contextmanager
def exact_float32() -> Iterator[None]:
    """cuDNN's convolutions round to TF32 by default, which moves a few images across a decision, and is not the float32
    whose latency is asked for."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network moved to the device, its weights in the channels-last memory format."""
    return network.to(device).to(memory_format=torch.channels_last)


def synchronise(device: torch.device) -> Callable[[], None]:
    """A function that waits until all work on the device is done."""
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None


def answers(device: torch.device) -> bool:
    """Whether it still computes: a GPU that is broken, or of which a kernel has read where it must not, raises at all
    that this process asks of it from then on."""
    try:
        return bool(torch.ones(2, device=device).sum().item() == 2)
    except RuntimeError:
        return False


def lock_name(device: torch.device) -> str:
    """The device as `trials.machine.quiet` tells it from the others of this machine: `cpu`, or a GPU by its own number
    (UUID), which is the same in every process, whatever CUDA_VISIBLE_DEVICES makes `cuda:0` there."""
    if device.type != "cuda":
        return device.type
    index = torch.cuda.current_device() if device.index is None else device.index
    return f"cuda-{getattr(torch.cuda.get_device_properties(index), 'uuid', index)}"


def memory_bytes(device: torch.device) -> float:
    """Of a GPU, all of its memory; of the CPU no limit, for mapped images are where they are used already."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else math.inf


@cache
def processor() -> str:
    """The CPU's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment(device: torch.device) -> dict[str, Any]:
    """Where a measurement was taken, for the record."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else processor(),
        "runtime": f"torch {torch.__version__} eager",
        "host": platform.node(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_format": "channels_last",
        "latency_precision": "float32",
    }
