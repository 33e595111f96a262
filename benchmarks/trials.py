"""What a trial costs beside its training: ours, an ordinary Ray Tune set-up and a tuned one, in turn."""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.config import SearchConfig
from reports import RunView
from trials.data import load_data

SPACE = "resnet8"
WORKERS = os.cpu_count() or 1
#: Images and epochs of trials that take ours about 3 and about 10 seconds on one core.
LENGTHS = {"3 s": (1536, 2), "10 s": (5120, 2)}
ROUNDS, TRIALS = 3, 12
KINDS = ("ours", "ours, latency measured", "tuned", "ordinary")


@dataclass(frozen=True)
class Ran:
    """One search of some kind: seconds as a whole, trials an hour once they come, and each trial's own figures."""

    whole_s: float
    per_hour: float
    fixed_s: list[float]
    train_s: list[float]
    images_per_second: list[float]
    accuracy: list[float]


def main() -> None:
    """Trials of about 3 and 10 s: ours, an ordinary Ray Tune set-up and a tuned one, in turn (half an hour)."""
    for name, (images, epochs) in LENGTHS.items():
        compare(name, images, epochs, ROUNDS, TRIALS)


def compare(name: str, images: int, epochs: int, rounds: int, trials: int) -> None:
    ran: dict[str, list[Ran]] = {kind: [] for kind in KINDS}
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            job = folder / "job.json"
            settings = {
                "space": SPACE, "train_images": images, "trials": trials, "seed": seed, "workers": WORKERS,
                "export": "none", "noise_seeds": 1, "training": {"epochs": epochs},
            }  # fmt: skip
            job.write_text(json.dumps(settings))
            for kind, screen in zip(KINDS[:2], (False, True), strict=True):
                out = folder / kind
                _python("benchmarks.trials", "--search", job, out, "--screen" if screen else "--no-screen")
                ran[kind].append(ours(out))
            job.write_text(json.dumps(rival_job(settings, folder / KINDS[0])))
            for kind in KINDS[2:]:
                _python("benchmarks.rivals", kind, job, folder / f"{kind}.json")
                ran[kind].append(rival(json.loads((folder / f"{kind}.json").read_text())))
    show(name, images, epochs, ran)


def search(job: Path, out: Path, screen: bool) -> None:
    """One search of ours, in this process."""
    nas.search(**json.loads(job.read_text()), out=str(out), latency={"screen": screen})


def ours(folder: Path) -> Ran:
    view = RunView.load(folder)
    with closing(sqlite3.connect(folder / "study.db")) as record:
        ends = [row[0] for row in record.execute("SELECT finished_at FROM trials ORDER BY finished_at")]
    results = [trial.result for trial in view.complete]
    (session,) = view.sessions
    assert session.ended_at is not None
    return Ran(
        whole_s=session.ended_at - session.started_at,
        per_hour=rate(ends),
        fixed_s=[r.timing.fixed_s for r in results if r.timing is not None],
        train_s=[r.train_seconds for r in results],
        images_per_second=[r.images_per_second or 0.0 for r in results],
        accuracy=[r.accuracy or 0.0 for r in results],
    )


def rival(found: dict[str, Any]) -> Ran:
    trials = found["trials"]
    return Ran(
        whole_s=found["ended"] - found["began"],
        per_hour=rate(sorted(row["ended"] for row in trials)),
        fixed_s=[row["began"] - row["asked"] + row["ended"] - row["evaluated"] for row in trials],
        train_s=[row["trained"] - row["began"] for row in trials],
        images_per_second=[row["images_per_second"] for row in trials],
        accuracy=[row["accuracy"] for row in trials],
    )


def rate(ends: list[float]) -> float:
    """Trials an hour between the first round of ends and the last one: without the start of everything."""
    steady = ends[WORKERS - 1 :]
    return 3600 * (len(steady) - 1) / sum(later - earlier for earlier, later in pairwise(steady))


def rival_job(settings: dict[str, Any], run: Path) -> dict[str, Any]:
    """The same architectures and images, for a process that knows nothing of our searches."""
    config = SearchConfig.model_validate(settings)
    data = load_data(config.data_config())
    images = run.with_name("images.npz")
    parts = {"train": data.train, "val": data.val}
    arrays = {
        f"{name}_{kind}": getattr(part, kind).numpy() for name, part in parts.items() for kind in ("images", "labels")
    }
    np.savez_compressed(images, **arrays)  # type: ignore[arg-type]
    view = RunView.load(run)
    return {
        "space": config.space, "workers": config.workers, "recipe": asdict(config.training.recipe()),
        "architectures": [trial.result.architecture.labels() for trial in view.complete], "images": str(images),
    }  # fmt: skip


def show(name: str, images: int, epochs: int, ran: dict[str, list[Ran]]) -> None:
    print(f"  trials of about {name}: {SPACE}, {images} images, {epochs} epochs, {WORKERS} side by side")
    first = ran[KINDS[0]]
    for kind, runs in ran.items():
        ratios = [own.per_hour / other.per_hour for own, other in zip(first, runs, strict=True)]
        pooled = {field: np.concatenate([getattr(r, field) for r in runs]) for field in ("fixed_s", "accuracy")}
        train, speed = (
            statistics.median(np.concatenate([getattr(r, f) for r in runs])) for f in ("train_s", "images_per_second")
        )
        fixed, accuracy = pooled["fixed_s"], pooled["accuracy"]
        print(
            f"    {kind:<24} {statistics.median(r.per_hour for r in runs):7.0f} trials/h, ours "
            f"{statistics.median(ratios):5.2f}x ({min(ratios):.2f} to {max(ratios):.2f}); whole "
            f"{statistics.median(r.whole_s for r in runs):6.1f} s; fixed p50 {np.median(fixed):6.3f} s "
            f"p90 {np.percentile(fixed, 90):6.3f} s; training {train:5.2f} s, {speed:5.0f} images/s; "
            f"accuracy {accuracy.mean():.2%} ± {accuracy.std(ddof=1) / len(accuracy) ** 0.5:.2%} (n {len(accuracy)})"
        )


def _python(module: str, *arguments: object) -> None:
    """A module of this package in a process of its own, quiet unless it fails."""
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--search", nargs=2, type=Path, metavar=("JOB", "OUT"), help="only this one search of ours")
    parser.add_argument("--screen", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--lengths", default=",".join(LENGTHS), metavar="A,B")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    given = parser.parse_args()
    if given.search:
        search(*given.search, given.screen)
    else:
        for length in given.lengths.split(","):
            compare(length, *LENGTHS[length], given.rounds, given.trials)
