"""How soon the command line answers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.record import fill
from benchmarks.timing import in_turn, show

PROGRAM = str(Path(sys.executable).with_name("nas"))


def main() -> None:
    """Whole processes: `nas --help`, and `nas status` of a run with 1,000 trials, beside an empty Python."""

    def process(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "run", 1_000)
        run = str(Path(folder) / "run")
        show(
            in_turn(
                {
                    "python -c pass": lambda: process(sys.executable, "-c", "pass"),
                    "nas --help": lambda: process(PROGRAM, "--help"),
                    "nas status, 1,000 trials": lambda: process(PROGRAM, "status", run),
                    "nas show --json, 1,000 trials": lambda: process(PROGRAM, "show", run, "--json"),
                    "nas report, 1,000 trials": lambda: process(PROGRAM, "report", run),
                    "python -c 'import torch'": lambda: process(sys.executable, "-c", "import torch"),
                },
                rounds=7,
            )
        )
