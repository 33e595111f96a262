"""A synthetic run of thousands of trials in a real record: `python tests/reports/synthetic_run.py FOLDER [TRIALS]`.

A network of sixteen fusion points in which operators are worth something, seeds move scores and long looks tell more:
what the report must show at once. The same folder for the same number of trials, but for the moments of recording.
"""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from reports_records import description

from search_spaces import Architecture, FusionChoice
from trials.record.checksums import seal
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.trial import EpochPoint, Failure, Latency, Timing, TrialResult, TrialState

BLOCKS = (3, 4, 6, 3)
POINTS = tuple(f"layer{stage}.{block}" for stage, blocks in enumerate(BLOCKS, 1) for block in range(blocks))
OPERATORS = ("add", "concat", "se", "cbam", "aff", "iaff", "spatial", "gated")
REDUCTIONS = (4, 8, 16)
_WORTH = {"add": 0, "concat": 0.1, "se": 0.5, "cbam": 0.2, "aff": 0.8, "iaff": 0.9, "spatial": -0.3, "gated": 0.3}
_PRICE = {"add": 0, "concat": 0.3, "se": 0.01, "cbam": 0.04, "aff": 0.2, "iaff": 0.4, "spatial": 0.02, "gated": 0.1}
_PLAIN = {"add", "concat"}
_BASE = {"macs": 4_100_000_000, "params": 25_600_000, "latency_ms": 7.2}


def trials(count: int) -> list[TrialResult]:
    """The baseline, a control of each operator, then sampled ones: nine in ten complete, some failed, some gated."""
    draw = random.Random(7)
    found = [_trial(0, _everywhere("add"), "baseline", draw)]
    found += [_trial(i, _everywhere(op), "uniform", draw) for i, op in enumerate(OPERATORS[1:], 1)]
    seen = {one.architecture.key for one in found}
    while len(found) < count:
        eager = min(1.0, len(found) / count + 0.2)  # the search comes to like what is worth something
        weights = [math.exp(1.5 * eager * _WORTH[op]) for op in OPERATORS]
        choices = {point: _choice(draw.choices(OPERATORS, weights)[0], draw) for point in POINTS}
        made = Architecture("resnet50", choices)
        if made.key not in seen:
            seen.add(made.key)
            found.append(_trial(len(found), made, "sampler", draw))
    return found[:count]


def write(folder: Path, count: int) -> Path:
    """The run in `folder`, which must not hold one."""
    folder.mkdir(parents=True, exist_ok=True)
    told = description(POINTS) | {"size": (2 + 6 * 3) ** len(POINTS)}
    told["space"] = {
        "name": "resnet50", "input": {"channels": 3, "size": 224, "classes": 100}, "operators": list(OPERATORS),
        "reductions": list(REDUCTIONS),
    }  # fmt: skip
    for point, (stage, place) in zip(told["points"], _places(), strict=True):
        width, side = 256 << stage, 56 >> stage
        point |= {"channels": width, "in_channels": width, "inputs": [width, width], "height": side, "width": side}
        point["stride"] = 2 if stage and not place else 1
    meta: dict[str, Any] = {
        "config": {"space": "resnet50", "epochs": 30, "trials": count}, "description": told, "baseline": _BASE,
        "constraints": [
            {"metric": "macs", "bound": 1.1, "relative": True},
            {"metric": "latency_ms", "bound": 9.0, "relative": False},
        ],
    }  # fmt: skip
    made = trials(count)
    # Where memory has files: thousands of transactions that each wait for a disk take minutes.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        _record(Path(place) / FILE_NAME, meta, made, folder.name)
        shutil.copyfile(Path(place) / FILE_NAME, folder / FILE_NAME)
    return folder


def _record(path: Path, meta: dict[str, Any], made: list[TrialResult], name: str) -> None:
    with Store.create(path, meta) as store:
        session = store.begin_session({"engine": "ray", "workers": 8, "command": f"nas search --out {name}"})
        for one in made:
            store.append(one)
        store.end_session(session, "complete")
    _at_its_time(path, made)


def _at_its_time(path: Path, made: list[TrialResult], workers: int = 8) -> None:
    """As if so many workers had done it: each trial is recorded when its worker is through with it."""
    free, begun = [0.0] * workers, 1_790_000_000.0
    with closing(sqlite3.connect(path)) as record, record:
        for one in made:
            place = free.index(min(free))
            free[place] += one.seconds + 2
            moment = (begun + free[place], one.number)
            record.execute("UPDATE trials SET finished_at = ? WHERE number = ?", moment)
        record.execute("UPDATE sessions SET started_at = ?, ended_at = ?", (begun, begun + max(free)))
        for table in ("trials", "sessions"):
            seal(record, table)


def _places() -> list[tuple[int, int]]:
    return [(stage, place) for stage, blocks in enumerate(BLOCKS) for place in range(blocks)]


def _choice(op: str, draw: random.Random) -> FusionChoice:
    return FusionChoice(op, None if op in _PLAIN else draw.choice(REDUCTIONS))


def _everywhere(op: str) -> Architecture:
    return Architecture("resnet50", {point: FusionChoice(op, None if op in _PLAIN else 8) for point in POINTS})


def _trial(number: int, architecture: Architecture, origin: str, draw: random.Random) -> TrialResult:
    ops = [choice.op for choice in architecture.choices.values()]
    price = sum(_PRICE[op] for op in ops) / len(ops)
    late = [1.6 if place > len(ops) / 2 else 0.4 for place in range(len(ops))]
    worth = sum(_WORTH[op] * weight for op, weight in zip(ops, late, strict=True)) / len(ops)
    costs: dict[str, Any] = {"macs": round(_BASE["macs"] * (1 + price)), "params": round(_BASE["params"] * (1 + price))}
    state = TrialState.COMPLETE
    if origin == "sampler" and (chance := draw.random()) < 0.1:
        state = TrialState.GATED if chance < 0.06 else TrialState.FAILED
    if state is TrialState.GATED:
        return TrialResult(number, state, origin, architecture, 0, 30, **costs)
    seconds = 300 + 60 * draw.random()
    environment = {
        "device": "cuda",
        "precision": "bfloat16",
        "host": f"node-{number % 2}",
        "process": 4000 + number % 8,
    }
    if state is TrialState.FAILED:
        return TrialResult(
            number, state, origin, architecture, 0, 30, seconds=seconds / 9, environment=environment,
            failure=Failure.DIVERGED, error="the loss is NaN at step 12 of epoch 1", **costs,
        )  # fmt: skip
    score = 0.742 + 0.02 * worth + draw.gauss(0, 0.003)
    p50 = _BASE["latency_ms"] * (1 + 1.6 * price) + abs(draw.gauss(0, 0.05))
    latency = Latency(p50, 1.08 * p50, p50, 1.1 * p50, 7.2, 7.2, 0.01, 0.03, draw.random() > 0.02, 200)
    curve = tuple(
        EpochPoint(e, 4.2 * math.exp(-0.15 * e) + 0.9 + 0.05 * draw.random(), 3100.0) for e in range(1, 31, 3)
    )
    return TrialResult(
        number, state, origin, architecture, 0, 30, score=round(score, 5), loss=round(2.2 * (1 - score) + 0.4, 5),
        correct=round(score * 10_000), images=10_000, latency=latency, seconds=seconds, train_seconds=0.9 * seconds,
        images_per_second=3100.0, curve=curve, environment=environment,
        timing=Timing(build_s=1.0, latency_s=4.0, train_s=0.9 * seconds, evaluate_s=6.0), **costs,
    )  # fmt: skip


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))
