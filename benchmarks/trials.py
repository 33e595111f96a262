"""What a trial costs beside its training, and what a search costs beside its trials: ours, an ordinary Ray Tune set-up
and a tuned one, in turn."""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.phases import TRIALS as TRIALS_PART
from benchmarks.phases import Clock, phases
from nas.run import Run
from nas.settings.search import SearchConfig
from reports import RunView
from trials.cores import cores
from trials.data import DataConfig, load_data
from trials.seeds import derive

SPACE = "resnet8"
WORKERS = cores()
#: Images and epochs of trials that take ours about 3 and about 10 seconds on one core, from proposal to record.
LENGTHS = {"3 s": (1024, 2), "10 s": (4096, 2)}
ROUNDS, TRIALS = 3, 12
MARKS = "phases.json"
OURS, MEASURED, BESIDE, RIVALS = "ours", "ours, latency measured", "ours, other checkout", ("tuned", "ordinary")


@dataclass(frozen=True)
class Ran:
    """One search of some kind: seconds as a whole, trials an hour once they come, and each trial's own figures.

    `whole_s` is the search's alone, `process_s` with the process around it; of ours, `phases` are the seconds of each
    part of that, and of the report and the export that come after it. `accuracy` (0..1) is by architecture, as
    `identity` names it.
    """

    whole_s: float
    process_s: float
    phases: dict[str, float]
    per_hour: float
    fixed_s: list[float]
    train_s: list[float]
    images_per_second: list[float]
    accuracy: dict[str, float]


def main() -> None:
    """Trials of about 3 and 10 s: ours, an ordinary Ray Tune set-up and a tuned one, in turn (half an hour)."""
    for name, (images, epochs) in LENGTHS.items():
        compare(name, images, epochs, ROUNDS, TRIALS, {OURS: False, MEASURED: True})


def compare(
    name: str, images: int, epochs: int, rounds: int, trials: int, screening: dict[str, bool],
    rivals: Sequence[str] = RIVALS, beside: Path | None = None,
) -> None:  # fmt: skip
    """Rounds of searches of ours, each with or without `screening`, and of rivals with the first one's trials.

    `beside` is another checkout of this repository, whose search is timed as well.
    """
    kinds = [*screening, *([BESIDE] if beside else ())]
    ran: dict[str, list[Ran]] = {kind: [] for kind in (*kinds, *rivals)}
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            job = folder / "job.json"
            settings = {
                "space": SPACE, "train_images": images, "trials": trials, "seed": seed, "workers": WORKERS,
                "export": "none", "finalists": "none", "noise_seeds": 1,
                "training": {"epochs": epochs, "regime": "scratch"},
            }  # fmt: skip
            job.write_text(json.dumps(settings))
            for kind in kinds[::-1] if seed % 2 else kinds:
                out = folder / kind
                screen = "--screen" if screening.get(kind) else "--no-screen"
                process_s = _python(
                    "benchmarks.trials", "--search", job, out, screen, "--launched", time.time(),
                    where=beside if kind == BESIDE else None,
                )  # fmt: skip
                ran[kind].append(ours(out, process_s))
            job.write_text(json.dumps(rival_job(settings, folder / OURS)))
            for kind in rivals:
                process_s = _python("benchmarks.rivals", kind, job, folder / f"{kind}.json")
                ran[kind].append(rival(json.loads((folder / f"{kind}.json").read_text()), process_s))
    show(name, images, epochs, ran)


def search(job: Path, out: Path, screen: bool, launched: float) -> None:
    """One search of ours, in this process, and what comes after it: the report, and an export."""
    from nas.session.session import run_search

    clock = Clock()
    clock.mark("launched", launched)
    clock.mark("imported")
    settings = json.loads(job.read_text()) | {"out": str(out), "latency": {"screen": screen}}
    run_search(SearchConfig.model_validate(settings), clock)
    clock.mark("returned")
    run = Run(out)
    run.report()
    clock.mark("reported")
    run.export()
    clock.mark("exported")
    clock.write(out / MARKS)


def ours(folder: Path, process_s: float) -> Ran:
    view = RunView.load(folder)
    parts = phases(folder / MARKS, view)
    with closing(sqlite3.connect(folder / "study.db")) as record:
        ends = [row[0] for row in record.execute("SELECT finished_at FROM trials ORDER BY finished_at")]
    results = [trial.result for trial in view.complete]
    (session,) = view.sessions
    assert session.ended_at is not None
    return Ran(
        whole_s=session.ended_at - session.started_at,
        process_s=process_s - parts["report"] - parts["export"],
        phases=parts,
        per_hour=rate(ends),
        fixed_s=[r.timing.fixed_s for r in results if r.timing is not None],
        train_s=[r.train_seconds for r in results],
        images_per_second=[r.images_per_second or 0.0 for r in results],
        accuracy={identity(r.architecture.labels()): r.score or 0.0 for r in results},
    )


def rival(found: dict[str, Any], process_s: float) -> Ran:
    trials = found["trials"]
    return Ran(
        whole_s=found["ended"] - found["began"],
        process_s=process_s,
        phases={},
        per_hour=rate(sorted(row["ended"] for row in trials)),
        fixed_s=[row["began"] - row["asked"] + row["ended"] - row["evaluated"] for row in trials],
        train_s=[row["trained"] - row["began"] for row in trials],
        images_per_second=[row["images_per_second"] for row in trials],
        accuracy={identity(row["choices"]): row["accuracy"] for row in trials},
    )


def identity(labels: dict[str, str]) -> str:
    return json.dumps(labels, sort_keys=True)


def rate(ends: list[float]) -> float:
    """Trials an hour between the first round of ends and the last one: without the start of everything."""
    steady = ends[WORKERS - 1 :]
    return 3600 * (len(steady) - 1) / sum(later - earlier for earlier, later in pairwise(steady))


def rival_job(settings: dict[str, Any], run: Path) -> dict[str, Any]:
    """The same architectures, images, initial weights and orders, for a process that knows nothing of our searches."""
    config = SearchConfig.model_validate(settings)
    data_config = config.data_config()
    assert isinstance(data_config, DataConfig)
    data = load_data(data_config)
    images = run.with_name("images.npz")
    parts = {"train": data.train, "val": data.val}
    arrays = {
        f"{name}_{kind}": getattr(part, kind).numpy() for name, part in parts.items() for kind in ("images", "labels")
    }
    np.savez_compressed(images, **arrays)
    view, recipe = RunView.load(run), config.training.recipe()
    (seed,) = {trial.result.seed for trial in view.complete}
    return {
        "space": config.space, "workers": config.workers, "recipe": asdict(recipe),
        "architectures": [trial.result.architecture.labels() for trial in view.complete],
        "images": str(images), "mean": list(data.mean), "std": list(data.std),
        "steps": recipe.epochs * (len(data.train) // recipe.batch_size),
        "seeds": {
            "initialisation": derive(seed, "initialisation"),
            "order": [derive(seed, "order", epoch) for epoch in range(recipe.epochs)],
        },
    }  # fmt: skip


def show(name: str, images: int, epochs: int, ran: dict[str, list[Ran]]) -> None:
    print(f"  trials of about {name}: {SPACE}, {images} images, {epochs} epochs, {WORKERS} side by side")
    first = ran[OURS]
    for kind, runs in ran.items():
        ratios = [own.per_hour / other.per_hour for own, other in zip(first, runs, strict=True)]
        fixed, train, speed = (
            np.concatenate([getattr(r, field) for r in runs]) for field in ("fixed_s", "train_s", "images_per_second")
        )
        print(
            f"    {kind:<24} {statistics.median(r.per_hour for r in runs):7.0f} trials/h, ours "
            f"{statistics.median(ratios):5.2f}x ({min(ratios):.2f} to {max(ratios):.2f}); whole "
            f"{statistics.median(r.whole_s for r in runs):6.1f} s, its process "
            f"{statistics.median(r.process_s for r in runs):6.1f} s; fixed p50 {np.median(fixed):6.3f} s "
            f"p90 {np.percentile(fixed, 90):6.3f} s; training {np.median(train):5.2f} s, "
            f"{np.median(speed):5.0f} images/s; accuracy "
            f"{statistics.fmean(statistics.fmean(r.accuracy.values()) for r in runs):.2%}"
            + ("" if runs is first else f", {beyond(runs, first)}")
        )

    for kind, runs in ran.items():
        if runs[0].phases:
            show_phases(kind, runs)


def show_phases(kind: str, runs: list[Ran]) -> None:
    """Median seconds of each part of a search, and of all but its trials."""
    print(f"    {kind}: seconds of each part, medians")
    for part in runs[0].phases:
        print(f"      {part:<28} {statistics.median(r.phases[part] for r in runs):6.2f}")
    around = [r.process_s - r.phases[TRIALS_PART] for r in runs]
    print(f"      around the trials, without report and export: {statistics.median(around):.2f} s")


def beyond(runs: list[Ran], first: list[Ran]) -> str:
    """The mean difference in accuracy to ours, architecture by architecture, and its standard error.

    That is of the rounds, for what a seed does to one kind of training and not to another is common to a round; with
    one round it is of the architectures, and says nothing of other seeds.
    """
    rounds = [
        [other.accuracy[key] - own for key, own in base.accuracy.items() if key in other.accuracy]
        for other, base in zip(runs, first, strict=True)
    ]
    several = len(rounds) > 1
    over, values = ("rounds", [statistics.fmean(r) for r in rounds]) if several else ("architectures", rounds[0])
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.fmean(values):+.2f} ± {100 * error:.2f} points over ours (n {len(values)} {over})"


def _python(module: str, *arguments: object, where: Path | None = None) -> float:
    """A module of this package, or of another checkout, in a process of its own, quiet unless it fails; its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=where)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--search", nargs=2, type=Path, metavar=("JOB", "OUT"), help="only this one search of ours")
    parser.add_argument("--screen", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--launched", type=float, default=time.time(), help="when its process was started")
    parser.add_argument("--lengths", default=",".join(LENGTHS), metavar="A,B")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--no-measured", action="store_true", help="without ours with latency measured in each trial")
    parser.add_argument("--rivals", default=",".join(RIVALS), metavar="A,B")
    parser.add_argument(
        "--beside", type=Path, help="another checkout, with this file and phases.py, to time beside ours"
    )
    given = parser.parse_args()
    if given.search:
        search(given.search[0], given.search[1], given.screen, given.launched)
    else:
        searches = {OURS: False} if given.no_measured else {OURS: False, MEASURED: True}
        chosen = [kind for kind in given.rivals.split(",") if kind]
        for length in given.lengths.split(","):
            compare(length, *LENGTHS[length], given.rounds, given.trials, searches, chosen, given.beside)
