"""What a machine is and does while it is measured: name, versions, clocks, temperature, others' work."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from trials.machine.device import environment
from trials.machine.target import Target

#: Others' work below this share of the device is the operating system's own.
BUSY_SHARE = 0.1
#: For so long a look at others' work takes.
LOOK_SECONDS = 0.1
#: What the driver says of a GPU's use is over the last second at the most: until then over passes of our own as well.
_GPU_SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class Conditions:
    """Read beside a measurement; None where the machine does not tell.

    `foreign_share` is how much of the device (of all CPU cores, or of the GPU) others used while this process
    waited; `foreign_processes` counts those of others on the GPU.
    """

    clock_mhz: float | None
    temperature_c: float | None
    foreign_share: float | None
    foreign_processes: int | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def warning(self) -> str | None:
        """One line about others on the device; None when there are none."""
        if self.foreign_processes:
            return f"{self.foreign_processes} other processes are on the GPU: stop them, or figures may not hold"
        if self.foreign_share is not None and self.foreign_share > BUSY_SHARE:
            return (
                f"others keep {self.foreign_share:.0%} of the device busy: stop them; "
                "figures that suffer are repeated, and marked ~ where that did not help"
            )
        return None


def describe_device(target: Target) -> dict[str, Any]:
    """Name and kind of the device and what else a latency depends on, for the record."""
    device = torch.device(target.device)
    found = environment(device)
    described = {"name": found["device"], "kind": device.type, "cores": found["cores"], "system": platform.platform()}
    if device.type == "cuda":
        described["driver"] = _nvidia_smi("driver_version", device)
    return described


def versions(target: Target) -> dict[str, str]:
    """Of Python and of what the runtime is made of."""
    packages = ["torch", *(("onnxruntime", "onnxscript") if target.runtime == "onnxruntime" else ())]
    found = {"python": platform.python_version()}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    if target.on_gpu:
        found["cuda"] = str(torch.version.cuda)
    return found


def observe(target: Target, seconds: float | None = None) -> Conditions:
    """Look at the machine while this process waits for `seconds`, on a GPU for as long as the driver looks back."""
    seconds = LOOK_SECONDS if seconds is None else seconds
    device = torch.device(target.device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        clock_mhz, temperature_c = (_number(_nvidia_smi(one, device)) for one in ("clocks.sm", "temperature.gpu"))
        time.sleep(max(seconds, _GPU_SAMPLE_SECONDS))
        return Conditions(
            clock_mhz=clock_mhz,
            temperature_c=temperature_c,
            foreign_share=_percent(_nvidia_smi("utilization.gpu", device)),
            foreign_processes=_foreign_processes(device),
        )
    before = _cpu_ticks()
    time.sleep(seconds)
    after = _cpu_ticks()
    share = None
    if before is not None and after is not None and after[1] > before[1]:
        share = (after[0] - before[0]) / (after[1] - before[1])
    return Conditions(_cpu_clock_mhz(), _cpu_temperature_c(), share, None)


def _cpu_ticks() -> tuple[int, int] | None:
    """Busy and all ticks of all cores since the start, by Linux; steal by other guests counts as busy."""
    with suppress(OSError, ValueError, IndexError):
        fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4], sum(fields)
    return None


def _cpu_clock_mhz() -> float | None:
    """The mean of the cores' clocks."""
    with suppress(OSError, ValueError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
        if clocks:
            return sum(clocks) / len(clocks)
        files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
        clocks = [int(file.read_text()) / 1e3 for file in files]
        if clocks:
            return sum(clocks) / len(clocks)
    return None


def _cpu_temperature_c() -> float | None:
    """The hottest zone."""
    found = []
    for file in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        with suppress(OSError, ValueError):
            found.append(int(file.read_text()) / 1e3)
    return max(found, default=None)


def _nvidia_smi(field: str, device: torch.device, of: str = "gpu") -> str | None:
    """A field that the driver's own tool tells of the device; None without the tool (on a Jetson, say)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    chosen = [f"--id={uuid if uuid.startswith('GPU-') else f'GPU-{uuid}'}"] if uuid else []
    command = [program, f"--query-{of}={field}", "--format=csv,noheader,nounits", *chosen]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _number(text: str | None) -> float | None:
    with suppress(ValueError):
        return None if text is None else float(text.splitlines()[0])
    return None


def _percent(text: str | None) -> float | None:
    number = _number(text)
    return None if number is None else number / 100


def _foreign_processes(device: torch.device) -> int | None:
    text = _nvidia_smi("pid", device, of="compute-apps")
    if text is None:
        return None
    pids = {int(line) for line in text.split() if line.isdigit()}
    if os.getpid() in pids or not pids:
        return len(pids - {os.getpid()})
    return len(pids) - 1  # in a container the driver knows this process by another number
