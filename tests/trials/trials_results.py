"""Trial results to record, and processes of their own to record them in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from search_spaces import Architecture, FusionChoice
from trials.trial import EpochPoint, Latency, TrialResult, TrialState

ROOT = Path(__file__).resolve().parents[2]
LATENCY = Latency(1.05, 1.2, 1.0, 1.15, 0.95, 1.0, 0.004, 0.01, True, 200)


def architecture(number: int) -> Architecture:
    """Another one for every number."""
    return Architecture("resnet8", {"layer1.0": FusionChoice("aff", number + 1), "layer2.0": FusionChoice("add")})


def result(number: int, state: TrialState = TrialState.COMPLETE, **changes: Any) -> TrialResult:
    fields: dict[str, Any] = {"origin": "sampler", "architecture": architecture(number), "seed": 0, "epochs": 3}
    fields |= {"macs": 9_559_168, "params": 77_754, "latency": LATENCY, "seconds": 3.25}
    if state is TrialState.COMPLETE:
        fields |= {"score": 0.875, "loss": 0.4321, "correct": 1750, "images": 2000, "train_seconds": 2.5}
        fields |= {"images_per_second": 812.5, "curve": (EpochPoint(1, 1.9, 800.0), EpochPoint(2, 1.2, 825.0))}
        fields |= {"environment": {"device": "a CPU", "threads": 1}}
    if state is TrialState.FAILED:
        fields |= {"latency": None, "error": "NonFiniteLoss: training loss is nan in epoch 1 of 3"}
    return TrialResult(number, state, **{**fields, **changes})


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs `code` with the repository and this folder on its path, its pipes open."""
    setup = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def line(running: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def end(running: subprocess.Popen[str]) -> None:
    """Kill it as `kill -9` does, and let go of its pipes."""
    running.kill()
    running.communicate()
