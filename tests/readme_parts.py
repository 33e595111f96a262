"""README.md taken apart: its blocks of code and its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path("README.md").read_text()
#: What makes a README command small enough for a test; it runs otherwise as it stands.
SMALL = ["--train-images", "256", "--trials", "2", "--epochs", "1", "--batch-size", "64"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Every `nas …` line of the shell blocks, and the one that stands in the text."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    inline = re.findall(r"`(nas search examples/[^`]+)`", README)
    return [shlex.split(line) for line in [*lines, *inline] if line.startswith("nas ")]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=560, check=False
    )


def of_scenes(command: list[str]) -> bool:
    """Whether a command is one of the section on detection and segmentation."""
    return "resnet8-fpn" in command
