"""Reports to look at: `python tools/report_demo.py FOLDER` (`make report-demo`).

A small real search, one that was interrupted, one of a detector, and 10,000 synthetic trials, each in a folder of its
own, then an index of them. What is there already is not searched again; a few minutes on two cores.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAS = [sys.executable, "-m", "nas"]
SMALL = ["--train-images", "1500", "--epochs", "2", "--export", "none", "--engine", "local", "--workers", "1"]
RUNS = {
    "small": ["--trials", "8", "--max-flops", "1.1x", "--finalists", "1", "--seeds", "2", *SMALL],
    "detector": ["--space", "resnet8-fpn", "--data", "scenes-mini", "--trials", "4", "--finalists", "none", *SMALL],
}


def search(folder: Path, arguments: list[str]) -> None:
    """Search, where that has not been done."""
    if not (folder / "report.html").is_file():
        subprocess.run([*NAS, "search", *arguments, "--out", str(folder)], check=True, cwd=ROOT)


def interrupt(folder: Path) -> None:
    """A search that is stopped in the midst of its trials, as by Ctrl-C."""
    from reports.view import RunView
    from search_spaces.errors import UserError

    if (folder / "study.db").is_file():
        return
    arguments = ["search", "--trials", "12", "--finalists", "none", *SMALL, "--out", str(folder)]
    program = subprocess.Popen([*NAS, *arguments], cwd=ROOT)
    while program.poll() is None:
        time.sleep(1)
        try:
            if len(RunView.load(folder).complete) >= 3:
                program.send_signal(signal.SIGINT)
                program.wait()
        except UserError:
            continue  # not begun yet


def main() -> None:
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "report-demo"
    target.mkdir(parents=True, exist_ok=True)
    for name, arguments in RUNS.items():
        search(target / name, arguments)
    interrupt(target / "interrupted")
    if not (target / "synthetic" / "study.db").is_file():
        script = ROOT / "tests" / "reports" / "synthetic_run.py"
        subprocess.run([sys.executable, script, target / "synthetic", "10000"], check=True, cwd=ROOT)
    subprocess.run([*NAS, "report", "--all", str(target)], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
