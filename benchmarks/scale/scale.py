"""How a driver grows, how soon a long search goes on, and what looking at it costs."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Of the last thing that a process says where it fails.
_TAIL = 2000
#: Trials after those that are counted, so that a killed search has something to go on with.
_MORE = 20
_STATUS = """
import sys, time
from pathlib import Path
from nas.terminal.console import console
from nas.terminal.runs import print_status
from reports import RunView
from reports.collecting import uncollected
from trials.record.file import is_active
began = time.process_time()
with uncollected():
    view = RunView.load(sys.argv[1])
    print_status(console(), view, is_active(Path(sys.argv[1])))
print("took", time.process_time() - began)
"""
_OPTUNAS_STATUS = """
import sys, time
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
began = time.process_time()
study = optuna.load_study(study_name="scale", storage="sqlite:///" + sys.argv[1])
len(study.best_trials)
print("took", time.process_time() - began)
"""


def main(arguments: Sequence[str] = ()) -> None:
    """Ten thousand trainings that cost nothing by the local engine, two thousand by Ray, beside Optuna's storage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=main.__doc__)
    parser.add_argument("--local", type=int, default=10_000, metavar="N")
    parser.add_argument("--ray", type=int, default=2_000, metavar="N")
    parser.add_argument("--optuna", type=int, default=10_000, metavar="N")
    parser.add_argument("--sampler", default="random", help="random, as Optuna's: what is compared is all the rest")
    given = parser.parse_args(arguments)
    print(
        f"{'':<21}{'trials':>7}  {'ms a trial':>10}  {'last tenth':>10}  {'MB at a tenth':>13}  {'half':>5}  "
        f"{'end':>5}  {'goes on after':>13}  {'status':>6}  {'its process':>11}  {'MB on disk':>10}",
        flush=True,
    )
    ours = _ours("local engine", given.local, "local", given.sampler) if given.local else None
    if given.ray:
        _ours("Ray Tune, 2 workers", given.ray, "ray", given.sampler)
    theirs = _optunas(given.optuna) if given.optuna else None
    if ours is not None and theirs is not None:
        print(f"a trial by the local engine takes {ours / theirs:.2f} times what one takes with Optuna's RDBStorage")
    print(
        "Times are of the processor: of a trial, proposed and recorded, on the average and of the last tenth; until\n"
        "the first trial is handed out by a new process, after a kill (in brackets seconds of the clock from its\n"
        "launch); of nas status, or Optuna loading a study and its best trials, alone and with its process. MB: the\n"
        "driver's resident memory, and of the record as a kill has left it"
    )


def _ours(name: str, trials: int, engine: str, sampler: str) -> float:
    with tempfile.TemporaryDirectory() as place:
        out, readings = Path(place) / "run", Path(place) / "readings"
        given = ["benchmarks.scale.driving", out, readings, "--engine", engine, "--sampler", sampler]
        _python(*given, "--trials", trials + _MORE, "--die-at", trials, dies=True)
        first = _read(readings)
        readings.unlink()
        on_disk = sum(path.stat().st_size for path in out.glob("study.db*"))
        own_s, process_s = _status(_STATUS, out)
        _python(*given, "--trials", trials + _MORE)
        return _line(name, trials, first, _read(readings), own_s, process_s, on_disk)


def _optunas(trials: int) -> float:
    with tempfile.TemporaryDirectory() as place:
        file, readings = Path(place) / "study.db", Path(place) / "readings"
        _python("benchmarks.scale.optunas", file, readings, "--trials", trials)
        first = _read(readings)
        readings.unlink()
        own_s, process_s = _status(_OPTUNAS_STATUS, file)
        _python("benchmarks.scale.optunas", file, readings, "--trials", 1)
        return _line("Optuna's RDBStorage", trials, first, _read(readings), own_s, process_s, file.stat().st_size)


def _line(
    name: str, trials: int, first: list[dict[str, Any]], again: list[dict[str, Any]], own_s: float, process_s: float,
    on_disk: int,
) -> float:  # fmt: skip
    """Prints the figures of one search; the milliseconds that a trial took."""
    start = next(one for one in first if "first_dispatch_s" in one)
    grown = [one for one in first if "rss" in one]
    tenth, half, before, last = (_at(grown, share * trials) for share in (0.1, 0.5, 0.9, 1.0))
    goes_on = next(one for one in again if "first_dispatch_s" in one)
    trial_ms: float = 1000 * (last["cpu"] - start["cpu"]) / last["ended"]
    late_ms = 1000 * (last["cpu"] - before["cpu"]) / max(1, last["ended"] - before["ended"])
    print(
        f"{name:<21}{trials:>7,}  {trial_ms:>10.1f}  {late_ms:>10.1f}  {tenth['rss'] / 1e6:>13.0f}  "
        f"{half['rss'] / 1e6:>5.0f}  {last['rss'] / 1e6:>5.0f}  {goes_on['cpu']:>6.1f} "
        f"({goes_on['first_dispatch_s']:.1f})  {own_s:>6.2f}  {process_s:>11.2f}  {on_disk / 1e6:>10.1f}",
        flush=True,
    )
    return trial_ms


def _at(grown: list[dict[str, Any]], ended: float) -> dict[str, Any]:
    """The first reading from so many ended trials on."""
    return next((one for one in grown if one["ended"] >= ended), grown[-1])


def _read(readings: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in readings.read_text().splitlines()]


def _python(module: object, *arguments: object, dies: bool = False) -> None:
    """A module of this package in a process of its own, which ends well, or is killed as it was asked to be."""
    command = [sys.executable, "-m", str(module), *map(str, arguments), "--launched", str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != (-signal.SIGKILL if dies else 0):
        raise RuntimeError(f"{module} ended with {done.returncode}:\n{done.stderr[-_TAIL:]}")


def _status(code: str, place: Path) -> tuple[float, float]:
    """Seconds of this processor for the work itself, and for a process that does it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(done.stdout.rpartition("took ")[2]), whole_s
