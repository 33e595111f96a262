"""How fast a run is priced anew."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.record import SPACE, fill
from benchmarks.timing import in_turn, show
from trials.latency import Target
from trials.profile import make_profile
from trials.trial import LatencyProtocol

TRIALS = 10_000


def main() -> None:
    """`nas reprice` of 10,000 trials, whole processes: by a device profile and a budget, beside reading them alone."""
    with tempfile.TemporaryDirectory() as folder:
        run, profile = Path(folder) / "run", Path(folder) / "device.json"
        fill(run, TRIALS)
        make_profile(SPACE, Target("cpu"), LatencyProtocol(passes=30, attempts=1), profile, architectures=12)

        def nas(*arguments: str) -> None:
            subprocess.run([sys.executable, "-m", "nas", *arguments, "--json"], check=True, capture_output=True)

        repriced = ("--latency-profile", str(profile), "--max-latency", "1.3x")
        runs = {
            "nas show": lambda: nas("show", str(run)),
            "nas reprice --latency-profile": lambda: nas("reprice", str(run), *repriced),
        }
        show(in_turn(runs, rounds=5), unit="s")
