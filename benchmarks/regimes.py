"""How well short trials rank as full trainings of the same learning regime do, and what each regime costs."""

from __future__ import annotations

import argparse
import datetime
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from rich.console import Console

from nas.engines.engine import open_engine
from nas.engines.interruption import Interrupted, Interruption
from nas.settings.loading import load_config
from nas.settings.search import SearchConfig
from nas.terminal.trainings import TrainingsShown
from nas.trainings.noise_file import NoiseFile
from nas.trainings.prepared import prepare
from nas.trainings.sameness import versions
from nas.trainings.trainings import Wanted, missing, train_missing
from reports.formatting import format_duration, format_percent
from reports.significance import estimate
from reports.trust import Agreement, LongTable, agreements_of, estimate_text, long_table, scores_of
from search_spaces import Architecture, SearchSpace
from trials.ranks import kendall_tau
from trials.record.training import Training
from trials.seeds import derive

REGIMES = ("scratch", "inherit", "supernet")
FOLDER = Path("runs/benchmark-regimes")


@dataclass(frozen=True)
class Design:
    """What is compared: `architectures` of a space, short trials of `epochs` under one seed, full trainings of
    `full_epochs` under `seeds` others."""

    architectures: int
    epochs: int
    full_epochs: int
    seeds: int

    @property
    def long_seeds(self) -> range:
        """Not that of the short trials: what both share is the architecture alone."""
        return range(1, self.seeds + 1)


@dataclass(frozen=True)
class Judged:
    """One regime: its full trainings, how short ones rank beside them, and the seconds that each part takes."""

    regime: str
    table: LongTable
    agreements: Sequence[Agreement]
    shared_seconds: float
    short_seconds: float
    full_seconds: float


def main() -> None:
    """τ of short trials against full trainings under scratch, inherit and supernet (hours; goes on)."""
    run({}, list(REGIMES), Design(architectures=24, epochs=2, full_epochs=12, seeds=2), FOLDER)


def run(settings: dict[str, object], regimes: list[str], design: Design, folder: Path) -> None:
    """Train what is not in `folder` yet, under each regime, and print what it comes to."""
    console, interruption = Console(stderr=True), Interruption()
    folder.mkdir(parents=True, exist_ok=True)
    judged = []
    try:
        with interruption.listening():
            for regime in regimes:
                console.print(f"{regime}:")
                shared = {} if regime == "scratch" else {"training.parent_epochs": design.full_epochs}
                given = {"training.epochs": design.epochs, "training.regime": regime, **shared, **settings}
                if regime == "scratch":
                    given = {key: value for key, value in given.items() if key not in _SHARED}
                judged.append(judge(load_config(None, given), design, folder, console, interruption))
    except Interrupted as interrupted:
        console.print("interrupted; the same command goes on")
        sys.exit(interrupted.exit_code)
    show(judged, design, settings)


#: Settings that mean nothing where trials share nothing.
_SHARED = ("training.parent_epochs", "training.fine_tune_lr")


def judge(config: SearchConfig, design: Design, folder: Path, console: Console, interruption: Interruption) -> Judged:
    """One regime, each training written to a file of its own as soon as it has ended."""
    regime = config.training.regime
    prepared = prepare(config, lambda line: console.print(line))
    drawn = architectures(prepared.space, design.architectures)
    wanted = [Wanted(a, config.seed, design.epochs) for a in drawn]
    wanted += [Wanted(a, seed, design.full_epochs) for seed in design.long_seeds for a in drawn]
    stem = f"{config.space}-{Path(config.data.rpartition(':')[2]).name}-{regime}"
    with NoiseFile(folder / f"{stem}.json", prepared) as record:
        todo = missing(wanted, record.known())
        if todo:
            with open_engine(config, interruption, print) as engine:
                train_missing(todo, prepared, record, engine, TrainingsShown(console), interruption)
        known = {training.look: training for training in record.known() if training.error is None}
        parent = record.parent
    table = long_table(known, [a.key for a in drawn], design.long_seeds, design.full_epochs)
    short = [r for r in known.values() if r.epochs == design.epochs and r.seed == config.seed]
    found = agreements_of(known, table, [design.epochs], config.seed)
    full = [r for row in table for r in row]
    if not full:
        sys.exit(f"{regime}: no architecture was trained under all seeds, see the lines above")
    return Judged(regime, table, found, 0.0 if parent is None else parent["seconds"], seconds(short), seconds(full))


def seconds(repeats: Sequence[Training]) -> float:
    """The mean of a training."""
    return fmean(r.train_seconds for r in repeats)


def architectures(space: SearchSpace, count: int) -> list[Architecture]:
    """All-add, each uniform operator, and random mixtures: the same for every regime."""
    found = [space.baseline, *(space.uniform(op) for op in space.operators if op != "add" and space.offers(op))]
    number = 0
    while len(found) < min(count, space.size):
        mixture = space.sample(random.Random(derive(0, "regimes", number)))
        number += 1
        if mixture not in found:
            found.append(mixture)
    return found[:count]


def show(judged: Sequence[Judged], design: Design, settings: dict[str, object]) -> None:
    """The header of a result, and the tables."""
    here = versions()
    named = ", ".join(f"{key.removeprefix('training.')} {value}" for key, value in settings.items())
    packages = ", ".join(f"{name} {here[name]}" for name in ("torch", "fusion-nas") if name in here)
    print(f"hardware:  {here['processor']}")
    print(f"versions:  Python {here['python']}, {packages}; {datetime.date.today()}")
    short, full = f"short trials of {design.epochs} epochs", f"full trainings of {design.full_epochs} epochs"
    print(f"n:         {design.architectures} architectures; {short}, one seed; {full}, {design.seeds} other seeds")
    print(f"settings:  {named or 'all by default'}")
    print("\n  τ by accuracy, τ by loss: what short trials are ranked by; all are held against full accuracy")
    taus = "".join(f"{name:<24}" for name in ("τ by accuracy", "τ by loss", "τ that seeds allow"))
    print(f"  {'regime':<10}{'once':>9}{'a trial':>9}{'full':>9}{'cost':>7}  {taus}")
    for j in judged:
        cost = (j.shared_seconds + design.architectures * j.short_seconds) / (design.architectures * j.full_seconds)
        times = "".join(f"{format_duration(s):>9}" for s in (j.shared_seconds, j.short_seconds, j.full_seconds))
        found = [("score", False), ("loss", False), ("score", True)]
        taus = "".join(f"{text_of(j.agreements, by, ceiling):<24}" for by, ceiling in found)
        print(f"  {j.regime:<10}{times}{format_percent(cost, 0):>7}  {taus}")
    print(
        "  once: training what all start from; cost: of all short trials and what is trained once, beside all full ones"
    )
    means = {j.regime: scores_of(j.table, "score").mean(1) for j in judged}
    for one, other in combinations(means, 2):
        if len(means[one]) == len(means[other]):
            agreed = estimate_text(estimate(kendall_tau, means[one], means[other]))
            print(f"  full accuracy, {one} beside {other}: τ {agreed}")
    for j in judged:
        best = max(j.table, key=lambda row: fmean(r.score or 0.0 for r in row))
        base = fmean(r.score or 0.0 for r in j.table[0])
        top = fmean(r.score or 0.0 for r in best)
        print(f"  full accuracy, {j.regime}: all-add {format_percent(base)}, the best {format_percent(top)}")


def text_of(found: Sequence[Agreement], ranked_by: str, ceiling: bool) -> str:
    """The τ against full accuracy with its interval."""
    there = [a for a in found if (a.ranked_by, a.held_against, a.ceiling) == (ranked_by, "score", ceiling)]
    return estimate_text(there[0].kendall) if there else "n/a"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--space", default="resnet8", metavar="NAME")
    parser.add_argument("--data", default="fashion-mnist-mini", metavar="NAME")
    parser.add_argument("--image-size", type=int, metavar="PIXELS")
    parser.add_argument("--train-images", type=int, metavar="N")
    parser.add_argument("--regimes", default=",".join(REGIMES), metavar="A,B")
    parser.add_argument("--architectures", type=int, default=24, metavar="N")
    parser.add_argument("--epochs", type=int, default=2, metavar="E", help="of a short trial")
    parser.add_argument("--full-epochs", type=int, default=12, metavar="E", help="of a full training, and of a parent")
    parser.add_argument("--parent-epochs", type=int, metavar="E", help="[default: --full-epochs]")
    parser.add_argument("--fine-tune-lr", type=float, metavar="LR", help="[default: a quarter of peak_lr]")
    parser.add_argument("--seeds", type=int, default=2, metavar="K", help="of the full trainings")
    parser.add_argument("--engine", default="ray", metavar="NAME")
    parser.add_argument("--workers", type=int, metavar="W")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="what was trained is kept and not trained again")
    given = vars(parser.parse_args())
    design = Design(*(given.pop(key) for key in ("architectures", "epochs", "full_epochs", "seeds")))
    regimes, folder = given.pop("regimes").split(","), given.pop("folder")
    inner = ("parent_epochs", "fine_tune_lr")
    settings = {f"training.{k}" if k in inner else k: v for k, v in given.items() if v is not None}
    run(settings, regimes, design, folder)
