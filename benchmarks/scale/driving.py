"""One search of ours in a process of its own, which says how large it is as it grows, and dies when it is told to."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.free import FreePlan, train_nothing
from benchmarks.scale.training import SPACE
from nas.settings.search import SearchConfig
from nas.telling import Silence
from reports.view import RunView
from trials.trial import TrialJob, TrialResult, TrialState

#: Ended trials between two readings.
EVERY = 100
#: What comes of a job.
ANSWER = "benchmarks.scale.training:outcome"


class Growing(Silence):
    """Keeps no more than it is told, and writes down a reading now and then; at `die_at` trials it is killed."""

    def __init__(self, file: Path, launched: float, die_at: int | None) -> None:
        super().__init__()
        self._file, self._launched, self._die_at = file, launched, die_at
        self._ended, self._dispatched = 0, False

    def started(self, job: TrialJob) -> None:
        super().started(job)
        if not self._dispatched:
            self._dispatched = True
            self._write({"first_dispatch_s": time.time() - self._launched, "cpu": time.process_time()})

    def ended(self, result: TrialResult, view: RunView) -> None:
        super().ended(result, view)
        if result.state is not TrialState.COMPLETE:
            return
        self._ended += 1
        if self._ended % EVERY == 0:
            self._write({"ended": self._ended, "rss": rss(), "cpu": time.process_time()})
        if self._ended == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, reading: dict[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(reading) + "\n")


def rss() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("readings", type=Path)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--engine", default="local")
    parser.add_argument("--sampler", default="ehvi")
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--launched", type=float, required=True)
    given = parser.parse_args()
    settings = {
        "space": SPACE, "data": "fashion-mnist-mini", "train_images": 256, "trials": given.trials,
        "engine": given.engine, "device": "cpu", "sampler": given.sampler, "export": "none", "finalists": "none",
        "early_stop": "never", "max_flops": "1.1x", "out": str(given.out),
        "training": {"epochs": 3, "batch_size": 64, "precision": "float32", "regime": "scratch"},
    }  # fmt: skip
    if given.engine == "ray":
        settings["workers"] = 2
        _free_on_ray()
    train_nothing(ANSWER)
    from nas.session.session import run_search

    run_search(SearchConfig.model_validate(settings), Growing(given.readings, given.launched, given.die_at))


def _free_on_ray() -> None:
    """Workers train nothing either: they are sent a plan that sees to it."""
    from nas.engines.ray_tune import RayEngine

    plain = RayEngine.run
    RayEngine.run = lambda own, plan, source: plain(own, FreePlan.of(plan, ANSWER), source)  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    main()
