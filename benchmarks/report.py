"""How large a report is, and how soon it is drawn: synthetic runs of 100 and of 10,000 trials, in headless Chromium."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests" / "reports"
RESULTS = Path(__file__).parent / "results" / "report.txt"
#: Trials, and the most bytes that their page may have.
SIZES = {100: 1_500_000, 10_000: 4_000_000}
#: Milliseconds after which the page must be painted first, and drawn whole.
FIRST_PAINT_MS, DRAWN_MS = 1_000, 2_000
ROUNDS = 5


def main() -> None:
    """Bytes of the page, first paint and everything drawn, as the browser's own clock has them."""
    sys.path.insert(0, str(TESTS))  # the synthetic run and the browser that the tests have
    started = import_module("reports_browser").started
    with tempfile.TemporaryDirectory() as folder, started(Path(folder) / "profile") as browser:
        lines = [_head(browser)]
        for trials, most in SIZES.items():
            lines += _measured(browser, Path(folder) / str(trials), trials, most)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    RESULTS.write_text(text, "utf-8")


def _head(browser: Any) -> str:
    version = browser.capabilities["browserVersion"]
    return (
        "The report's page of synthetic runs (tests/reports/synthetic_run.py, network of 16 fusion points) in "
        f"headless\nChromium {version}, {platform.machine()}, {_processor()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}; load average when it began\n{os.getloadavg()[0]:.1f}, niceness {os.nice(0)}. "
        f"{ROUNDS} loads of each after one that is not counted, from a file: median (least to most) since the "
        "navigation began.\nDrawn: every "
        "chart and the table, and the frame after them shown. Processor: what the page's main thread had of it, which\n"
        "another's work hardly lengthens. Made by python -m benchmarks report.\n"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "processor not known"


def _measured(browser: Any, folder: Path, trials: int, most: int) -> list[str]:
    show, times_ms = (getattr(import_module("reports_browser"), name) for name in ("show", "times_ms"))
    write = import_module("synthetic_run").write
    from reports.page import write_report
    from reports.view import RunView

    record = write(folder, trials)
    began = time.perf_counter()
    path = write_report(RunView.load(record).estimated(), folder / "report.html")
    made = time.perf_counter() - began
    painted, drawn, busy = [], [], []
    browser.execute_cdp_cmd("Performance.disable", {})
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    for load in range(ROUNDS + 1):
        browser.get("about:blank")
        before = _busy_ms(browser)
        show(browser, path.as_uri())
        first, all_of_it = times_ms(browser)
        if load:
            painted.append(first)
            drawn.append(all_of_it)
            busy.append(_busy_ms(browser) - before)
    size = path.stat().st_size
    return [
        f"{trials:,} trials, estimated and written in {made:.1f} s",
        f"  bytes            {size:>12,}                     target at most {most:,}: {_kept(size <= most)}",
        f"  first paint, ms  {_spread(painted)}  target under {FIRST_PAINT_MS:,}: "
        f"{_kept(statistics.median(painted) < FIRST_PAINT_MS)}",
        f"  all drawn, ms    {_spread(drawn)}  target under {DRAWN_MS:,}: {_kept(statistics.median(drawn) < DRAWN_MS)}",
        f"  processor, ms    {_spread(busy)}",
    ]


def _busy_ms(browser: Any) -> float:
    """Processor time of the main thread of the page's process so far."""
    found = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1e3 * float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


def _kept(met: bool) -> str:
    return "met" if met else "NOT met"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):>12,.0f} ({min(values):,.0f} to {max(values):,.0f})".ljust(31)
